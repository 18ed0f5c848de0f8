"""Cells that did not run at all: what they define is missing, or still the version before.

IPython tells after each cell what became of it; a cell with a SyntaxError changes nothing, and a check then
judges what an earlier run of the cell left in the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scalelab.classroom import cards
from scalelab.grading import Answers, CheckResult, Outcome
from scalelab.grading.lines import first_line

_DEFINES = re.compile(
    r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|^(\w+)[ \t]*(?::[^=\n]*)?=(?!=)", re.MULTILINE
)
_ABOUT = re.compile(r"`(\w+)`")


def install(namespace: Mapping[str, Any]) -> None:
    """Remember from now on which cells of the notebook that runs us did not run."""
    shell = cards.running_shell()
    if shell is None or shell.user_ns is not namespace or hasattr(shell, "_scalelab_broken"):
        return
    found: dict[str, str] = {}
    shell._scalelab_broken = found
    shell.events.register("post_run_cell", lambda result: _note(found, result))


def explained(result: CheckResult, answers: Answers) -> CheckResult:
    """Name the cell's error where an answer is missing because its cell did not run."""
    told = _known(answers.namespace).get(answers.missing)
    if told is None:
        return result
    return replace(result, outcome=Outcome.CRASHED, message=told, code="cell-ended", meaning="", hint="")


def stale_note(answers: Answers) -> str:
    """Return a sentence if the answer that was judged last is older than its cell, else nothing."""
    about = _ABOUT.match(answers.last[0]) if answers.last else None
    told = _known(answers.namespace).get(about.group(1)) if about else None
    return f"This judges the earlier version of `{about.group(1)}`: {told}." if about and told else ""


def _known(namespace: Mapping[str, Any]) -> dict[str, str]:
    shell = cards.running_shell()
    is_ours = shell is not None and shell.user_ns is namespace
    return getattr(shell, "_scalelab_broken", {}) if is_ours else {}


def _note(found: dict[str, str], result: Any) -> None:
    source, error = result.info.raw_cell, result.error_before_exec
    for name in {name for names in _DEFINES.findall(source) for name in names} - {""}:
        found.pop(name, None)
        if isinstance(error, SyntaxError):
            found[name] = _sentence(source, error)


def _sentence(source: str, error: SyntaxError) -> str:
    lines, number = source.splitlines(), error.lineno or 1
    text = lines[number - 1].strip() if number <= len(lines) else ""
    kind = "IndentationError" if isinstance(error, IndentationError) else "SyntaxError"
    at = f"line {number}" + (f", `{text}`" if text else "")
    return f"your cell that begins with `{first_line(source)}` did not run: {kind} in {at}: {error.msg}"
