"""A check's result as a card."""

from __future__ import annotations

from dataclasses import dataclass, fields

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

    @classmethod
    def of(cls, result: CheckResult, *, hints_seen: int = 0) -> ShownResult:
        """Make one of a plain result."""
        values = {field.name: getattr(result, field.name) for field in fields(CheckResult)}
        return cls(**values, hints_seen=hints_seen)

    def _repr_html_(self) -> str:
        return card_of(self).html


def card_of(result: CheckResult) -> cards.Card:
    """Return the card of a result."""
    badge = f"{result.outcome.value} · {result.points:g}/{result.max_points:g}"
    lines = [result.message]
    if result.meaning:
        lines.append(result.meaning[0].upper() + result.meaning[1:].rstrip(".") + _end(result.meaning))
    seen = max(getattr(result, "hints_seen", 0), 1)
    if result.hint:
        more = f'  Next: `lab.hint("{result.name}")`.' if seen < HINTS else ""
        lines.append(f"Hint: {result.hint}{more}")
    body = ""
    if result.output.strip() and not result.is_passed:
        body = cards.details("What your code printed", cards.preformatted(result.output.strip()[-2000:]))
    took = f"{format_seconds(result.seconds)} · " if result.seconds > 0.1 else ""
    has_inputs = result.outcome in {Outcome.FAILED, Outcome.CRASHED}
    footer = f"{took}the inputs were drawn from SCALELAB_SEED={result.seed}" if has_inputs else ""
    return cards.make_card(
        _TONES[result.outcome], badge, f"{result.name}: {result.goal}", lines, html=body, footer=footer
    )


def _end(text: str) -> str:
    return "" if text.endswith(("?", "!")) else "."
