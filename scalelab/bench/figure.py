"""What the figures share: colours, the words and numbers that go with a plot, bars and logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, GREY, ORANGE, RED

SLO_S = 0.2
"""the latency target of the road: p95 under 200 ms"""


def bars(names: Sequence[str], heights: Sequence[float], groups: Sequence[str] | None) -> Any:
    """Return a labelled bar plot; bars of one group share a colour."""
    go = require("plotly.graph_objects", extra="bench")
    kinds = list(dict.fromkeys(groups or []))
    palette = (BLUE, ORANGE, GREEN, RED, GREY)
    colours = [palette[kinds.index(group) % len(palette)] for group in groups] if groups else BLUE
    plot = go.Figure()
    plot.add_bar(
        x=list(names), y=list(heights), marker_color=colours, text=[_short(height) for height in heights],
        textposition="outside", cliponaxis=False, customdata=list(groups or names),
        hovertemplate="%{x}<br>%{y:,.2f}<br>%{customdata}<extra></extra>",
    )  # fmt: skip
    return plot


def log_axis(title: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Return a logarithmic axis around `values`, with full numbers at 1, 2 and 5 of each decade."""
    known = [value for value in values if value is not None and value > 0]
    low, high = math.log10(min(known)), math.log10(max(known))
    pad = max(0.12 * (high - low), 0.15)
    low, high = low - pad, high + pad
    ticks = [
        digit * 10.0**decade for decade in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5)
    ]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    texts = [f"{tick:,.10g}" for tick in inside]
    return {
        "type": "log", "title": f"{title}, log scale", "range": [low, high],
        "tickvals": inside, "ticktext": texts,
    }  # fmt: skip


def mark_target(plot: Any) -> None:
    """Draw the latency target across a plot whose y axis is logarithmic, in milliseconds."""
    plot.add_shape(
        type="line", xref="paper", x0=0, x1=1, y0=SLO_S * 1e3, y1=SLO_S * 1e3,
        line={"dash": "dash", "color": GREY},
    )  # fmt: skip
    # a shape takes the value, an annotation its logarithm: https://plotly.com/python/reference/layout/annotations/
    plot.add_annotation(
        xref="paper", x=1, y=math.log10(SLO_S * 1e3), text="target: 200 ms", showarrow=False, yshift=10
    )


def _short(height: float) -> str:
    return f"{height:,.0f}" if height >= 100 else f"{height:,.3g}"
