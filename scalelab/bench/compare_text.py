"""A comparison as text: the table of the terminal and the page, and the Markdown of a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalelab.bench.row import Change, Row
from scalelab.bench.spread import Spread
from scalelab.bench.tables import Table
from scalelab.core.stats import Estimate

if TYPE_CHECKING:
    from scalelab.bench.compare import Comparison

METHOD = "A ratio's 95 % interval is a trimmed t interval of the paired rounds' log ratios."
STARRED = "* of multiples of the reference workload's time"
HEADER = ("point", "metric", "A", "B", "B / A", "rounds", "B is")


def table_of(rows: Sequence[Row], *, name: str = "comparison", title: str = "B against A") -> Table:
    """Return rows as text: medians of the rounds, the ratio with its 95 % interval, what it says and why."""
    return Table(name, title, HEADER, tuple(map(_cells, rows)))


def counted(rows: Sequence[Row]) -> str:
    """Say how many rows there are of each change: ``1 worse, 2 better, 5 same, 3 inconclusive``."""
    found = Counter(row.change for row in rows)
    order = (Change.WORSE, Change.BETTER, Change.SAME, Change.INCONCLUSIVE)
    return ", ".join(f"{found[change]} {change.value}" for change in order if found[change]) or "nothing"


def markdown_of(comparison: Comparison, title: str, said: str = "") -> str:
    """Return title, what a gate said, counts, notes, the headline rows, and all rows folded away."""
    headline = [row for row in comparison.rows if row.quantity.is_headline]
    lines = [f"## {title}", "", *([f"**{_line(said)}**", ""] if said else [])]
    lines += [f"B against A: {counted(headline)} of {len(headline)} headline metrics."]
    lines += ["", *(f"- {_line(note)}" for note in comparison.notes)] if comparison.notes else []
    for word, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        lines += [f"- only {word} has {_line(', '.join(names))}"] if names else []
    if headline:
        lines += ["", table_of(headline).markdown()]
    if len(comparison.rows) > len(headline):
        lines += [
            "",
            f"<details><summary>All {len(comparison.rows)} metrics: {counted(comparison.rows)}</summary>",
        ]
        lines += ["", table_of(comparison.rows).markdown(), "</details>"]
    lines += ["", METHOD]
    lines += [STARRED] if any(row.basis == "reference" for row in comparison.rows) else []
    return "\n".join(lines) + "\n"


def ratio_text(ratio: Estimate, basis: str) -> str:
    """Return a ratio with its interval; a star marks a multiple of the reference workload."""
    if basis == "none":
        return "-"
    star = "*" if basis == "reference" else ""
    return f"{ratio.median:.3f}{star} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _cells(row: Row) -> tuple[str, ...]:
    said = f"{row.change.value}: {row.why}" if row.why else row.change.value
    sides = (Spread(row.unit, each.median, each.low, each.high, each.n, "rounds") for each in (row.a, row.b))
    return (
        row.subject, row.quantity.label, *(side.middle_text for side in sides),
        ratio_text(row.ratio, row.basis), str(row.pairs), said,
    )  # fmt: skip


def _line(text: str) -> str:
    """Keep a note in its line, without markup: an error may hold anything."""
    return " ".join(text.split()).replace("<", "&lt;").replace("@", "&#64;")[:500]
