"""What the rounds say: a table, metrics for the record, and the claims with their verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from peers.rounds import OURS, SLO_S, Findings, Seen
from peers.workload import TOKENS, WORKERS
from scalelab.bench import claim
from scalelab.core.errors import ConfigError
from scalelab.core.records import Metric, metric
from scalelab.core.stats import Estimate, estimate_median, judge
from scalelab.core.units import MIB

SHARE_OF_CEILING = {"ours": 0.90, "ours-valkey": 0.85}
CNN_SHARE = 0.60
MOST_START_S = 5.0
MOST_MEMORY_BYTES = 400e6
PERCENTS = (50, 95, 99)
HEAD = (
    "system",
    "body",
    "closed loop, 64 connections [1/s]",
    "% of ceiling",
    "CPU of a request, the model's included [us]",
    f"highest Poisson rate with p95 < {1e3 * SLO_S:.0f} ms [1/s]",
    "% of ceiling",
    "p50 / p95 / p99 at {rate} [ms]",
    "memory, PSS [MB]",
    "start [s]",
    "lost when a worker is killed with -9",
)


def rows(findings: Findings) -> list[tuple[str, ...]]:
    """Return the head and a row for each system and body: medians, the range of the rounds behind them."""
    rate = f"{findings.calm_rate_per_s:,.0f}/s"
    found = [tuple(name.format(rate=rate) for name in HEAD)]
    for seen in findings.seen.values():
        if not seen.closed:
            continue
        killed = seen.killed
        found.append(
            (
                seen.system.title,
                seen.body,
                _spread(seen.closed),
                _spread([100 * share for share in seen.closed_share]),
                _spread(seen.cpu_us),
                _spread(seen.knee),
                _spread([100 * share for share in seen.knee_share]),
                " / ".join(_spread(calm_ms(seen, percent), ",.1f") for percent in PERCENTS)
                if seen.calm
                else "-",
                _spread([size / 1e6 for size in seen.memory_bytes]),
                _spread(seen.start_s, ".2f"),
                f"{killed['n'] - killed['ok']} of {killed['n']}" if killed else "-",
            )
        )
    return found


def markdown(findings: Findings) -> str:
    """Return the table as Markdown, with what is missing under it."""
    head, *body = rows(findings)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *body)]
    ceiling = _spread(findings.ceilings)
    lines += [
        "",
        f"{findings.workload.title}; ceiling (bare runtime, {WORKERS} processes, batch {findings.batch}): "
        f"{ceiling}/s, {_spread(findings.ceiling_cpu_us)} us of CPU an item, "
        f"over {len(findings.ceilings)} readings; {findings.effort.rounds} interleaved rounds; "
        f"at most {findings.max_batch} items in a batch of any system; "
        "medians, lowest and highest round in brackets; "
        f"closed loop by {findings.generator}, Poisson by peers.generator.",
        *(f"No number of {name}: {why.splitlines()[0]}" for name, why in findings.absent.items()),
    ]
    return "\n".join(lines)


def metrics(findings: Findings) -> list[Metric]:
    """Return every number of every round, under the name of its system and body."""
    found = [metric("ceiling", "1/s", findings.ceilings)]
    if findings.calm_rate_per_s:
        found.append(metric("calm_rate", "1/s", findings.calm_rate_per_s))
    for seen in findings.seen.values():
        values: dict[tuple[str, str], Sequence[float]] = {
            ("closed", "1/s"): seen.closed,
            ("closed_share", "share"): seen.closed_share,
            ("cpu_per_request", "s"): [1e-6 * each for each in seen.cpu_us],
            ("knee", "1/s"): seen.knee,
            ("knee_share", "share"): seen.knee_share,
            ("memory", "B"): seen.memory_bytes,
            ("start", "s"): seen.start_s,
            **{(f"calm_p{p}", "s"): [1e-3 * ms for ms in calm_ms(seen, p)] for p in PERCENTS},
        }
        found += [
            metric(f"{name}_{seen.name}", unit, list(each)) for (name, unit), each in values.items() if each
        ]
        if seen.killed:
            found.append(metric(f"lost_{seen.name}", "requests", float(seen.killed["n"] - seen.killed["ok"])))
    return found


def claims(findings: Findings) -> list[dict[str, str]]:
    """Judge the targets of the serving path; three rounds span an interval, so PASS means in each of them."""
    judged = [*_rates(findings), *_calm(findings), *_counts(findings)]
    if not judged:
        raise ConfigError(
            "nothing of ours was measured, so nothing can be claimed", hint="add the system ours"
        )
    return judged


def _rates(findings: Findings) -> Iterable[dict[str, str]]:
    is_transformer = findings.workload is TOKENS
    for seen in _ours(findings):
        what = f"{seen.system.title}, {seen.body} bodies"
        shares, least = (
            (seen.knee_share, SHARE_OF_CEILING[seen.system.name])
            if is_transformer
            else (seen.closed_share, CNN_SHARE)
        )
        kind = "highest rate with p95 < 200 ms" if is_transformer else "closed loop"
        if shares and (is_transformer or seen.body == "raw"):
            estimate = estimate_median(shares)
            yield claim(
                f"{what}: {kind} at {100 * least:.0f} % of the bare ceiling or more",
                judge(estimate, at_least=least) if len(shares) > 1 else None,
                f"{_percent(estimate)} of the ceiling of the same minute{_once(shares)}",
            )
        for other in findings.seen.values():
            mine, theirs = (seen.knee, other.knee) if is_transformer else (seen.closed, other.closed)
            is_rival = other.system.name not in (*OURS, "naive") and other.body == seen.body
            if not is_rival or seen.system.name != "ours" or not mine or not theirs:
                continue
            ratio = paired(mine, theirs)
            yield claim(
                f"{what}: {kind} above that of {other.system.title}",
                judge(ratio, at_least=1) if ratio and min(len(mine), len(theirs)) > 1 else None,
                f"{ratio} times{_once(mine, theirs)}" if ratio else "a knee of zero",
            )


def _calm(findings: Findings) -> Iterable[dict[str, str]]:
    ours = findings.of("ours", "json")
    rivals = [s for s in findings.seen.values() if s.system.name not in (*OURS, "naive") and s.calm]
    if ours is None or not ours.calm or not rivals:
        return
    for percent in PERCENTS:
        mine = calm_ms(ours, percent)
        best = min(rivals, key=lambda seen: statistics.median(calm_ms(seen, percent)))
        ratio = paired(mine, calm_ms(best, percent))
        yield claim(
            f"{ours.system.title}: p{percent} at half of mosec's knee no higher than the best peer's",
            judge(ratio, at_most=1) if ratio else None,
            f"{_spread(mine, ',.1f')} ms, {best.system.title} ({best.body}) "
            f"{_spread(calm_ms(best, percent), ',.1f')} ms, {ratio} times",
        )


def _counts(findings: Findings) -> Iterable[dict[str, str]]:
    for seen in _ours(findings):
        if seen.killed:
            lost = seen.killed["n"] - seen.killed["ok"]
            yield claim(
                f"{seen.system.title}: no request lost when a worker is killed with -9",
                lost == 0,
                f"{lost} of {seen.killed['n']} lost; outcomes {seen.killed['outcomes']}",
            )
        if seen.body == "json":
            slowest, largest = max(seen.start_s), max(seen.memory_bytes)
            yield claim(
                f"{seen.system.title}: ready in {MOST_START_S:g} s, at most {MOST_MEMORY_BYTES / 1e6:g} MB",
                slowest < MOST_START_S and largest < MOST_MEMORY_BYTES,
                f"{slowest:.2f} s and {largest / MIB:.0f} MiB at most over {len(seen.start_s)} starts",
            )
        yield claim(
            f"{seen.system.title}, {seen.body} bodies: every answer of the closed loops was a good one",
            seen.bad == 0,
            f"{seen.bad} bad; {seen.wrong} of {seen.checked} in open loops with another label than alone",
        )


def paired(mine: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """Return the ratio round by round; a system that was searched less often counts with what it has."""
    if not theirs or min(theirs) <= 0:
        return None
    padded = [*theirs, *[statistics.median(theirs)] * (len(mine) - len(theirs))]
    return estimate_median([a / b for a, b in zip(mine, padded, strict=False)])


def calm_ms(seen: Seen, percent: int) -> list[float]:
    """Return a percentile at half of the pacemaker's knee [ms], round by round; no answer is 2 s late."""
    values = (calm[f"p{percent}_s"] for calm in seen.calm)
    return [1e3 * (2.0 if value is None else value) for value in values]


def _ours(findings: Findings) -> list[Seen]:
    return [seen for seen in findings.seen.values() if seen.system.name in OURS and seen.closed]


def _once(*searched: Sequence[float]) -> str:
    """Say that a number of one round has no interval, and so no verdict."""
    return "; one round only, no interval" if min(map(len, searched)) < 2 else ""


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.median:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def _spread(values: Sequence[float], form: str = ",.0f") -> str:
    if not values:
        return "-"
    middle = f"{statistics.median(values):{form}}"
    return f"{middle} ({min(values):{form}}-{max(values):{form}})" if len(values) > 1 else middle
