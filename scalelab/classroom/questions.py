"""What a prediction is asked for: the words, the unit and the range of its cell, kept for later calls."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.classroom.ledger import Ledger
from scalelab.core.errors import ConfigError

KIND = "question"


@dataclass(frozen=True)
class Question:
    """A prediction's question, as its cell asked it."""

    question: str = ""
    unit: str = ""
    range: tuple[float, float] | None = None
    """lowest and highest value that the slider offers, in `unit`"""

    def warn(self, guess: float) -> str:
        """Return a sentence if a guess lies outside the range, else nothing."""
        if self.range is None or self.range[0] <= guess <= self.range[1]:
            return ""
        low, high = self.range
        return (
            f"{with_unit(guess, self.unit)} lies outside what the question offers, {low:g} to "
            f"{with_unit(high, self.unit)}. It is kept as you gave it."
        )


def recall(
    ledger: Ledger, lab: str, name: str, question: str, unit: str, range: Sequence[float] | None
) -> tuple[Question, bool]:
    """Return the question with what an earlier call said of it, and whether this call says something new.

    Raises:
        ConfigError: the range or the question is none, or the name is a slip of one that was asked for.
    """
    if not isinstance(question, str):
        raise ConfigError(
            f"prediction {name!r}: {question!r} is no question",
            hint=f"lab.predict({name!r}, guess=..., low=..., high=...) names its three numbers",
        )
    known = Question()
    asked = {event.name: event.facts for event in ledger.read(lab=lab, kind=KIND)}
    if name in asked:
        known = _read(asked[name])
    elif not question and (near := difflib.get_close_matches(str(name), asked, n=1, cutoff=0.75)):
        raise ConfigError(f"nobody asked for a prediction {name!r}", hint=f"did you mean {near[0]!r}?")
    limits = None if range is None else _check_range(name, range)
    found = Question(question or known.question, unit or known.unit, limits or known.range)
    return found, found != known


def with_unit(value: float, unit: str) -> str:
    """Return a value as a learner reads it."""
    return f"{value:g} {unit}".strip()


def _read(facts: Any) -> Question:
    """Read a question of the ledger; somebody may have edited the file."""
    try:
        range = facts.get("range") and _check_range("", facts["range"])
    except ConfigError:
        range = None
    return Question(str(facts.get("question", "")), str(facts.get("unit", "")), range or None)


def _check_range(name: str, range: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = map(float, range)
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return low, high
    except (TypeError, ValueError):
        pass
    raise ConfigError(
        f"prediction {name!r}: the range {range!r} is none", hint="range=(lowest, highest), two numbers"
    )
