"""What a load test found. Latencies are in seconds from the intended send; percentiles come with their n."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.records import Metric, metric
from scalelab.core.stats import smallest_n

SATURATED_CPU_SHARE = 0.9
"""a single-threaded generator above this share of a core is itself the queue"""
LATE_S = 0.005
"""sends later than this are worth a look"""


@dataclass(frozen=True)
class LatencyHistogram:
    """Latencies in buckets exact to three digits; requests that were never answered count as infinite."""

    buckets: tuple[tuple[float, int], ...]
    """``(highest latency of the bucket [s], count)``, ascending"""
    unanswered: int = 0

    @property
    def n(self) -> int:
        """Number of requests, unanswered ones included."""
        return sum(count for _, count in self.buckets) + self.unanswered

    @property
    def mean_s(self) -> float:
        """Mean over the *answered* requests [s]; nan if there are none."""
        answered = self.n - self.unanswered
        return sum(value * count for value, count in self.buckets) / answered if answered else math.nan

    def percentile(self, percent: float) -> float:
        """Return the latency that `percent` per cent of the requests do not exceed [s]; may be ``inf``.

        Raises:
            ConfigError: too few requests (p95 needs 20, p99 needs 100).
        """
        if self.n < smallest_n(percent):
            raise ConfigError(
                f"p{percent:g} of {self.n} requests would be the luck of one of them",
                hint=f"run longer or faster, for at least {smallest_n(percent)} requests",
            )
        rank = math.ceil(percent / 100 * self.n)
        seen = 0
        for value, count in self.buckets:
            seen += count
            if seen >= rank:
                return value
        return math.inf

    def percentile_or_none(self, percent: float) -> float | None:
        """Return the percentile, or None where there are too few requests for it."""
        return self.percentile(percent) if self.n >= smallest_n(percent) else None

    def to_json(self) -> dict[str, Any]:
        """Return n and the percentiles as JSON values: null with a reason where there is no number."""
        return {"n": self.n, **{f"p{p}_s": self._shown(p) for p in (50, 95, 99)}}

    def _shown(self, percent: float) -> float | dict[str, Any]:
        value = self.percentile_or_none(percent)
        if value is None:
            return {"value": None, "why": f"needs {smallest_n(percent)} requests, has {self.n}"}
        if math.isinf(value):
            return {"value": None, "why": f"infinite: {self.unanswered} of {self.n} were never answered"}
        return value


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
    def generator_is_bottleneck(self) -> bool:
        """The numbers say more about the load generator than about the service.

        True if its process filled its core, or if late sending makes up half of the measured p95.
        """
        if self.generator_cpu_share > SATURATED_CPU_SHARE:
            return True
        lag_s, p95_s = self.lag_p95_s, self.p95_s
        return lag_s is not None and p95_s is not None and lag_s > LATE_S and lag_s > 0.5 * p95_s

    @property
    def littles_law_ratio(self) -> float:
        """Mean number in flight over ``throughput x mean latency``; near 1 in a steady state.

        Far from 1: the queue grew or drained during the window, or requests were lost.
        """
        expected = self.throughput_per_s * self.latency.mean_s
        return self.mean_in_flight / expected if expected else math.nan

    def warnings(self) -> list[str]:
        """Return what a reader must know before believing the numbers."""
        found = []
        if self.generator_is_bottleneck:
            lag = (
                f", sends up to {1e3 * self.lag_p95_s:.1f} ms late (p95)"
                if self.lag_p95_s is not None
                else ""
            )
            found.append(
                f"the load generator is the bottleneck, not the service: it used "
                f"{100 * self.generator_cpu_share:.0f} % of a core{lag}"
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
            "generator_cpu_share": self.generator_cpu_share,
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
