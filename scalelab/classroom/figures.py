"""Bars and lines over a table's rows, legible in light and dark: the figure of a `Measurement`.

What is drawn is what the table says, so a lab writes its rows once and gets both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.core.lazy import require

COLOURS = ("#d9822b", "#3b7dd8", "#2a9d74", "#c8433f", "#8a63d2")
"""seen on white and on JupyterLab's dark ground, and told apart without red and green"""
INK = "#7a7a7a"
_GRID = "rgba(128,128,128,0.25)"

Rows = Sequence[Mapping[str, Any]]


def plot_bars(
    rows: Rows,
    x: str,
    y: Sequence[str],
    *,
    y_title: str = "",
    x_title: str = "",
    title: str = "",
    line_at: float | None = None,
    line_text: str = "",
    colours: Sequence[str] = COLOURS,
) -> Any:
    """Return a Plotly figure with a group of bars for every row, one bar for each column of `y`.

    Args:
        rows: the table; the columns of `y` hold numbers.
        x: the column whose values stand below the groups.
        line_at: a dashed line at this height, named by `line_text`.
        colours: of the columns; of the bars where there is one column and a colour for each row.
    """
    figure = _empty(title, x_title or x, y_title, has_legend=len(y) > 1 or bool(line_text))
    figure.update_xaxes(showgrid=False, type="category")
    names = [str(row[x]) for row in rows]
    top = max((row[column] for row in rows for column in y), default=0)
    for place, column in enumerate(y):
        is_each = len(y) == 1 and len(colours) == len(rows)
        heights = [row[column] for row in rows]
        figure.add_bar(
            x=names,
            y=heights,
            name=column,
            showlegend=not is_each,
            marker_color=list(colours) if is_each else colours[place % len(colours)],
            text=[f"{height:.3g}" if height > top / 10 else "" for height in heights],  # where there is room
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont_color="#111111",
        )
    if line_at is not None:
        dashes = {"dash": "dash", "color": INK}
        figure.add_hline(line_at, line=dashes)
        if line_text:  # in the legend: beside the line it would stand on a bar
            figure.add_scatter(x=[None], y=[None], mode="lines", name=line_text, line=dashes)
    return figure


def plot_lines(
    rows: Rows,
    x: str,
    y: Sequence[str],
    *,
    y_title: str = "",
    x_title: str = "",
    title: str = "",
    is_log: bool = False,
    colours: Sequence[str] = COLOURS,
) -> Any:
    """Return a Plotly figure with a line over `x` for each column of `y`; a tick at every row.

    Args:
        is_log: decades on the vertical axis; values of 0 are left out then.
    """
    figure = _empty(title, x_title or x, y_title, has_legend=len(y) > 1)
    for place, column in enumerate(y):
        figure.add_scatter(
            x=[row[x] for row in rows],
            y=[row[column] for row in rows],
            name=column,
            mode="lines+markers",
            line_color=colours[place % len(colours)],
        )
    figure.update_xaxes(tickvals=[row[x] for row in rows])
    if is_log:
        figure.update_yaxes(type="log", tickformat="~g", dtick=1)
    return figure


def _empty(title: str, x_title: str, y_title: str, *, has_legend: bool) -> Any:
    go = require("plotly.graph_objects", extra="lab")
    axis = {"gridcolor": _GRID, "linecolor": _GRID, "zeroline": False, "automargin": True}
    return go.Figure(
        layout={
            "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
            "height": 380,
            "margin": {"t": 76 if has_legend else 48, "r": 10, "b": 48, "l": 10},
            "font": {"color": INK, "size": 13},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "barmode": "group",
            "showlegend": has_legend,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {**axis, "title": x_title},
            "yaxis": {**axis, "title": y_title},
        }
    )
