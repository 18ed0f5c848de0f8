"""A comparison as a plot: each ratio with its interval, and on which side of 1 it lies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scalelab.bench.figure import ROWS, list_rows
from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, GREY, RED, Figure

if TYPE_CHECKING:
    from scalelab.bench.compare import Comparison, Row

COLOURS = {"better": GREEN, "worse": RED, "same": BLUE, "inconclusive": GREY}


def ratio_figure(comparison: Comparison) -> Figure | None:
    """Draw B / A of the headline metrics (of all, where there are none), the changed ones first."""
    order = list(COLOURS)
    known = [row for row in comparison.rows if math.isfinite(row.ratio.median) and row.ratio.low > 0]
    rows = [row for row in known if row.quantity.is_headline] or known
    rows = sorted(
        rows, key=lambda row: (order.index(row.change.value) // 2, -abs(math.log(row.ratio.median)))
    )
    if not rows:
        return None
    drawn = rows[:ROWS]
    go = require("plotly.graph_objects", extra="bench")
    plot = go.Figure()
    for change, colour in COLOURS.items():
        own = [row for row in drawn if row.change.value == change]
        if not own:
            continue
        plot.add_scatter(
            x=[row.ratio.median for row in own], y=[_name(row) for row in own],
            mode="markers", name=change, marker={"size": 12, "color": colour},
            error_x={
                "type": "data", "symmetric": False, "thickness": 2, "width": 4, "color": colour,
                "array": [row.ratio.high - row.ratio.median for row in own],
                "arrayminus": [row.ratio.median - row.ratio.low for row in own],
            },
            customdata=[row.why for row in own],
            hovertemplate="%{y}<br>%{x:.3f} times<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    plot.add_vline(x=1, line={"dash": "dash", "color": GREY})
    names = [_name(row) for row in drawn]
    plot.update_xaxes(title="B / A, times", nticks=6)
    list_rows(plot, names, end=28)
    more = f" The first {ROWS} of {len(rows)} are drawn." if len(rows) > ROWS else ""
    told = ", ".join(f"{_name(row)} {row.ratio.median:.3f} ({row.change.value})" for row in drawn[:20])
    return Figure(
        "What changed",
        "Left of 1: B has less of it, right: more. The colour says whether that is better: green better, red "
        f"worse, blue the same within the margin, grey: could not tell.{more}",
        plot,
        f"B divided by A: {told}.",
        ("point", "metric", "B / A", "low", "high", "B is"),
        tuple(
            (row.subject, row.metric, f"{row.ratio.median:.4f}", f"{row.ratio.low:.4f}",
             f"{row.ratio.high:.4f}", row.change.value)
            for row in rows
        ),
        height=150 + 34 * max(2, len(drawn)),
    )  # fmt: skip


def _name(row: Row) -> str:
    return f"{row.subject.split('/', 1)[-1]}: {row.quantity.label}"
