"""What a load test found. Latencies are in seconds from the intended send; percentiles come with their n."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from scalelab.core.records import Metric, metric
from scalelab.core.stats import Estimate, Verdict
from scalelab.loadtest.latency import LatencyHistogram, add
from scalelab.loadtest.outcomes import UNSENT

SATURATED_SHARE = 0.8
"""a single-threaded generator with work for more of the time is a queue itself (M/M/1: times five)"""
LATE_S = 0.005
"""sends later than this are worth a look"""
LITTLE = (0.8, 1.25)
"""how far a steady run may be from Little's law"""


@dataclass(frozen=True)
class Block:
    """A piece of the measured window: what was meant to be sent in it."""

    part: int
    """which part of the load's profile it belongs to"""
    rate_per_s: float
    """offered"""
    seconds: float
    sent: int
    ok: int
    latency: LatencyHistogram

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        names = ("part", "rate_per_s", "seconds", "sent", "ok")
        return {**{name: getattr(self, name) for name in names}, "latency": self.latency.to_json()}


@dataclass(frozen=True)
class LoadResult:
    """One measured window, warm-up left out. ``sent = ok + rejected + sum(errors.values())``."""

    mode: str
    """``closed`` (users wait for each answer) or ``open`` (requests leave on schedule)"""
    offered_rate_per_s: float | None
    """open loop: the rate of the schedule"""
    users: int | None
    """closed loop: how many users"""
    warmup_s: float
    duration_s: float
    started_at_s: float
    """zero of the schedule [seconds since the epoch]"""
    sent: int
    ok: int
    rejected: int
    """refused with 429: the service said "not now" and is no error"""
    errors: Mapping[str, int]
    """the rest by kind: ``timeout``, ``connection refused``, ``HTTP 500`` ..."""
    unanswered: int
    """timeouts and broken connections among the errors: infinite latency"""
    throughput_per_s: float
    """good answers that came inside the window, per second of it"""
    latency: LatencyHistogram
    """of good answers and unanswered requests; a fast refusal is no fast answer and is left out"""
    lag: LatencyHistogram
    """open loop: how late the generator sent, against its own schedule"""
    generator_cpu_share: float
    """share of one core that the generator's process used"""
    peak_in_flight: int
    mean_in_flight: float
    """time average over the window, from the intended send to the end, for Little's law"""
    generator_busy_share: float = 0.0
    """share of the time in which the generator had work: 1 is saturated, on a busy machine too"""
    processes: int = 1
    """generators that shared the schedule"""
    blocks: tuple[Block, ...] = ()
    """the window in pieces, for intervals and for the parts of a shaped load"""

    @property
    def p50_s(self) -> float | None:
        """Median latency; None under 2 requests, inf if most were never answered."""
        return self.latency.percentile_or_none(50)

    @property
    def p95_s(self) -> float | None:
        """95th percentile; None under 20 requests."""
        return self.latency.percentile_or_none(95)

    @property
    def p99_s(self) -> float | None:
        """99th percentile; None under 100 requests."""
        return self.latency.percentile_or_none(99)

    @property
    def error_share(self) -> float:
        """Share of the sent requests that got no good answer, refusals included."""
        return 1 - self.ok / self.sent if self.sent else 0.0

    @property
    def lag_p95_s(self) -> float | None:
        """How late 95 % of the sends were at most; None in a closed loop or under 20 sends."""
        return self.lag.percentile_or_none(95)

    @property
    def generator_is_saturated(self) -> bool:
        """The generator had work all the time, or gave up on sends: more processes would help."""
        worked = max(self.generator_cpu_share, self.generator_busy_share)
        return worked > SATURATED_SHARE or UNSENT in self.errors

    @property
    def generator_is_bottleneck(self) -> bool:
        """The numbers say more about the load generator than about the service.

        True if it was saturated, or if late sending makes up half of the measured p95.
        """
        lag_s, p95_s = self.lag_p95_s, self.p95_s
        is_late = lag_s is not None and p95_s is not None and lag_s > LATE_S and lag_s > 0.5 * p95_s
        return self.generator_is_saturated or is_late

    @property
    def parts(self) -> tuple[Block, ...]:
        """The parts of a shaped load, each added up from its blocks."""
        return tuple(_join(list(blocks)) for _, blocks in groupby(self.blocks, lambda block: block.part))

    def goodput_per_s(self, within_s: float) -> float:
        """Return the good answers within `within_s`, from the intended send, per second of the window."""
        return self.latency.count_within(within_s) / self.duration_s

    def percentile_interval(self, percent: float) -> Estimate | None:
        """Return the percentile with its 95 % block-bootstrap interval; None under too few requests."""
        from scalelab.loadtest.intervals import percentile_interval

        return percentile_interval(self, percent)

    def verdict(self, within_s: float, *, percent: float = 95, max_error_share: float = 0.01) -> Verdict:
        """Judge the objective "the percentile stays under `within_s`, errors under `max_error_share`".

        PASS or FAIL if the whole interval of the percentile says so; INCONCLUSIVE if the interval holds the
        objective, if there are too few requests, or if it fails while the generator was the bottleneck.
        """
        found = self.percentile_interval(percent)
        if self.error_share > max_error_share or (found is not None and found.low >= within_s):
            return Verdict.INCONCLUSIVE if self.generator_is_bottleneck else Verdict.FAIL
        return Verdict.PASS if found is not None and found.high < within_s else Verdict.INCONCLUSIVE

    @property
    def littles_law_ratio(self) -> float:
        """Mean number in flight over ``throughput x mean latency``; near 1 in a steady state.

        Far from 1: the queue grew or drained during the window, or requests were lost.
        """
        expected = self.throughput_per_s * self.latency.mean_s
        return self.mean_in_flight / expected if expected else math.nan

    @property
    def is_steady(self) -> bool:
        """One rate, enough requests, and Little's law holds: the percentiles are those of a steady state."""
        low, high = LITTLE
        return len(self.parts) <= 1 and self.sent >= 100 and low <= self.littles_law_ratio <= high

    def warnings(self) -> list[str]:
        """Return what a reader must know before believing the numbers."""
        found = []
        if self.generator_is_bottleneck:
            worked = f"{100 * max(self.generator_busy_share, self.generator_cpu_share):.0f} %"
            late = "" if self.lag_p95_s is None else f", sends up to {1e3 * self.lag_p95_s:.1f} ms late (p95)"
            way_out = (
                f"use more processes (it had {self.processes}) or a lower rate"
                if self.generator_is_saturated
                else "the machine is busy with something else"
            )
            found.append(
                "the load generator is the bottleneck, not the service: it had work "
                f"{worked} of the time{late}; {way_out}"
            )
        if self.sent >= 100 and self.ok and len(self.parts) <= 1 and not self.is_steady:
            found.append(
                f"no steady state: {self.mean_in_flight:,.1f} requests were in the system on average, "
                f"{self.littles_law_ratio:.2f} times rate x latency (Little's law: 1); a queue grew or "
                "drained, or requests were refused or lost; longer runs will give other percentiles"
            )
        return found

    def metrics(self) -> tuple[Metric, ...]:
        """Return the finite numbers as metrics for a `RunRecord`; what has too few requests is left out."""
        found = [
            metric("throughput", "1/s", self.throughput_per_s),
            metric("sent", "requests", self.sent),
            metric("ok", "requests", self.ok),
            metric("rejected", "requests", self.rejected),
            metric("errors", "requests", sum(self.errors.values())),
            metric("unanswered", "requests", self.unanswered),
        ]
        for name, value in (("p50", self.p50_s), ("p95", self.p95_s), ("p99", self.p99_s)):
            if value is not None and math.isfinite(value):
                found.append(metric(f"latency_{name}", "s", value))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values (no histogram)."""
        return {
            "mode": self.mode,
            "offered_rate_per_s": self.offered_rate_per_s,
            "users": self.users,
            "duration_s": self.duration_s,
            "sent": self.sent,
            "ok": self.ok,
            "rejected": self.rejected,
            "errors": dict(self.errors),
            "unanswered": self.unanswered,
            "throughput_per_s": self.throughput_per_s,
            "latency": self.latency.to_json(),
            "send_lag": self.lag.to_json(),
            "littles_law_ratio": None if math.isnan(ratio := self.littles_law_ratio) else ratio,
            "processes": self.processes,
            "parts": [part.to_json() for part in self.parts],
            "generator_cpu_share": self.generator_cpu_share,
            "generator_busy_share": self.generator_busy_share,
            "generator_is_bottleneck": self.generator_is_bottleneck,
            "warnings": self.warnings(),
        }


@dataclass(frozen=True)
class BurstResult:
    """What became of every request of a burst.

    ``offered = accepted + refused + failed`` and ``accepted = answered + answered_with_error + lost``.
    """

    offered_rate_per_s: float
    duration_s: float
    started_at_s: float
    offered: int
    accepted: int
    """answered 202 (a promise) or 200 (the result itself)"""
    refused: int
    """429 or 503: told to come back later"""
    failed: int
    """neither: timeouts, broken connections, other statuses"""
    failures: Mapping[str, int]
    """the failed by kind"""
    answered: int
    answered_with_error: int
    """accepted, and the service itself reported that it could not finish it"""
    lost: int
    """accepted, and not answered when the collection ended: a broken promise"""
    latency: LatencyHistogram
    """of the accepted, from the intended send until the answer was *seen here*; lost ones infinite"""
    accept_latency: LatencyHistogram
    """of the accepted, from the intended send to the acceptance"""
    generator_cpu_share: float

    @property
    def answered_share(self) -> float:
        """Answered per offered."""
        return self.answered / self.offered if self.offered else 0.0

    def metrics(self) -> tuple[Metric, ...]:
        """Return the finite numbers as metrics for a `RunRecord`."""
        names = ("offered", "accepted", "refused", "failed", "answered", "answered_with_error", "lost")
        found = [metric(name, "requests", getattr(self, name)) for name in names]
        for percent in (50, 95, 99):
            value = self.latency.percentile_or_none(percent)
            if value is not None and math.isfinite(value):
                found.append(metric(f"answer_p{percent}", "s", value))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values (no histograms)."""
        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("latency", "accept_latency", "failures")
        }
        return {
            **plain,
            "failures": dict(self.failures),
            "answer_latency": self.latency.to_json(),
            "accept_latency": self.accept_latency.to_json(),
        }


def _join(blocks: list[Block]) -> Block:
    seconds = math.fsum(block.seconds for block in blocks)
    return Block(
        blocks[0].part,
        math.fsum(block.rate_per_s * block.seconds for block in blocks) / seconds,
        seconds,
        sum(block.sent for block in blocks),
        sum(block.ok for block in blocks),
        add(block.latency for block in blocks),
    )
