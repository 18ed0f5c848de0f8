"""The figures over all points of a suite: gains, latency, throughput, accuracy, cost; and the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scalelab.bench.figure import PALETTE, Dot, dot_figure
from scalelab.bench.measured import Measured
from scalelab.bench.pareto import pareto_figure
from scalelab.bench.quantities import quantity
from scalelab.bench.spread import Spread
from scalelab.bench.views import parameter_figure, varied_parameters
from scalelab.core.page import Figure
from scalelab.core.units import format_money

DRAWN_ELSEWHERE = {
    "digit_accuracy", "pin_accuracy", "latency", "latency_p50", "latency_p95", "latency_p99", "latency_n",
    "throughput", "usd_per_million", "inr_per_million", "micro_batch", "saved_bytes", "ddp_ratio",
    "point_seconds", "point_memory",
}  # fmt: skip
"""metrics with a figure of their own, and what the harness took"""
FAMILIES = 12
"""figures of a suite's own metrics, at most"""


def suite_figures(points: Sequence[Measured]) -> list[Figure]:
    """Return the figures that the points allow; a figure without data is left out."""
    makers = (latency_figure, throughput_figure, accuracy_figure, cost_figure, pareto_figure)
    found = [figure for maker in makers if (figure := maker(points)) is not None]
    return [*found, *lever_figures(points), *family_figures(points)]


def gain_figure(points: Sequence[Measured]) -> Figure | None:
    """Each step's rate as a multiple of the first step that counts the same thing."""
    first: dict[str, Spread] = {}
    dots = []
    for point in points:
        rate = point.spreads.get("throughput")
        if rate is None or rate.median <= 0:
            continue
        base = first.setdefault(point.kind, rate).median
        dots.append(
            Dot(
                point.title, point.kind,
                Spread("times", rate.median / base, rate.low / base, rate.high / base, rate.n, rate.of),
            )
        )  # fmt: skip
    steps = Counter(dot.series for dot in dots)
    dots = [dot for dot in dots if steps[dot.series] > 1]
    if len(dots) < 3:
        return None
    return dot_figure(
        "What each step gained",
        "Times the rate of the first step of the same colour, each divided by that step's median. Compare "
        "within a colour only.",
        dots,
        "rate",
        labels=[f"{dot.spread.median:,.3g} ×" for dot in dots],
    )


def latency_figure(points: Sequence[Measured]) -> Figure | None:
    """p50, p95 and p99 of a single prediction or request."""
    names = (("latency_p50", "p50"), ("latency_p95", "p95"), ("latency_p99", "p99"))
    dots = [
        Dot(point.title, label, point.spreads[name])
        for point in points
        for name, label in names
        if name in point.spreads
    ]
    if not dots:
        return None
    return dot_figure(
        "Latency",
        "A model in a loop answers in milliseconds; a service must do so while everybody asks at once. The "
        "dashed line is the services' target for p95.",
        dots,
        "latency",
        targets_s=[point.slo_s for point in points if point.slo_s is not None],
    )


def throughput_figure(points: Sequence[Measured]) -> Figure | None:
    """Predictions, training images or requests per second."""
    dots = _dots(points, "throughput")
    lead = "Dots of one colour count the same thing: compare within a colour."
    return dot_figure("Throughput", lead, dots, "throughput") if len(dots) > 1 else None


def accuracy_figure(points: Sequence[Measured]) -> Figure | None:
    """Share of digits and of whole PIN codes read right."""
    names = (("digit_accuracy", "digits right"), ("pin_accuracy", "PIN codes right"))
    dots = [
        Dot(point.title, label, point.spreads[name])
        for point in points
        for name, label in names
        if name in point.spreads
    ]
    lead = "On the test split. A PIN code needs all six digits: what a digit loses, a parcel loses six times."
    return dot_figure("Accuracy", lead, dots, "right") if dots else None


