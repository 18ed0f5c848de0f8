"""A check's result as a card."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from scalelab.classroom import cards
from scalelab.core.units import format_seconds
from scalelab.grading.checks import HINTS, CheckResult, Outcome

_TONES = {
    Outcome.PASSED: "good",
    Outcome.FAILED: "bad",
    Outcome.CRASHED: "bad",
    Outcome.NOT_ATTEMPTED: "calm",
    Outcome.INCONCLUSIVE: "warn",
}


@dataclass(frozen=True, repr=False)
class ShownResult(CheckResult):
    """A `CheckResult` that a notebook shows as a card; its text/plain stays the bare number of points."""

    hints_seen: int = 0
    """how many of the three hints the learner has seen, with the one on this card"""
    stale: str = ""
    """the answer is older than its cell, a sentence"""
    was_passed: bool = False
    """the task was passed before, so its points are the learner's whatever this result is"""
    then: str = ""
    """what comes after a task that is passed, a sentence"""

    @classmethod
    def of(cls, result: CheckResult, **more: Any) -> ShownResult:
        """Make one of a plain result."""
        return cls(**{field.name: getattr(result, field.name) for field in fields(CheckResult)}, **more)

    def _repr_html_(self) -> str:
        return card_of(self).html


def card_of(result: ShownResult) -> cards.Card:
    """Return the card of a result."""
    badge = f"{result.outcome.value} · {result.points:g}/{result.max_points:g}"
    lines = [result.stale]
    lines += [cards.names_as_code(cards.sentence(result.message, is_prose=False))] if result.message else []
    if result.meaning:
        lines.append(cards.names_as_code(cards.sentence(result.meaning)))
    if result.hint:
        lines.append(f"Hint: {cards.names_as_code(result.hint)}")
    if result.was_passed and not result.is_passed:
        lines.append(f"You passed this task before: its {result.max_points:g} points stay yours.")
    lines.append(result.then)
    has_inputs = result.outcome in {Outcome.FAILED, Outcome.CRASHED}
    body = ""
    if result.output.strip() and not result.is_passed:
        body = cards.details("What your code printed", cards.preformatted(result.output.strip()[-2000:]))
    small = []
    if has_inputs and not result.was_passed and result.hints_seen < HINTS:
        small.append(f'Hints cost nothing: `lab.hint("{result.name}")`.')
    if has_inputs and result.code != "cell-ended":
        small.append(
            "Each check draws new inputs; to try the same ones again: "
            f'`lab.check("{result.name}", seed={result.seed})`.'
        )
    if result.seconds > 0.1:
        small.append(f"Took {format_seconds(result.seconds)}.")
    return cards.make_card(
        _TONES[result.outcome], badge, f"{result.name}: {result.goal}", lines, html=body,
        footer=" ".join(small),
    )  # fmt: skip
