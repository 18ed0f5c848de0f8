"""The Pareto front, of what nothing else beats in everything at once, over accuracy, latency, cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scalelab.bench.figure import PALETTE, log_axis
from scalelab.bench.measured import Measured
from scalelab.core.lazy import require
from scalelab.core.page import Figure
from scalelab.core.units import format_money, format_percent, format_seconds

ACCURACIES = ("pin_accuracy", "digit_accuracy", "accuracy")
"""the first that a point has"""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
RING = "#f2c14e"
NAMED = 12
"""points that have a name each"""
DRAWN = 500
"""points of a plot, those of the front first"""


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the points that no other beats: none is as low in all values and lower in one.

    Whatever is to be high is given with a minus. In the order of their values a point can only be beaten by
    an earlier one, and then also by one of the front: n points cost n looks at the front.
    """
    if not points:
        return []
    values = np.asarray(points, dtype=float)
    kept: list[int] = []
    front = np.empty_like(values)
    for index in np.lexsort(values.T[::-1]):
        before, mine = front[: len(kept)], values[index]
        if not np.any(np.all(before <= mine, axis=1) & np.any(before < mine, axis=1)):
            front[len(kept)] = mine
            kept.append(int(index))
    return sorted(kept)


def pareto_figure(points: Sequence[Measured]) -> Figure | None:
    """Cost and accuracy as places, p95 as the size, with a front for what counts the same thing.

    A request that is received, answered and on time is no rival of a bare model call: each kind has its own.
    """
    full = [point for point in points if _accuracy(point) is not None and "inr_per_million" in point.spreads]
    if len(full) < 2:
        return None
    costs = [point.spreads["inr_per_million"].median for point in full]
    gains = [100 * (_accuracy(point) or 0) for point in full]
    p95_s = [
        point.spreads["latency_p95"].median if "latency_p95" in point.spreads else None for point in full
    ]
    kinds = list(dict.fromkeys(point.kind for point in full))
    front: set[int] = set()
    for kind in kinds:
        own = [i for i, point in enumerate(full) if point.kind == kind]
        # a latency that nobody measured wins nothing
        goals = [(-gains[i], costs[i], float("inf") if (t := p95_s[i]) is None else t) for i in own]
        front |= {own[place] for place in pareto_front(goals)}
    drawn = [*sorted(front), *(i for i in range(len(full)) if i not in front)][:DRAWN]
    go = require("plotly.graph_objects", extra="bench")
    plot = go.Figure()
    # few points have a colour and a name each, many only their kind's
    groups = (
        [[i] for i in sorted(drawn)]
        if len(drawn) <= NAMED
        else [[i for i in drawn if full[i].kind == k] for k in kinds]
    )
    for number, own in enumerate(groups):
        kind = full[own[0]].kind
        plot.add_scatter(
            x=[costs[i] for i in own], y=[gains[i] for i in own], mode="markers",
            name=full[own[0]].title if len(drawn) <= NAMED else kind or "points",
            marker={
                "symbol": SYMBOLS[kinds.index(kind) % len(SYMBOLS)], "size": [_size(p95_s[i]) for i in own],
                "color": PALETTE[number % len(PALETTE)], "opacity": 0.85,
                "line": {"color": RING, "width": [3 if i in front else 0 for i in own]},
            },
            customdata=[(full[i].title, _latency(p95_s[i])) for i in own],
            hovertemplate="%{customdata[0]}<br>₹%{x:,.3g} per million, %{y:.2f} % right, p95 %{customdata[1]}"
            "<extra></extra>",
        )  # fmt: skip
    low, high = min(gains), max(gains)
    pad = max(0.2 * (high - low), 0.5)
    plot.update_xaxes(**log_axis("₹ per million", costs))
    plot.update_yaxes(title="right [%]", range=[low - pad, high + pad])
    best = [full[i].title for i in sorted(front)]
    return Figure(
        "Pareto front: accuracy, latency, cost",
        "Up, left and small is better; the size is p95. Within one kind of work (its shape), nothing beats a "
        "ringed point in all three.",
        plot,
        f"Cost, accuracy and p95 of {len(full)} points. On the front: {', '.join(best[:20])}"
        + (f" and {len(best) - 20} more." if len(best) > 20 else "."),
        ("step", "per second counts", "right", "p95", "₹ per million", "$ per million", "on the front"),
        tuple(
            (
                point.title, point.kind, format_percent(gain / 100), _latency(seconds),
                format_money(cost, "INR"),
                point.spreads["usd_per_million"].middle_text if "usd_per_million" in point.spreads else "–",
                "yes" if i in front else "no",
            )
            for i in sorted(drawn)
            for point, gain, seconds, cost in [(full[i], gains[i], p95_s[i], costs[i])]
        ),
        height=460,
    )  # fmt: skip


def _accuracy(point: Measured) -> float | None:
    return next((point.spreads[name].median for name in ACCURACIES if name in point.spreads), None)


def _latency(seconds: float | None) -> str:
    return "–" if seconds is None else format_seconds(seconds)


def _size(seconds: float | None) -> float:
    """Some pixels more for each ten times the latency; what is not known is small."""
    return 9.0 if seconds is None else float(np.clip(9 + 4 * (np.log10(seconds) + 4), 9, 26))
