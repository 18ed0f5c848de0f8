"""Figures over a table's rows: what is drawn is what the table says, on any ground."""

import pytest

pytest.importorskip("plotly")

from scalelab.classroom.figures import plot_bars, plot_lines

ROWS = [{"runs": 3, "mean": 40.0, "interval": 0.0}, {"runs": 15, "mean": 90.0, "interval": 4.0}]


@pytest.mark.parametrize("plot", [plot_bars, plot_lines])
def test_every_column_is_drawn_with_the_tables_values(plot):
    figure = plot(ROWS, "runs", ["mean", "interval"])
    assert {trace.name: list(trace.y) for trace in figure.data} == {
        "mean": [40.0, 90.0],
        "interval": [0.0, 4.0],
    }


@pytest.mark.parametrize("plot", [plot_bars, plot_lines])
def test_the_ground_is_the_pages_own(plot):
    layout = plot(ROWS, "runs", ["mean"]).layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_one_column_has_no_legend_and_a_colour_for_each_bar():
    figure = plot_bars(ROWS, "runs", ["mean"], colours=("#111111", "#222222"))
    assert not figure.layout.showlegend
    assert tuple(figure.data[0].marker.color) == ("#111111", "#222222")


def test_a_line_is_drawn_and_named():
    figure = plot_bars(ROWS, "runs", ["mean"], line_at=5, line_text="promised")
    assert figure.layout.shapes[0].y0 == 5
    assert figure.data[-1].name == "promised"
    assert figure.layout.showlegend
