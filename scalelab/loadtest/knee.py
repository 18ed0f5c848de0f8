"""The knee: the highest arrival rate at which the service still keeps its latency objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.records import Metric, metric
from scalelab.core.stats import Estimate, Verdict
from scalelab.loadtest.arrivals import check_positive
from scalelab.loadtest.driver import run_closed, run_open
from scalelab.loadtest.results import LoadResult
from scalelab.loadtest.target import Target

PILOT_USERS = 32
GROWTH = 1.5
LOWEST_RATE_PER_S = 0.5
"""below this the search gives up: not even one request in two seconds"""
MIN_REQUESTS = 100
"""a window is stretched until it holds this many: p95 of fewer jumps about"""
LONGEST_WINDOW_S = 20.0
_SETTLE_S = 5.0
_OVERHEAD_S = 2.0


@dataclass(frozen=True)
class KneePoint:
    """One rate that was tried. FAIL only after a retest; INCONCLUSIVE if the generator was the bottleneck."""

    rate_per_s: float
    verdict: Verdict
    phase: str
    """``search``, ``retest`` or ``confirm``"""
    result: LoadResult

    def to_json(self) -> dict[str, Any]:
        """Return the point as JSON values."""
        return {"rate_per_s": self.rate_per_s, "verdict": self.verdict.value, "phase": self.phase} | {
            "result": self.result.to_json()
        }


@dataclass(frozen=True)
class Knee:
    """The highest rate that passed, and every point on the way: a latency-throughput curve."""

    rate_per_s: float
    """0 if no rate passed"""
    slo_p95_s: float
    max_error_share: float
    points: tuple[KneePoint, ...]
    """in the order in which they were measured"""
    is_confirmed: bool
    """a longer window at this rate, with other arrivals, passed too"""
    is_lower_bound: bool
    """nothing above it failed on the service's account: its true knee is at least this"""
    generator_limited: bool
    """the search stopped because the load generator was the bottleneck"""
    elapsed_s: float

    @cached_property
    def crossing(self) -> Estimate | None:
        """The rate at which p95 crosses the objective, with its 95 % interval; None under two rates.

        The interval says how much it owes to the luck of the windows: in each of 1,000 resamples the tenths
        of every window are drawn anew, and a curve that never falls is laid through the p95 of all rates
        tried. An end at the highest or lowest rate tried says "or beyond".
        """
        from scalelab.loadtest.intervals import crossing

        return crossing(
            [
                (point.rate_per_s, point.result.blocks)
                for point in self.points
                if point.verdict is not Verdict.INCONCLUSIVE
                and point.result.error_share <= self.max_error_share
            ],
            self.slo_p95_s,
        )

    @property
    def best(self) -> KneePoint | None:
        """The last point that passed at the knee's rate."""
        passed = [p for p in self.points if p.rate_per_s == self.rate_per_s and p.verdict is Verdict.PASS]
        return passed[-1] if passed else None

    @property
    def held_rate_per_s(self) -> float:
        """The rate, for those who can go on only with one.

        Raises:
            RunFailed: no rate passed.
        """
        if self.rate_per_s <= 0:
            lowest = min(point.rate_per_s for point in self.points)
            raise RunFailed(
                f"not even {lowest:.3g} requests a second had a p95 under {self.slo_p95_s:g} s",
                hint="is the machine busy, or a single answer slower than that? look at the service's log",
            )
        return self.rate_per_s

    def curve(self) -> list[KneePoint]:
        """Return the points by rate, for drawing."""
        return sorted(self.points, key=lambda point: point.rate_per_s)

    def metrics(self) -> tuple[Metric, ...]:
        """Return the knee as metrics for a `RunRecord`."""
        found = [metric("knee_rate", "1/s", self.rate_per_s)]
        if (crossed := self.crossing) is not None:
            found.append(metric("knee_interval", "1/s", (crossed.low, crossed.median, crossed.high)))
        if self.best is not None:
            found += [m for m in self.best.result.metrics() if m.name.startswith("latency_")]
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        names = ("rate_per_s", "slo_p95_s", "max_error_share", "is_confirmed", "is_lower_bound")
        return {
            **{name: getattr(self, name) for name in (*names, "generator_limited", "elapsed_s")},
            "crossing": None
            if (crossed := self.crossing) is None
            else {"median": crossed.median, "low": crossed.low, "high": crossed.high},
            "points": [point.to_json() for point in self.points],
        }


