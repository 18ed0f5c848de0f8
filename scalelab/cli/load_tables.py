"""What ``scalelab load`` shows of its results."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from scalelab.core.stats import Estimate
    from scalelab.loadtest import BurstResult, Knee, LatencyHistogram, LoadResult
    from scalelab.loadtest.compare import Comparison

MOST_PARTS = 24


def load_table(result: LoadResult, closed: LoadResult | None, slo_s: float | None) -> Table:
    """One run: what was offered, what came back, and how late; beside it the closed loop, if it ran too."""
    from scalelab.core.units import format_percent, format_rate

    is_open = result.mode == "open"
    load_was = (
        f"{format_rate(result.offered_rate_per_s or 0)} offered" if is_open else f"{result.users} users"
    )
    table = _table(f"{load_was}, {result.duration_s:g} s")
    runs = [result] if closed is None else [result, closed]
    if closed is not None:
        table.show_header = True
        table.columns[1].header = "from the intended send"
        table.add_column(f"closed loop, {closed.users} users", justify="right")
    table.add_row("throughput", *(format_rate(run.throughput_per_s) for run in runs))
    if slo_s is not None:
        table.add_row(
            f"goodput within {1e3 * slo_s:g} ms", *(format_rate(run.goodput_per_s(slo_s)) for run in runs)
        )
    for percent in (50, 95, 99):
        shown = [latency(run, percent) for run in runs]
        table.add_row(f"latency p{percent}, ms (n = {result.latency.n:,})", *shown)
    table.add_row("sent", *(f"{run.sent:,} requests" for run in runs))
    table.add_row("answered", *(f"{run.ok:,}" for run in runs))
    table.add_row("refused (429)", *(f"{run.rejected:,}" for run in runs))
    for kind in sorted({kind for run in runs for kind in run.errors}):
        counts = [run.errors.get(kind, 0) for run in runs]
        shown = [
            f"{count:,} ({format_percent(count / run.sent)})" if count else "0"
            for count, run in zip(counts, runs, strict=True)
        ]
        table.add_row(f"error: {kind}", *shown)
    table.add_row("in flight, mean", *(f"{run.mean_in_flight:,.1f}" for run in runs))
    table.add_row("Little's law (steady: 1)", *(_ratio(run.littles_law_ratio) for run in runs))
    if is_open:
        lag_s = result.lag_p95_s
        table.add_row("sent late by, p95", "too few requests" if lag_s is None else f"{1e3 * lag_s:.1f} ms")
    work = [f"{100 * run.generator_busy_share:.0f} % of the time" for run in runs]
    table.add_row(f"generator had work ({result.processes} process{'es' * (result.processes > 1)})", *work)
    return table


def parts_table(result: LoadResult) -> Table:
    """The parts of a shaped load, each with its own percentiles."""
    from rich.table import Table

    table = Table(title=f"the {len(result.parts)} parts of the load, in order")
    for name in ("rate, 1/s", "for, s", "n", "answered", "p50, ms", "p95, ms", "p99, ms"):
        table.add_column(name, justify="right")
    for part in result.parts[:MOST_PARTS]:
        values = [milliseconds(part.latency, percent) for percent in (50, 95, 99)]
        table.add_row(
            f"{part.rate_per_s:,.1f}", f"{part.seconds:g}", f"{part.sent:,}", f"{part.ok:,}", *values
        )
    if len(result.parts) > MOST_PARTS:
        table.caption = f"the first {MOST_PARTS}; --json has all"
    return table


def burst_table(result: BurstResult) -> Table:
    """What became of every request of a burst."""
    from scalelab.core.units import format_percent, format_rate

    table = _table(f"burst of {format_rate(result.offered_rate_per_s)} for {result.duration_s:g} s")
    for name in ("offered", "accepted", "refused", "failed", "answered", "answered_with_error", "lost"):
        count = getattr(result, name)
        share = f" ({format_percent(count / result.offered)})" if result.offered else ""
        table.add_row(name.replace("_", " "), f"{count:,}{share}")
    for kind, count in sorted(result.failures.items()):
        table.add_row(f"failed: {kind}", f"{count:,}")
    _add_latencies(table, "time to answer", result.latency)
    return table


def knee_table(found: Knee) -> Table:
    """Every rate that was tried, in order of the rates."""
    from rich.table import Table

    from scalelab.core.units import format_percent

    table = Table(title=f"p95 < {1e3 * found.slo_p95_s:g} ms, errors <= {100 * found.max_error_share:g} %")
    for name in ("rate, 1/s", "p50, ms", "p95, ms", "p99, ms", "n", "errors", "verdict", "phase"):
        table.add_column(name, justify="left" if name in ("verdict", "phase") else "right")
    for point in found.curve():
        values = [milliseconds(point.result.latency, percent) for percent in (50, 95, 99)]
        n, errors = f"{point.result.latency.n:,}", format_percent(point.result.error_share, 1)
        table.add_row(f"{point.rate_per_s:.1f}", *values, n, errors, point.verdict.value, point.phase)
    return table


def knee_sentence(found: Knee) -> str:
    """The knee in a sentence, and how sure it is."""
    if found.rate_per_s == 0:
        return "no rate kept the objective"
    bound = "at least " if found.is_lower_bound else ""
    why = "; the load generator was the bottleneck above it" if found.generator_limited else ""
    sure = "" if found.is_confirmed else " (not confirmed by a longer window)"
    sentence = f"knee: {bound}{found.rate_per_s:,.1f} requests/s{sure}{why}"
    if (crossed := found.crossing) is not None:
        sentence += (
            f"\np95 crosses {1e3 * found.slo_p95_s:g} ms at {crossed.median:,.1f} requests/s, 95 % interval "
            f"{crossed.low:,.1f} to {crossed.high:,.1f} (the windows' tenths drawn anew 1,000 times)"
        )
    return sentence


def compare_table(found: Comparison, names: tuple[str, str]) -> Table:
    """Both sides and their ratio, with its interval."""
    import statistics

    from rich.table import Table

    from scalelab.core.units import format_percent

    how = "in turn" if found.is_interleaved else "as saved: not in turn, the machine's drift may be in it"
    table = Table(title=f"{found.pairs} pairs, {how}")
    for name in ("", f"A: {names[0]}", f"B: {names[1]}", "B / A", "95 % interval"):
        table.add_column(name, justify="right" if name else "left")
    for name, one in found.ratios.items():
        is_rate = name == "throughput"
        sides = [statistics.median(side) for side in (one.a_s, one.b_s)]
        shown = [f"{side:,.1f}" if is_rate else f"{1e3 * side:,.2f}" for side in sides]
        title = "throughput, 1/s" if is_rate else f"{name}, ms"
        table.add_row(title, *shown, f"{one.ratio.median:.3f}", _between(one.ratio))
    table.add_row("errors", *(format_percent(share) for share in found.errors), "", "")
    if found.censored:
        table.caption = f"{found.censored} values were never answered and stand with the time limit"
    return table


def _between(estimate: Estimate) -> str:
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def _ratio(value: float) -> str:
    return "no answers" if math.isnan(value) else f"{value:.2f}"


def latency(run: LoadResult, percent: float) -> str:
    """A percentile [ms] with its 95 % interval."""
    shown = milliseconds(run.latency, percent)
    found = run.percentile_interval(percent) if run.latency.n else None
    if found is None or math.isinf(found.median):
        return shown
    high = "never" if math.isinf(found.high) else f"{1e3 * found.high:,.1f}"
    return f"{shown}  [{1e3 * found.low:,.1f}, {high}]"


def _table(title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    return table


def _add_latencies(table: Table, what: str, latency: LatencyHistogram) -> None:
    for percent in (50, 95, 99):
        table.add_row(f"{what} p{percent}, ms (n = {latency.n:,})", milliseconds(latency, percent))


def milliseconds(latency: LatencyHistogram, percent: float) -> str:
    """A percentile as text, or why there is none."""
    value = latency.percentile_or_none(percent)
    return "n too small" if value is None else "never" if value == float("inf") else f"{1e3 * value:,.1f}"
