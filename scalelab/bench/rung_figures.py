"""The figures of single rungs, drawn from their records: the services under load, and the training."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from scalelab.bench.figure import SLO_S, bars, log_axis, mark_target
from scalelab.core.errors import DataError
from scalelab.core.lazy import require
from scalelab.core.page import BLUE, GREEN, ORANGE, RED, Figure
from scalelab.core.records import RunRecord
from scalelab.core.units import MIB, format_rate, format_seconds


def rung_figures(records: Sequence[RunRecord]) -> list[Figure]:
    """Return the figures that the newest successful records allow; a figure without data is left out."""
    newest = {record.subject: record for record in records if record.status == "done"}
    makers = (curve_figure, burst_figure, memory_figure, ddp_figure, ladder_figure)
    return [figure for maker in makers if (figure := maker(list(newest.values()))) is not None]


def curve_figure(records: Sequence[RunRecord]) -> Figure | None:
    """p95 against the arrival rate for each service, with the latency target."""
    with_curve = [record for record in records if _values(record, "curve_rate")]
    if not with_curve:
        return None
    go = require("plotly.graph_objects", extra="bench")
    plot, rows = go.Figure(), []
    for record, colour in zip(with_curve, itertools.cycle((ORANGE, BLUE, RED, GREEN))):
        title = str(record.notes["title"])
        pairs = sorted(zip(_values(record, "curve_rate"), _values(record, "curve_p95"), strict=True))
        windows: dict[float, list[float]] = {}
        for rate, p95 in pairs:
            windows.setdefault(rate, []).append(1e3 * p95)
        plot.add_scatter(
            x=list(windows), y=[statistics.median(found) for found in windows.values()],
            name=title, mode="lines", line={"color": colour},
        )  # fmt: skip
        plot.add_scatter(
            x=[rate for rate, _ in pairs], y=[1e3 * p95 for _, p95 in pairs],
            name=title, mode="markers", marker={"color": colour}, showlegend=False,
        )  # fmt: skip
        rows += [(title, f"{rate:,.1f}", f"{p95 * 1e3:,.1f}") for rate, p95 in pairs]
    mark_target(plot)
    p95_ms = [1e3 * p95 for record in with_curve for p95 in _values(record, "curve_p95")]
    rates = [rate for record in with_curve for rate in _values(record, "curve_rate")]
    plot.update_yaxes(**log_axis("p95 latency [ms]", [*p95_ms, 1e3 * SLO_S]))
    plot.update_xaxes(**log_axis("arrival rate [requests/s]", rates))
    best = {str(r.notes["title"]): _values(r, "throughput")[0] for r in with_curve}
    return Figure(
        "Where it bends: the knee",
        "Latency is flat until the queue grows faster than it drains. A dot is a window of seconds, the line "
        "goes through their medians; windows with too many unanswered requests for a p95 are left out.",
        plot,
        "Highest arrival rate with p95 under 200 ms: "
        + ", ".join(f"{title} {format_rate(rate)}" for title, rate in best.items())
        + ".",
        ("service", "arrivals per second", "p95 [ms] from the intended send time"),
        tuple(rows),
    )


BURST = (("answered", GREEN), ("refused", ORANGE), ("failed", RED), ("lost", "#5b1a18"))


def burst_figure(records: Sequence[RunRecord]) -> Figure | None:
    """What became of every request of a burst, for each service."""
    hit = [record for record in records if record.notes.get("burst")]
    if not hit:
        return None
    go = require("plotly.graph_objects", extra="bench")
    titles = [str(record.notes["title"]) for record in hit]
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
    plot = bars(labels, [count / MIB for count in saved], None)
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
    plot = bars([row["name"] for row in rows], [row["images_per_s"] for row in rows], None)
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
    try:
        return record.metric(name).values
    except DataError:
        return ()