def find_knee(
    target: Target,
    slo_p95_s: float = 0.2,
    *,
    max_error_share: float = 0.01,
    budget_s: float = 60.0,
    window_s: float = 3.0,
    confirm_s: float = 6.0,
    warmup_s: float = 0.5,
    start_rate_per_s: float | None = None,
    precision: float = 0.05,
    timeout_s: float | None = None,
    processes: int | None = 1,
    seed: int = 0,
    on_point: Callable[[KneePoint], None] | None = None,
) -> Knee:
    """Find the highest arrival rate whose p95, from the intended send, stays under `slo_p95_s`.

    A short closed loop guesses the capacity; from there the rate grows or shrinks geometrically until one
    rate passed and one failed, then the gap is halved until it is within `precision`. A failing rate is
    tried again, with other arrivals, before it is believed; the winner must also pass a longer window.

    Args:
        budget_s: the search stops in time to confirm within this; a confirmation that fails adds some.
        timeout_s: give up on a request after this; default: five objectives, at least a second.
        processes: generators that share the schedule; None: as many as it takes (see `run_open`).
        on_point: called after each point (progress).

    Raises:
        ConfigError: an objective, budget or window that is not positive, or a budget too small for one rate.
        RunFailed: the target does not answer one single request well.
    """
    check_positive("a p95 objective", slo_p95_s, "seconds")
    check_positive("a window", window_s, "seconds")
    check_positive("a confirmation", confirm_s, "seconds")
    check_positive("a precision", precision, "share of the rate (0.05 is 5 per cent)")
    if not 0 <= max_error_share < 1:
        raise ConfigError(f"an error share of {max_error_share!r} cannot be", hint="0.01 is one per cent")
    least_s = window_s + confirm_s + 2 * (warmup_s + _OVERHEAD_S)
    if not budget_s >= least_s:
        raise ConfigError(
            f"a budget of {budget_s!r} s cannot hold one window and its confirmation",
            hint=f"give at least {least_s:g} s, or shorter windows",
        )
    timeout_s = timeout_s or max(1.0, 5 * slo_p95_s)
    target.check_answer(timeout_s)
    started = time.monotonic()
    if start_rate_per_s is None:
        pilot = run_closed(target, PILOT_USERS, min(1.5, window_s), warmup_s, timeout_s=timeout_s)
        start_rate_per_s = max(LOWEST_RATE_PER_S, 0.6 * pilot.throughput_per_s)
    check_positive("a start rate", start_rate_per_s, "requests per second")

    def measure(rate_per_s: float, length_s: float, draw: int) -> LoadResult:
        nonlocal processes
        stretched_s = min(max(length_s, MIN_REQUESTS / rate_per_s), LONGEST_WINDOW_S)
        result = run_open(
            target, rate_per_s, stretched_s, warmup_s,
            timeout_s=timeout_s, processes=processes, seed=seed + draw,
        )  # fmt: skip
        if processes is None and result.processes > 1:
            processes = result.processes  # what one rate needed, the next ones begin with
        return result

    search = Search(
        measure,
        slo_p95_s=slo_p95_s,
        max_error_share=max_error_share,
        deadline_s=started + budget_s,
        window_s=window_s,
        confirm_s=confirm_s,
        settle=lambda: _settle(target, slo_p95_s),
        on_point=on_point,
    )
    return search.run(start_rate_per_s, precision, started)


