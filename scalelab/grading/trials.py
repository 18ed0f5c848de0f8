"""Answers that a check is tried on before any learner meets it: right, wrong and crashing ones."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.grading.checks import Check, CheckResult
from scalelab.grading.running import run_check

_numbers = itertools.count()


@dataclass(frozen=True)
class Task:
    """The trial answers of one task; each is source code that defines the task's name."""

    right: Sequence[str]
    """at least two, in different styles; every one passes"""
    wrong: Mapping[str, str]
    """at least three, by the feedback code that each must get"""
    crashing: str
    """raises when it is called"""
    context: str = ""
    """code that runs before each answer: imports, and what earlier cells define"""


def attempt(
    check: Check, source: str, *, context: str | Mapping[str, Any] = "", seed: int | None = None
) -> CheckResult:
    """Run `source` as a notebook's cell would run, then the check on what it defined.

    Args:
        context: code to run before, or a namespace to start from (it is copied).
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    if isinstance(context, str):
        _execute(context, namespace)
    else:
        namespace |= context
    _execute(source, namespace)
    return run_check(check, namespace, seed=seed)


def _execute(source: str, namespace: dict[str, Any]) -> None:
    """Execute source under a name of its own, so that reports can quote its lines."""
    file = f"<answer {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), namespace)
