"""The figures of single steps, drawn from their records: the services under load, and the training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from scalelab.bench.figure import PALETTE, bars, log_axis
from scalelab.bench.measured import Measured
from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, GREY, ORANGE, RED, Figure
from scalelab.core.records import RunRecord
from scalelab.core.units import MIB, format_rate, format_seconds

CURVES = 8
"""of one plot"""
WINDOWS = 200
"""of one curve; of more, every k-th is drawn, and the line goes through the medians of `BINS` ranges"""
BINS = 24


def rung_figures(points: Sequence[Measured]) -> list[Figure]:
    """Return the figures that the points allow; a figure without data is left out."""
    newest = [point.rounds[-1] for point in points if point.rounds]
    makers = (burst_figure, memory_figure, ddp_figure, ladder_figure)
    return [
        figure
        for figure in (curve_figure(points), *(maker(newest) for maker in makers))
        if figure is not None
    ]


def curve_figure(points: Sequence[Measured]) -> Figure | None:
    """p95 against the arrival rate for each service, with the latency target and the knee."""
    with_curve = [point for point in points if point.values("curve_rate")]
    if not with_curve:
        return None
    go = require("plotly.graph_objects", extra="bench")
    plot, rows, told = go.Figure(), [], []
    rates: list[float] = []
    p95_ms: list[float] = []
    for number, point in enumerate(with_curve):
        curve = sorted(zip(point.values("curve_rate"), point.values("curve_p95"), strict=True))
        rows += [(point.title, f"{rate:,.1f}", f"{1e3 * p95:,.1f}", "window") for rate, p95 in curve]
        knee, at_knee = point.spreads.get("throughput"), point.spreads.get("latency_p95")
        if knee is not None:
            told.append(f"{point.title} {knee}")
            at_ms = f"{1e3 * at_knee.median:,.1f}" if at_knee else "–"
            rows.append((point.title, f"{knee.median:,.1f}", at_ms, "knee"))
        if number >= CURVES:
            continue
        colour = PALETTE[number % len(PALETTE)]
        line = _medians(curve)
        rates += [rate for rate, _ in curve]
        p95_ms += [1e3 * p95 for _, p95 in curve]
        plot.add_scatter(
            x=[rate for rate, _ in line], y=[1e3 * p95 for _, p95 in line],
            name=point.title, mode="lines", line={"color": colour}, legendgroup=point.title,
        )  # fmt: skip
        thinned = curve[:: max(1, len(curve) // WINDOWS)]
        plot.add_scatter(
            x=[rate for rate, _ in thinned], y=[1e3 * p95 for _, p95 in thinned], legendgroup=point.title,
            name=point.title, mode="markers", marker={"color": colour, "size": 7}, showlegend=False,
        )  # fmt: skip
        if knee is not None and at_knee is not None:
            rates.append(knee.median)
            p95_ms.append(1e3 * at_knee.median)
            plot.add_scatter(
                x=[knee.median], y=[1e3 * at_knee.median], legendgroup=point.title, showlegend=False,
                name=f"knee of {point.title}", mode="markers+text", text=[format_rate(knee.median)],
                textposition="bottom right",
                marker={"symbol": "star", "size": 17, "color": colour, "line": {"width": 1, "color": GREY}},
            )  # fmt: skip
    targets = sorted({point.slo_s for point in with_curve if point.slo_s is not None})
    for target_s in targets:
        _mark_target(plot, 1e3 * target_s)
    plot.update_yaxes(**log_axis("p95 latency [ms]", [*p95_ms, *(1e3 * target for target in targets)]))
    plot.update_xaxes(**log_axis("arrival rate [requests/s]", rates))
    slo = " and ".join(f"{1e3 * target:g} ms" for target in targets) or "the target"
    more = f" The first {CURVES} of {len(with_curve)} services are drawn." if len(with_curve) > CURVES else ""
    return Figure(
        "Where it bends: the knee",
        "Latency is flat until the queue grows faster than it drains. A dot is a window of seconds, the line "
        "goes through their medians, the star is the knee: the highest rate with p95 under the target. "
        f"Windows with too many unanswered requests for a p95 are left out.{more}",
        plot,
        f"Knee, the highest arrival rate with p95 under {slo}: {'; '.join(told[:20])}.",
        ("service", "arrivals per second", "p95 [ms] from the intended send time", "what"),
        tuple(rows),
        height=480,
    )


def _medians(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return for each rate the median of its windows; rates of very many windows are put into bins."""
    bins: dict[float, list[tuple[float, float]]] = {}
    low, high = math.log(curve[0][0]), math.log(curve[-1][0])
    for rate, p95 in curve:
        place = rate if len(curve) <= WINDOWS else (math.log(rate) - low) // ((high - low) / BINS or 1)
        bins.setdefault(place, []).append((rate, p95))
    return [
        (statistics.median(rate for rate, _ in found), statistics.median(p95 for _, p95 in found))
        for found in bins.values()
    ]


def _mark_target(plot: Any, target_ms: float) -> None:
    """Draw the latency target across a plot whose y axis is logarithmic."""
    plot.add_shape(
        type="line",
        xref="paper",
        x0=0,
        x1=1,
        y0=target_ms,
        y1=target_ms,
        line={"dash": "dash", "color": GREY},
    )
    # a shape takes the value, an annotation its logarithm: https://plotly.com/python/reference/layout/annotations/
    plot.add_annotation(
        xref="paper", x=0, xanchor="left", y=math.log10(target_ms), text=f"SLO: p95 {target_ms:g} ms",
        showarrow=False, yshift=10,
    )  # fmt: skip


