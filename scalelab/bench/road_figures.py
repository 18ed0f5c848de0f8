"""The figures over all rungs: latency, throughput, accuracy, cost, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from scalelab.bench.figure import SLO_S, bars, log_axis, mark_target
from scalelab.bench.road import Rung, pareto_front
from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, ORANGE, RED, Figure
from scalelab.core.units import MIB, format_percent, format_rate


def road_figures(rungs: Sequence[Rung]) -> list[Figure]:
    """Return the figures that the measured rungs allow; a figure without data is left out."""
    measured = [rung for rung in rungs if rung.status == "done"]
    makers = (latency_figure, throughput_figure, accuracy_figure, cost_figure, pareto_figure)
    return [figure for maker in makers if (figure := maker(measured)) is not None]


def latency_figure(rungs: Sequence[Rung]) -> Figure | None:
    """p50, p95 and p99 of a single prediction or request, per rung."""
    measured = [rung for rung in rungs if rung.p50_s is not None]
    if not measured:
        return None
    go = require("plotly.graph_objects", extra="bench")
    plot = go.Figure()
    for label, colour, pick in (("p50", BLUE, "p50_s"), ("p95", ORANGE, "p95_s"), ("p99", RED, "p99_s")):
        plot.add_scatter(
            x=[rung.title for rung in measured],
            y=[_ms(getattr(rung, pick)) for rung in measured],
            name=label, mode="markers", marker={"size": 12, "color": colour},
        )  # fmt: skip
    mark_target(plot)
    shown = [_ms(value) for rung in measured for value in (rung.p50_s, rung.p95_s, rung.p99_s, SLO_S)]
    plot.update_yaxes(**log_axis("latency [ms]", shown))
    first, last = measured[0], measured[-1]
    return Figure(
        "Latency",
        "A model in a loop answers in milliseconds; a service must do so while everybody asks at once.",
        plot,
        f"Latency per rung, from {first.title} ({first.latency_text}) to {last.title} ({last.latency_text}).",
        ("rung", "p50 [ms]", "p95 [ms]", "p99 [ms]", "n"),
        tuple(
            (r.title, *(_cell(_ms(x)) for x in (r.p50_s, r.p95_s, r.p99_s)), str(r.latency_n))
            for r in measured
        ),
    )


def throughput_figure(rungs: Sequence[Rung]) -> Figure | None:
    """Predictions, training images or requests per second, per rung."""
    measured = [rung for rung in rungs if rung.throughput is not None]
    if not measured:
        return None
    plot = bars(
        [rung.title for rung in measured],
        [float(rung.throughput or 0) for rung in measured],
        [rung.throughput_of for rung in measured],
    )
    plot.update_yaxes(title="per second")
    return Figure(
        "Throughput",
        "Bars of one colour count the same thing: compare within a colour.",
        plot,
        "Throughput per rung: "
        + ", ".join(f"{r.title} {format_rate(r.throughput or 0)} ({r.throughput_of})" for r in measured)
        + ".",
        ("rung", "per second", "of"),
        tuple((r.title, f"{r.throughput:,.1f}", r.throughput_of) for r in measured),
    )


def accuracy_figure(rungs: Sequence[Rung]) -> Figure | None:
    """Share of digits and of whole PIN codes read right, per rung."""
    measured = [rung for rung in rungs if rung.pin_accuracy is not None]
    if not measured:
        return None
    go = require("plotly.graph_objects", extra="bench")
    plot = go.Figure()
    for label, colour, pick in (
        ("digits right", BLUE, "digit_accuracy"),
        ("PIN codes right", GREEN, "pin_accuracy"),
    ):
        plot.add_bar(
            x=[rung.title for rung in measured],
            y=[100 * getattr(rung, pick) for rung in measured],
            name=label, marker_color=colour,
            text=[format_percent(getattr(rung, pick)) for rung in measured], textposition="outside",
        )  # fmt: skip
    floor = min(100 * float(rung.pin_accuracy or 0) for rung in measured)
    plot.update_yaxes(title="accuracy [%], axis cut", range=[max(0, floor - 8), 101.5])
    return Figure(
        "Accuracy",
        "A PIN code is right only if all six digits are: what a digit loses, a parcel loses six times.",
        plot,
        "Accuracy on the test split: "
        + ", ".join(f"{r.title} {format_percent(r.pin_accuracy or 0)} of PIN codes" for r in measured)
        + ".",
        ("rung", "digits right", "PIN codes right", "model [MiB]"),
        tuple(
            (r.title, format_percent(r.digit_accuracy or 0, 3), format_percent(r.pin_accuracy or 0, 3),
             _cell(r.model_bytes and r.model_bytes / MIB))
            for r in measured
        ),
    )  # fmt: skip


def cost_figure(rungs: Sequence[Rung]) -> Figure | None:
    """Rupees per million predictions, per rung."""
    measured = [rung for rung in rungs if rung.inr_per_million is not None]
    if not measured:
        return None
    plot = bars(
        [rung.title for rung in measured],
        [float(rung.inr_per_million or 0) for rung in measured],
        [rung.throughput_of for rung in measured],
    )
    plot.update_yaxes(title="₹ per million predictions")
    return Figure(
        "Cost",
        "The price of a rented machine, divided by the rate measured here. Compare within a colour: a bare "
        "model call in batches of 32 is less than a request that is received, read, answered and on time.",
        plot,
        "Rupees per million predictions: "
        + ", ".join(f"{r.title} {r.inr_per_million:,.2f}" for r in measured)
        + ".",
        ("rung", "₹ per million", "$ per million", "of"),
        tuple(
            (r.title, f"{r.inr_per_million:,.3f}", _cell(r.usd_per_million, 4), r.throughput_of)
            for r in measured
        ),
    )


def pareto_figure(rungs: Sequence[Rung]) -> Figure | None:
    """PIN accuracy against cost, with the front of what no other rung beats in both."""
    measured = [r for r in rungs if r.pin_accuracy is not None and r.inr_per_million is not None]
    if len(measured) < 2:
        return None
    go = require("plotly.graph_objects", extra="bench")
    points = [(float(r.inr_per_million or 0), 100 * float(r.pin_accuracy or 0)) for r in measured]
    front = sorted(pareto_front(points), key=lambda index: points[index])
    plot = go.Figure()
    plot.add_scatter(
        x=[points[i][0] for i in front], y=[points[i][1] for i in front],
        mode="lines", line={"color": GREEN, "shape": "hv", "dash": "dot"}, name="Pareto front",
    )  # fmt: skip
    for i, (rung, (x, y)) in enumerate(zip(measured, points, strict=True)):
        edge = {"color": GREEN, "width": 4} if i in front else {"width": 0}
        plot.add_scatter(
            x=[x], y=[y], mode="markers", name=rung.title, marker={"size": 15, "opacity": 0.85, "line": edge}
        )
    plot.update_xaxes(**log_axis("₹ per million predictions", [x for x, _ in points]))
    low, high = min(y for _, y in points), max(y for _, y in points)
    plot.update_yaxes(title="PIN codes right [%]", range=[low - 1, high + 1])
    return Figure(
        "Pareto front",
        "Up and to the left is better; no other rung beats a ringed one in both price and accuracy.",
        plot,
        "Cost against accuracy. On the front: " + ", ".join(measured[i].title for i in front) + ".",
        ("rung", "₹ per million", "PIN codes right", "on the front"),
        tuple(
            (r.title, f"{x:,.3f}", f"{y:.2f} %", "yes" if i in front else "no")
            for i, (r, (x, y)) in enumerate(zip(measured, points, strict=True))
        ),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _cell(amount: float | None, digits: int = 2) -> str:
    return "–" if amount is None else f"{amount:,.{digits}f}"
