"""What the figures share: dots with their intervals, bars, logarithmic axes, the line of a latency target."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.bench.spread import Spread, scale_of
from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, GREY, ORANGE, RED, Figure

PALETTE = (BLUE, ORANGE, GREEN, RED, "#8b62c9", "#2a9aa8", "#b0528f", GREY)
ROWS = 40
"""of a plot"""
WIDE = 20.0
"""values over this factor stand on a logarithmic axis"""


@dataclass(frozen=True)
class Dot:
    """One value of a figure: its row, its colour, and what was measured."""

    row: str
    series: str
    spread: Spread


def dot_figure(
    title: str,
    lead: str,
    dots: Sequence[Dot],
    axis: str,
    *,
    targets_s: Iterable[float] = (),
    labels: Sequence[str] | None = None,
) -> Figure:
    """Return dots in rows, with the interval of each: a point a row, a metric (or kind) a colour.

    Args:
        dots: all in one unit.
        axis: what is measured, without its unit.
        targets_s: latency targets to draw across [s].
        labels: a text for each dot instead of its value.
    """
    go = require("plotly.graph_objects", extra="bench")
    rows = list(dict.fromkeys(dot.row for dot in dots))
    series = list(dict.fromkeys(dot.series for dot in dots))
    shown = rows[:ROWS]
    if len(rows) > ROWS:
        lead += f" The first {ROWS} of {len(rows):,} rows are drawn; the table of every metric has all."
        # a text for each dot goes with it
        wanted = set(shown)
        kept = [place for place, dot in enumerate(dots) if dot.row in wanted]
        dots, labels = [dots[place] for place in kept], labels and [labels[place] for place in kept]
    middles = sorted(abs(dot.spread.median) for dot in dots)
    factor, suffix = scale_of(dots[0].spread.unit, middles[len(middles) // 2])
    targets = sorted({target * factor for target in targets_s})
    ends = [end * factor for dot in dots for end in (dot.spread.low, dot.spread.median, dot.spread.high)]
    unit = "1/s" if suffix == "/s" else suffix.strip()
    x_axis = _axis(f"{axis} [{unit}]" if unit else axis, [*ends, *targets])
    has_texts = len(shown) == len(dots)  # more in one row would write over each other
    plot = go.Figure()
    for number, name in enumerate(series):
        own = [(place, dot) for place, dot in enumerate(dots) if dot.series == name]
        middles = [dot.spread.median * factor for _, dot in own]
        plot.add_scatter(
            x=middles, y=[dot.row for _, dot in own], name=name or title, cliponaxis=False,
            mode="markers+text" if has_texts else "markers",
            text=[labels[place] if labels else dot.spread.middle_text for place, dot in own],
            textposition=[_beside(x_axis, middle) for middle in middles],
            marker={"size": 12, "color": PALETTE[number % len(PALETTE)]},
            error_x={
                "type": "data", "symmetric": False, "thickness": 2, "width": 4,
                "array": [(dot.spread.high - dot.spread.median) * factor for _, dot in own],
                "arrayminus": [(dot.spread.median - dot.spread.low) * factor for _, dot in own],
            },
            customdata=[(dot.spread.text, name) for _, dot in own],
            hovertemplate="%{y}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(**x_axis)
    for target in targets:
        _mark(plot, target, suffix)
    list_rows(plot, shown)
    plot.update_layout(showlegend=len(series) > 1)
    has_series = len(series) > 1
    return Figure(
        title, lead, plot, f"{title}: {_told(dots, has_series)}",
        ("step", *(("of",) if has_series else ()), "measured", "n"),
        tuple(
            (d.row, *((d.series,) if has_series else ()), str(d.spread), d.spread.n_text)
            for d in dots
        ),
        height=150 + (44 if has_texts else 34) * max(2, len(shown)),
    )  # fmt: skip


def list_rows(plot: Any, rows: Sequence[str], *, end: int = 26) -> None:
    """Put `rows` on the y axis, the first on top, long names cut."""
    plot.update_yaxes(
        type="category", autorange="reversed", automargin=True, categoryorder="array",
        categoryarray=list(rows), tickvals=list(rows),
        ticktext=[cut(row, end) for row in rows],
    )  # fmt: skip


def cut(name: str, end: int = 26) -> str:
    """Shorten a name to `end` characters; of a matrix's point the values stay, which tell it apart."""
    if len(name) > end and "[" in name:
        name = "…" + name[name.index("[") :]
    return name if len(name) <= end else name[: end - 1] + "…"


def bars(names: Sequence[str], heights: Sequence[float]) -> Any:
    """Return a labelled bar plot."""
    go = require("plotly.graph_objects", extra="bench")
    plot = go.Figure()
    plot.add_bar(
        x=["<br>".join(textwrap.wrap(name, 14)) for name in names], y=list(heights),
        marker_color=BLUE, text=[short(height) for height in heights],
        textposition="outside", cliponaxis=False, hovertemplate="%{x}<br>%{y:,.2f}<extra></extra>",
    )  # fmt: skip
    return plot


def log_axis(title: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Return a logarithmic axis around `values`, with full numbers at 1, 2 and 5 of each decade.

    Over more than two decades only the decades have numbers, so that they do not touch on a phone.
    """
    known = [value for value in values if value is not None and value > 0]
    low, high = math.log10(min(known)), math.log10(max(known))
    pad = max(0.12 * (high - low), 0.15)
    low, high = low - pad, high + pad
    digits = (1, 2, 5) if high - low < 1.5 else (1, 3) if high - low < 2.5 else (1,)
    ticks = [
        digit * 10.0**decade for decade in range(math.floor(low), math.ceil(high) + 1) for digit in digits
    ]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    texts = [f"{tick:,.10g}" for tick in inside]
    return {
        "type": "log", "title": f"{title}, log scale", "range": [low, high],
        "tickvals": inside, "ticktext": texts,
    }  # fmt: skip


def short(value: float) -> str:
    """Return three digits at most behind a separator: ``1,250``, ``3.78``."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def _axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    low, high = min(values), max(values)
    if low > 0 and high / low >= WIDE:
        return log_axis(title, values)
    pad = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    if 0 <= low < 0.5 * high:
        return {"title": title, "range": [0, high + pad], "nticks": 6}
    return {"title": f"{title}, axis cut", "range": [low - pad, high + pad], "nticks": 6}


def _beside(axis: dict[str, Any], value: float) -> str:
    """Say where the text of a dot has room: at the ends of the axis, towards the middle."""
    low, high = axis["range"]
    place = ((math.log10(value) if axis.get("type") == "log" else value) - low) / (high - low)
    return "top left" if place > 0.7 else "top right" if place < 0.3 else "top center"


def _mark(plot: Any, target: float, suffix: str) -> None:
    plot.add_shape(
        type="line", yref="paper", y0=0, y1=1, x0=target, x1=target, line={"dash": "dash", "color": GREY}
    )
    # a shape takes the value, an annotation its logarithm: https://plotly.com/python/reference/layout/annotations/
    place = math.log10(target) if plot.layout.xaxis.type == "log" else target
    plot.add_annotation(
        yref="paper", y=1, x=place, text=f"SLO {target:,.4g}{suffix}", showarrow=False, yshift=12
    )


def _told(dots: Sequence[Dot], has_series: bool) -> str:
    told = [
        f"{dot.row}{f' ({dot.series})' if has_series and dot.series else ''} {dot.spread}"
        for dot in dots[:30]
    ]
    more = f" and {len(dots) - 30} more, in the table" if len(dots) > 30 else ""
    return ", ".join(told) + more + "."
