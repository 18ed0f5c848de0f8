"""The plots of a class: points, tasks, time. No student's text is in them, only what a lab's author named."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, GREY, ORANGE, RED, Figure
from scalelab.core.units import format_seconds
from scalelab.gradebook.classbook import Classbook
from scalelab.gradebook.item_analysis import Item
from scalelab.grading.checks import Outcome

EXTRA = "grade"
TASK_FIGURES = _TASKS, _DIFFICULTY = ("Tasks", "Difficulty and discrimination")
"""titles of the figures with one row a task"""
OUTCOME_COLOURS = {
    Outcome.PASSED.value: GREEN,
    Outcome.FAILED.value: RED,
    Outcome.CRASHED.value: ORANGE,
    Outcome.INCONCLUSIVE.value: BLUE,
    Outcome.NOT_ATTEMPTED.value: GREY,
}


def class_figures(book: Classbook, items: Sequence[Item]) -> list[Figure]:
    """Return the figures of a class that can be drawn from what there is."""
    figures = [_points(book)]
    if any(item.n for item in items):
        figures += [_outcomes(items), _difficulty(items)]
    if any(entry.grade for entry in book.entries):
        figures.append(_seconds(book))
    return figures


def _points(book: Classbook) -> Figure:
    shares = [book.percent(entry) for entry in book.entries]
    low = [10 * place for place in range(10)]
    counts = [
        sum(edge <= share < edge + 10 or (edge == 90 and share >= 100) for share in shares) for edge in low
    ]
    names = [f"{edge}–{edge + 10}" for edge in low]
    plot = _go().Figure()
    plot.add_bar(
        x=names, y=counts, marker_color=BLUE, text=[count or "" for count in counts],
        textposition="outside", cliponaxis=False, hovertemplate="%{x} %: %{y}<extra></extra>",
    )  # fmt: skip
    plot.update_xaxes(title="share of the points [%]", type="category")
    plot.update_yaxes(title="students", rangemode="tozero")
    middle = statistics.median(shares)
    told = f"{len(shares)} students, median {middle:.0f} %, from {min(shares):.0f} to {max(shares):.0f} %"
    return Figure(
        "Points", f"{told}. Whoever handed nothing in counts with 0.",
        plot, f"Bars of students by points: {told}",
        ("share [%]", "students"), tuple(zip(names, map(str, counts), strict=True)),
    )  # fmt: skip


def _outcomes(items: Sequence[Item]) -> Figure:
    plot = _go().Figure()
    names = [item.name for item in items]
    for outcome, colour in OUTCOME_COLOURS.items():
        counts = [item.outcomes.get(outcome, 0) for item in items]
        if any(counts):
            plot.add_bar(
                y=names, x=counts, name=outcome, marker_color=colour, orientation="h",
                hovertemplate="%{y}: %{x} " + outcome + "<extra></extra>",
            )  # fmt: skip
    plot.update_layout(barmode="stack", legend={"traceorder": "normal"})
    plot.update_xaxes(title="submissions", rangemode="tozero")
    plot.update_yaxes(autorange="reversed", automargin=True, type="category")
    kinds = [outcome for outcome in OUTCOME_COLOURS if any(item.outcomes.get(outcome) for item in items)]
    return Figure(
        _TASKS, "How each check ended, in the order of the lab. Long grey bars: little time, or no way in.",
        plot, "Stacked bars, one a task: " + "; ".join(
            f"{item.name} {item.outcomes[Outcome.PASSED.value]} passed of {sum(item.outcomes.values())}"
            for item in items
        ),
        ("task", *kinds),
        tuple((item.name, *(str(item.outcomes.get(kind, 0)) for kind in kinds)) for item in items),
    )  # fmt: skip


def _difficulty(items: Sequence[Item]) -> Figure:
    drawn = [item for item in items if item.discrimination is not None]
    plot = _go().Figure()
    places = range(len(items))
    for name, colour, symbol, shift, values in (
        ("facility: mean share of points", BLUE, "circle", -0.14,
         [(item.facility, item.facility_interval) for item in items]),
        ("discrimination r", ORANGE, "diamond", 0.14,
         [(item.discrimination, item.discrimination_interval) for item in items]),
    ):  # fmt: skip
        known = [(place + shift, value, *ends) for place, (value, ends) in zip(places, values, strict=True)
                 if value is not None and ends is not None]  # fmt: skip
        plot.add_scatter(
            x=[value for _, value, _, _ in known], y=[y for y, _, _, _ in known], mode="markers", name=name,
            marker={"size": 11, "color": colour, "symbol": symbol},
            text=[items[round(y)].name for y, *_ in known],
            error_x={
                "array": [high - value for _, value, _, high in known],
                "arrayminus": [value - low for _, value, low, _ in known],
            },
            hovertemplate="%{text}: %{x:.2f}<extra></extra>",
        )  # fmt: skip
    plot.update_xaxes(title="facility, r", range=[min(-0.1, *map(_lowest, items)), 1.05])
    plot.update_yaxes(
        tickvals=list(places), ticktext=[item.name for item in items], range=[len(items) - 0.5, -0.5],
        automargin=True, zeroline=False,
    )  # fmt: skip
    return Figure(
        _DIFFICULTY,
        "Facility near 0 is hard. Discrimination tells strong from weak students; where it is under 0.2, and "
        "more so under 0, read the task once more: is it ambiguous?"
        + ("" if drawn else " There are too few students for it here."),
        plot, "Points with intervals, one row a task: " + "; ".join(_told(item) for item in items),
        ("task", "students", "facility", "95 % interval", "discrimination", "95 % interval of r"),
        tuple(_item_row(item) for item in items),
    )  # fmt: skip


def _lowest(item: Item) -> float:
    return item.discrimination_interval[0] - 0.05 if item.discrimination_interval else 0.0


def _item_row(item: Item) -> tuple[str, ...]:
    low, high = item.facility_interval
    between = item.discrimination_interval
    return (
        item.name, str(item.n), f"{100 * item.facility:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %",
        "–" if item.discrimination is None else f"{item.discrimination:.2f}",
        "–" if between is None else f"{between[0]:.2f} to {between[1]:.2f}",
    )  # fmt: skip


def _told(item: Item) -> str:
    r = "unknown" if item.discrimination is None else f"{item.discrimination:.2f}"
    return f"{item.name} facility {100 * item.facility:.0f} %, discrimination {r}"


def _seconds(book: Classbook) -> Figure:
    seconds = sorted(entry.grade.seconds for entry in book.entries if entry.grade)
    plot = _go().Figure()
    plot.add_histogram(x=seconds, marker_color=BLUE, nbinsx=30, hovertemplate="%{x} s: %{y}<extra></extra>")
    plot.update_xaxes(title="time of one submission [s]", rangemode="tozero")
    plot.update_yaxes(title="submissions")
    rows = (
        ("submissions", str(len(seconds))), ("fastest", format_seconds(seconds[0])),
        ("median", format_seconds(statistics.median(seconds))), ("slowest", format_seconds(seconds[-1])),
        ("together", format_seconds(sum(seconds))),
    )  # fmt: skip
    told = f"median {rows[2][1]}, slowest {rows[3][1]}, {rows[4][1]} of work together"
    return Figure(
        "Time of grading", f"From the begin of a submission's process to its end: {told}.", plot,
        f"Histogram of {len(seconds)} submissions by time: {told}", ("", "value"), rows,
    )  # fmt: skip


def _go() -> Any:
    return require("plotly.graph_objects", extra=EXTRA)