BURST = (("answered", GREEN), ("refused", ORANGE), ("failed", RED), ("lost", "#5b1a18"))


def burst_figure(records: Sequence[RunRecord]) -> Figure | None:
    """What became of every request of a burst, for each service."""
    hit = [record for record in records if record.notes.get("burst")][:CURVES]
    if not hit:
        return None
    go = require("plotly.graph_objects", extra="bench")
    titles = [str(record.notes.get("title", record.subject)) for record in hit]
    plot = go.Figure()
    for name, colour in BURST:
        counts = [record.notes["burst"][name] for record in hit]
        plot.add_bar(y=titles, x=counts, name=name, orientation="h", marker_color=colour, text=counts)
    plot.update_layout(barmode="stack")
    plot.update_xaxes(title="requests of the burst")
    names = ("offered", "accepted", *(name for name, _ in BURST), "rate_per_s", "workers_killed")
    rows = tuple(
        (title, *(f"{record.notes['burst'].get(name, 0):,.0f}" for name in names))
        for title, record in zip(titles, hit, strict=True)
    )
    return Figure(
        "A burst of five times the naive app's rate",
        "Accepted means that the service took responsibility (202, or the answer itself); lost means that it "
        "accepted and never answered.",
        plot,
        "Burst: "
        + "; ".join(
            f"{title}: {record.notes['burst']['answered']} of {record.notes['burst']['offered']} answered, "
            f"{record.notes['burst']['lost']} lost"
            for title, record in zip(titles, hit, strict=True)
        )
        + ".",
        ("service", *(name.replace("_", " ") for name in names)),
        rows,
    )


def memory_figure(records: Sequence[RunRecord]) -> Figure | None:
    """Activation memory of one optimizer step against the micro-batch size."""
    found = [record for record in records if _values(record, "micro_batch")]
    if not found:
        return None
    sizes, saved, seconds = (_values(found[-1], name) for name in ("micro_batch", "saved_bytes", "step_time"))
    labels = [f"{size:.0f}" for size in sizes]
    plot = bars(labels, [count / MIB for count in saved])
    plot.update_yaxes(title="activations kept for backward [MiB]")
    plot.update_xaxes(title="micro-batch (the whole batch first)", type="category")
    return Figure(
        "Gradient accumulation",
        "The same step in smaller bites: the gradient is the same, the memory shrinks with the bite.",
        plot,
        f"Activation memory falls from {saved[0] / MIB:.1f} MiB at {labels[0]} "
        f"to {saved[-1] / MIB:.1f} MiB at {labels[-1]}.",
        ("micro-batch", "activations [MiB]", "time of the step"),
        tuple(
            (label, f"{count / MIB:,.2f}", format_seconds(second))
            for label, count, second in zip(labels, saved, seconds, strict=True)
        ),
    )


def ddp_figure(records: Sequence[RunRecord]) -> Figure | None:
    """Training images per second: one process, DDP, and DDP that synchronizes less often."""
    found = [record for record in records if record.notes.get("ddp")]
    if not found:
        return None
    rows = found[-1].notes["ddp"]
    plot = bars([row["name"] for row in rows], [row["images_per_s"] for row in rows])
    plot.update_yaxes(title="training images per second")
    return Figure(
        "Data parallel training",
        "Two processes share the images but must exchange every gradient: a wide model pays for its bytes. "
        "Bars are medians; the ratios above are medians of paired rounds.",
        plot,
        "Training images per second: "
        + ", ".join(f"{row['name']} {row['images_per_s']:,.0f}" for row in rows)
        + ".",
        ("how", "images per second", "MiB all-reduced per rank and step"),
        tuple(
            (row["name"], f"{row['images_per_s']:,.1f}", f"{row['bytes_per_step'] / MIB:,.2f}")
            for row in rows
        ),
    )


def ladder_figure(records: Sequence[RunRecord]) -> Figure | None:
    """How many times faster the model became, rung by rung of the ladder, at batch 1 and 32."""
    found = [record for record in records if record.notes.get("ladder")]
    if not found:
        return None
    go = require("plotly.graph_objects", extra="bench")
    rows = found[-1].notes["ladder"]
    names = [row["name"] for row in rows]
    plot = go.Figure()
    for batch, colour in ((1, BLUE), (32, ORANGE)):
        speedups = [row[f"batch_{batch}"] for row in rows]
        plot.add_bar(
            x=names, y=speedups, name=f"batch {batch}", marker_color=colour,
            text=[f"{times:.1f}" for times in speedups], textposition="outside",
        )  # fmt: skip
    plot.update_yaxes(**log_axis("times as fast", [row[f"batch_{n}"] for row in rows for n in (1, 32)]))
    return Figure(
        "The ladder: prune, distil, int8",
        "Cut to a few channels and taught by what it was, the reader fits into a cache; int8 shrinks what is "
        "left. Paired with eager torch on the whole reader, one thread.",
        plot,
        "Against eager torch: "
        + ", ".join(f"{row['name']} {row['batch_1']:.1f} and {row['batch_32']:.1f} times" for row in rows)
        + ".",
        ("model", "KiB", "times as fast at batch 1", "at batch 32"),
        tuple(
            (row["name"], f"{row['bytes'] / 1024:,.0f}", f"{row['batch_1']:.2f}", f"{row['batch_32']:.2f}")
            for row in rows
        ),
    )


def _values(record: RunRecord, name: str) -> tuple[float, ...]:
    return next((metric.values for metric in record.metrics if metric.name == name), ())