@dataclass
class Search:
    """The search itself: pure but for its `measure` and `clock`, so that it can be tried on a formula."""

    measure: Callable[[float, float, int], LoadResult]
    """``(rate [1/s], window [s], seed) -> result``"""
    slo_p95_s: float
    max_error_share: float
    deadline_s: float
    window_s: float
    confirm_s: float
    settle: Callable[[], None] = lambda: None
    on_point: Callable[[KneePoint], None] | None = None
    clock: Callable[[], float] = time.monotonic
    points: list[KneePoint] = field(default_factory=list)
    generator_limited: bool = False

    def run(self, start_rate_per_s: float, precision: float, started: float) -> Knee:
        """Bracket, halve, confirm."""
        low, high = self._bracket(start_rate_per_s, GROWTH)
        low, high = self._halve(low, high, precision)
        if (
            0 < low < high < math.inf
            and self._has_time()
            and self._try(high, self.window_s, "retest") is Verdict.PASS
        ):
            # the lowest failure was a bad moment of the machine: go on from there, in smaller steps
            low, high = self._bracket(high * GROWTH**0.5, GROWTH**0.5, low=high)
            low, high = self._halve(low, high, precision)
        low, is_confirmed = self._confirm(low)
        failed = [p.rate_per_s for p in self.points if p.verdict is Verdict.FAIL]
        return Knee(
            rate_per_s=low,
            slo_p95_s=self.slo_p95_s,
            max_error_share=self.max_error_share,
            points=tuple(self.points),
            is_confirmed=is_confirmed,
            is_lower_bound=not any(rate > low for rate in failed),
            generator_limited=self.generator_limited,
            elapsed_s=self.clock() - started,
        )

    def judge(self, result: LoadResult) -> Verdict:
        """Judge one window by the objective; a busy generator makes a failure INCONCLUSIVE."""
        p95_s = result.p95_s
        if p95_s is not None and p95_s < self.slo_p95_s and result.error_share <= self.max_error_share:
            return Verdict.PASS
        return Verdict.INCONCLUSIVE if p95_s is None or result.generator_is_bottleneck else Verdict.FAIL

    def _bracket(self, rate: float, growth: float, *, low: float = 0.0) -> tuple[float, float]:
        """Grow or shrink the rate until one passed and one failed; 0 or inf stand for "none did"."""
        high = math.inf
        # as long as no rate has passed, go on past the deadline: a knee of zero tells nobody anything
        while self._has_time() or low == 0:
            if self._passes(rate):
                low = rate
                if math.isfinite(high):
                    break
                rate *= growth
            else:
                high = rate
                if low > 0 or rate / growth < LOWEST_RATE_PER_S:
                    break
                rate /= growth if len(self.points) < 6 else 4  # far too high a start: come down in leaps
        return low, high

    def _halve(self, low: float, high: float, precision: float) -> tuple[float, float]:
        """Narrow a bracket geometrically."""
        while low > 0 and math.isfinite(high) and high / low > 1 + precision and self._has_time():
            middle = math.sqrt(low * high)
            if self._passes(middle):
                low = middle
            else:
                high = middle
        return low, high

    def _passes(self, rate: float) -> bool:
        if self._try(rate, self.window_s, "search") is Verdict.PASS:
            return True
        return self._try(rate, self.window_s, "retest") is Verdict.PASS

    def _confirm(self, rate: float) -> tuple[float, bool]:
        """Pass a longer window at `rate`, or at 90 % of it, and so on; two tries each."""
        while rate >= LOWEST_RATE_PER_S:
            for _ in range(2):
                if self._try(rate, self.confirm_s, "confirm") is Verdict.PASS:
                    return rate, True
            rate *= 0.9
            if self.clock() > self.deadline_s + 2 * self.confirm_s:
                break
        passed = [p.rate_per_s for p in self.points if p.verdict is Verdict.PASS]
        return max((r for r in passed if r <= rate), default=min(passed, default=0.0)), False

    def _try(self, rate: float, length_s: float, phase: str) -> Verdict:
        result = self.measure(rate, length_s, len(self.points))
        verdict = self.judge(result)
        self.generator_limited |= verdict is Verdict.INCONCLUSIVE and result.generator_is_bottleneck
        point = KneePoint(rate, verdict, phase, result)
        self.points.append(point)
        if self.on_point is not None:
            self.on_point(point)
        if verdict is not Verdict.PASS:
            self.settle()
        return verdict

    def _has_time(self) -> bool:
        """There is time for one more rate, its retest and the confirmation."""
        needed_s = 2 * (self.window_s + _OVERHEAD_S) + self.confirm_s + _OVERHEAD_S
        return self.clock() + needed_s <= self.deadline_s


def _settle(target: Target, slo_p95_s: float) -> None:
    """Let an overloaded service work off its queue, or the next rate would pay for this one."""
    until_s = time.monotonic() + _SETTLE_S
    while time.monotonic() < until_s:
        try:
            seconds, _ = target.probe(max(0.1, until_s - time.monotonic()))
        except RunFailed:
            continue
        if seconds < slo_p95_s:
            return
