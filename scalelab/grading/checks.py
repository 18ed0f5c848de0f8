"""A check: one task's goal, points, hints and the function that judges it; and what comes out of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from scalelab.core.errors import LabFileError

HINTS = 3
COMES_AFTER = "comes-after"
"""feedback code of a hidden check that was not run, since the visible one before it failed"""
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Outcome(str, Enum):
    """How a check ended. Only `PASSED` gives points."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    NOT_ATTEMPTED = "not attempted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Check:
    """One graded task. Its function looks at the answers and raises at the first thing that is wrong."""

    name: str
    goal: str
    """what the learner is asked for, one line"""
    points: float
    hints: tuple[str, ...]
    """three, each says more than the one before"""
    judge: Callable[[Any], None]
    """takes `Answers`"""
    limit_s: float = 10.0
    measured: bool = False
    """its verdict rests on a measurement, so it may be inconclusive"""
    after: str = ""
    """of a hidden check: the visible one that must pass first, or this one gives nothing"""

    @property
    def folder(self) -> Path | None:
        """The folder of the file that defines it; None if it is in no file."""
        file = self.judge.__globals__.get("__file__")
        return Path(file).resolve().parent if file else None

    def __call__(self, answers: Any) -> None:
        """Judge the answers; raises where they are wrong. `run_check` makes a result of it."""
        self.judge(answers)


@dataclass(frozen=True, repr=False)
class CheckResult:
    """What a check said, in words for the learner.

    ``repr`` is the bare number of points, since graders of notebooks read a cell's text/plain as its score;
    ``str`` is the sentence.
    """

    name: str
    outcome: Outcome
    points: float
    """all of `max_points`, or none"""
    max_points: float
    goal: str
    message: str = ""
    """what came back and what was wanted; empty when passed"""
    code: str = ""
    """the feedback code of the failure, kebab-case"""
    meaning: str = ""
    """the misconception that this failure looks like"""
    hint: str = ""
    """the first hint, where the answer is a wrong idea and no accident"""
    seconds: float = 0.0
    """how long the check ran [s]"""
    seed: int = 0
    """draws the same inputs again, as ``lab.check(name, seed=...)`` or ``SCALELAB_SEED``"""
    output: str = ""
    """the end of what the learner's code printed meanwhile"""

    @property
    def is_passed(self) -> bool:
        """All points were earned."""
        return self.outcome is Outcome.PASSED

    def __repr__(self) -> str:
        return f"{self.points:g}"

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.outcome.value} ({self.points:g}/{self.max_points:g})", self.message]
        if self.meaning:
            parts.append(f"({self.meaning})")
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "  ".join(filter(None, parts))


def check(
    name: str,
    *,
    points: float,
    hints: tuple[str, ...],
    limit_s: float = 10.0,
    measured: bool = False,
    after: str = "",
) -> Callable[[Callable[[Any], None]], Check]:
    """Make a `Check` of a function over `Answers`; its docstring's first line is the goal that a card shows.

    Args:
        name: kebab-case or snake_case, the task's id in the notebook.
        points: more than 0.
        hints: exactly three, growing from a nudge to nearly the answer.
        limit_s: the learner's code may take this long [s].
        measured: the function may call `inconclusive` on a machine too noisy to tell.
        after: in ``hidden_checks.py``, the visible check of the same task: where that fails, this one is not
            run and gives nothing.

    Raises:
        LabFileError: the check is written wrongly (a matter of the lab's author).
    """

    def make(judge: Callable[[Any], None]) -> Check:
        where = f"check {name!r}"
        goal = (judge.__doc__ or "").strip().split("\n")[0]
        if not goal:
            raise LabFileError(f"{where} has no docstring", hint="its first line is the goal on the card")
        if isinstance(hints, str) or len(hints) != HINTS or not all(hints):
            raise LabFileError(f"{where} has {hints!r} for hints", hint=f"give a tuple of exactly {HINTS}")
        if not points > 0:
            raise LabFileError(f"{where} gives {points} points", hint="give a number above 0")
        if not KEBAB.fullmatch(name.replace("_", "-")):
            raise LabFileError(f"{where} is not a name", hint="small letters, digits and hyphens")
        made = Check(name, goal, points, tuple(hints), judge, limit_s, measured, after)
        judge.__globals__.setdefault("__checks__", []).append(made)
        return made

    return make
