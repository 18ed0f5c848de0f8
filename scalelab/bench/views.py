"""One metric of a suite as a figure: over its points or over a parameter, coloured by another parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.bench.figure import PALETTE, Dot, dot_figure, log_axis
from scalelab.bench.measured import Measured
from scalelab.bench.quantities import quantity
from scalelab.bench.spread import scale_of
from scalelab.core.errors import DataError, did_you_mean
from scalelab.core.lazy import require
from scalelab.core.page import Figure, style_plot

POINT = "point"
NOTHING = "nothing"
INK = "#7f8792"
"""seen on light and dark notebooks"""


def metrics_of(points: Sequence[Measured]) -> list[tuple[str, str]]:
    """Return (label, name) of every metric of the points, those that a gate judges first."""
    units = {name: spread.unit for point in points for name, spread in point.spreads.items()}
    order = sorted(units, key=lambda name: not quantity(name, units[name]).is_headline)
    return [(f"{quantity(name, units[name]).label} [{units[name]}]", name) for name in order]


def varied_parameters(points: Sequence[Measured]) -> list[str]:
    """Return the parameters that are not the same at all points."""
    values: dict[str, set[str]] = {}
    for point in points:
        for name, value in point.newest.parameters.items():
            values.setdefault(name, set()).add(str(value))
    return [name for name, found in values.items() if len(found) > 1]


def draw(
    points: Sequence[Measured], name: str, *, over: str = POINT, colour: str = NOTHING, is_log: bool = False
) -> Figure:
    """Return one metric over the points, or over a parameter; a colour for each value of another.

    Raises:
        DataError: no point has the metric.
    """
    held = [point for point in points if name in point.spreads]
    unit = held[0].spreads[name].unit if held else ""
    what = quantity(name, unit)
    better = {"lower": "Less is better.", "higher": "More is better.", "": ""}[what.better]
    colours = {point.title: _value(point.newest.parameters, colour) for point in held}
    dots = [Dot(point.title, colours[point.title], point.spreads[name]) for point in held]
    if not dots:
        known = {name for point in points for name in point.spreads}
        raise DataError(f"no point has a metric {name!r}", hint=did_you_mean(name, known))
    if over == POINT:
        figure = dot_figure(what.label, better, dots, what.label)
        axis, update = figure.plot.layout.xaxis, figure.plot.update_xaxes
    else:
        places = [point.newest.parameters.get(over) for point in held]
        figure = parameter_figure(what.label, better, dots, places, over)
        axis, update = figure.plot.layout.yaxis, figure.plot.update_yaxes
    title = axis.title.text.removesuffix(", log scale").removesuffix(", axis cut")
    drawn = [float(value) for trace in figure.plot.data for value in (trace.x if over == POINT else trace.y)]
    if is_log and min(drawn) > 0:
        update(**log_axis(title, drawn))
    elif axis.type == "log":
        update(type="linear", title=title, range=None, tickvals=None, ticktext=None, rangemode="tozero")
    style_plot(figure.plot, figure.height)
    figure.plot.update_layout(font={"color": INK})
    return figure


def parameter_figure(
    title: str, lead: str, dots: Sequence[Dot], places: Sequence[Any], over: str, *, axis: str = ""
) -> Figure:
    """Return dots over the values of a parameter, joined in order where it is a number.

    Args:
        places: the parameter's value of each dot.
        over: its name.
        axis: what is measured, if the title says more.
    """
    go = require("plotly.graph_objects", extra="bench")
    factor, suffix = scale_of(dots[0].spread.unit, dots[len(dots) // 2].spread.median)
    are_numbers = all(isinstance(place, (int, float)) and not isinstance(place, bool) for place in places)
    held = (
        sorted(zip(places, dots, strict=True), key=lambda pair: pair[0])
        if are_numbers
        else list(zip(map(str, places), dots, strict=True))
    )
    plot = go.Figure()
    for number, series in enumerate(dict.fromkeys(dot.series for dot in dots)):
        own = [(place, dot) for place, dot in held if dot.series == series]
        is_line = are_numbers and len({place for place, _ in own}) == len(own) > 1
        plot.add_scatter(
            x=[place for place, _ in own], y=[dot.spread.median * factor for _, dot in own],
            name=series or title, mode="lines+markers" if is_line else "markers",
            marker={"size": 11, "color": PALETTE[number % len(PALETTE)]},
            error_y={
                "type": "data", "symmetric": False, "thickness": 2, "width": 4,
                "array": [(dot.spread.high - dot.spread.median) * factor for _, dot in own],
                "arrayminus": [(dot.spread.median - dot.spread.low) * factor for _, dot in own],
            },
            customdata=[(dot.row, dot.spread.text) for _, dot in own],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )  # fmt: skip
    unit = "1/s" if suffix == "/s" else suffix.strip()
    plot.update_xaxes(title=over, type="linear" if are_numbers else "category")
    axis = axis or title
    plot.update_yaxes(title=f"{axis} [{unit}]" if unit else axis, rangemode="tozero")
    plot.update_layout(showlegend=len({dot.series for dot in dots}) > 1)
    told = ", ".join(f"{dot.row} {dot.spread}" for dot in dots[:30])
    return Figure(
        title, lead, plot, f"{axis} over {over}: {told}.",
        (over, "point", "of", "measured", "n"),
        tuple((str(place), dot.row, dot.series, str(dot.spread), dot.spread.n_text) for place, dot in held),
    )  # fmt: skip


def _value(parameters: Mapping[str, Any], name: str) -> str:
    return "" if name == NOTHING else f"{name} = {parameters.get(name, 'not set')}"