def cost_figure(points: Sequence[Measured]) -> Figure | None:
    """Rupees and dollars per million."""
    dots = _dots(points, "inr_per_million")
    if len(dots) < 2:
        return None
    usd = {point.title: point.spreads.get("usd_per_million") for point in points}
    return dot_figure(
        "Cost of a million",
        "The price of a rented machine, divided by the rate measured here. Compare within a colour: a bare "
        "model call is less than a request that is received, read, answered and on time.",
        dots,
        "₹ per million",
        labels=[
            format_money(dot.spread.median, "INR")
            + (f" = {format_money(dollars.median, 'USD')}" if (dollars := usd[dot.row]) else "")
            for dot in dots
        ],
    )


def lever_figures(points: Sequence[Measured]) -> list[Figure]:
    """Draw rate and p95 of a matrix over its first number: a line for each choice of the other parameters."""
    matrices: dict[str, list[Measured]] = {}
    for point in points:
        name, bracket, _ = point.newest.subject.partition("[")
        if bracket and point.rounds:
            matrices.setdefault(name, []).append(point)
    figures = []
    for name, members in matrices.items():
        varied = varied_parameters(members)
        numbers = [lever for lever in varied if _are_numbers(members, lever)]
        if not numbers:
            continue
        others = [lever for lever in varied if lever != numbers[0]]
        for metric, label in (("throughput", "throughput"), ("latency_p95", "p95")):
            held = [point for point in members if metric in point.spreads]
            dots = [Dot(point.title, _choice(point, others), point.spreads[metric]) for point in held]
            if len(held) > 2 and len({dot.series for dot in dots}) <= len(PALETTE):
                places = [point.newest.parameters[numbers[0]] for point in held]
                lead = f"{name.split('/', 1)[-1]}: medians with their intervals."
                title = f"{label[:1].upper()}{label[1:]} over {numbers[0]}"
                figures.append(parameter_figure(title, lead, dots, places, numbers[0], axis=label))
    return figures


def _are_numbers(points: Sequence[Measured], name: str) -> bool:
    values = [point.newest.parameters.get(name) for point in points]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _choice(point: Measured, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {point.newest.parameters.get(name)}" for name in names)


def family_figures(points: Sequence[Measured]) -> list[Figure]:
    """Draw a suite's other metrics: those of one unit whose names begin with the same words, together.

    Whichever of points and metrics are more become the rows, the others the colours. Two dots are none to
    draw: they are in the table.
    """
    families: dict[tuple[str, str], list[tuple[Measured, str, Spread]]] = {}
    for point in points:
        for name, spread in point.spreads.items():
            if name not in DRAWN_ELSEWHERE:
                families.setdefault((spread.unit, name.split("_")[0]), []).append((point, name, spread))
    figures = [_family(members) for members in families.values() if len(members) > 2]
    return figures[:FAMILIES]


def _family(members: Sequence[tuple[Measured, str, Spread]]) -> Figure:
    names = list(dict.fromkeys(name for _, name, _ in members))
    titles = {point.title for point, _, _ in members}
    words = [name.split("_") for name in names]
    common = 0
    while all(len(w) > common + 1 and w[common] == words[0][common] for w in words):
        common += 1
    subject = " ".join(words[0][:common]) if len(names) > 1 else names[0].replace("_", " ")
    rest = {
        name: " ".join(w[common:]) if len(names) > 1 else "" for name, w in zip(names, words, strict=True)
    }
    by_name = len(names) >= len(titles)
    dots = [
        Dot(rest[name] or point.title, point.title, spread)
        if by_name and len(names) > 1
        else Dot(point.title, rest[name], spread)
        for point, name, spread in members
    ]
    better = {quantity(name, spread.unit).better for _, name, spread in members}
    lead = {"lower": "Less is better.", "higher": "More is better."}.get(
        next(iter(better)) if len(better) == 1 else "", "Medians with their intervals."
    )
    return dot_figure(subject[:1].upper() + subject[1:], lead, dots, subject)


def _dots(points: Sequence[Measured], name: str) -> list[Dot]:
    return [Dot(point.title, point.kind, point.spreads[name]) for point in points if name in point.spreads]
