"""Timings that can be trusted on a noisy machine: warm-up, medians with intervals, paired ratios, verdicts.

Two workloads are compared by running them in turn (A B B A ...) and taking the ratio pair by pair: what
slows the machine for a moment slows both sides of a pair, and drops out of the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from scalelab.core.errors import ConfigError

Clock = Callable[[], float]


class Verdict(str, Enum):
    """What a measurement says about a claim."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Estimate:
    """A median with its 95 % bootstrap interval, in the unit of the values."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"

    @property
    def relative_width(self) -> float:
        """Width of the interval as a share of the median."""
        return (self.high - self.low) / abs(self.median) if self.median else float("inf")


@dataclass(frozen=True)
class PairedRatio:
    """How many times longer A takes than B: ``median(a_i / b_i)`` over interleaved pairs."""

    ratio: Estimate
    ratio_of_minimums: float
    a_s: tuple[float, ...]
    """seconds per call of A, one value a pair"""
    b_s: tuple[float, ...]
    """seconds per call of B, one value a pair"""

    @property
    def is_quiet(self) -> bool:
        """The paired median and the ratio of minimums agree within 5 %."""
        return abs(self.ratio.median / self.ratio_of_minimums - 1) <= 0.05


def smallest_n(percent: float) -> int:
    """Return how many values the percentile needs: 100 for p99, 20 for p95, two for p50."""
    if not 0 < percent < 100:
        raise ConfigError(f"a percentile of {percent} does not exist", hint="give a number between 0 and 100")
    return max(1, round(1 / (1 - percent / 100)))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` per cent of `values` do not exceed (higher of the two neighbours).

    Raises:
        ConfigError: too few values for this percentile (p99 needs 100, p95 needs 20).
    """
    if len(values) < smallest_n(percent):
        raise ConfigError(
            f"p{percent:g} of {len(values)} values would be the luck of one of them",
            hint=f"collect at least {smallest_n(percent)} values, or report a lower percentile",
        )
    return float(np.percentile(np.asarray(values, dtype=float), percent, method="higher"))


def estimate_median(values: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Return the median and its 95 % percentile-bootstrap interval (Efron 1979).

    Fewer than six values carry no such interval: then it spans all of them. At 6 to 15 noisy values it holds
    the true median in 91 to 94 of 100 (simulated); `scalelab.core.ratios` has an interval that holds 95.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise ConfigError("the median of no values does not exist", hint="measure at least once")
    if sample.size < 6:
        return Estimate(float(np.median(sample)), float(sample.min()), float(sample.max()), int(sample.size))
    draws = np.random.default_rng(seed).integers(0, sample.size, (resamples, sample.size))
    low, high = np.percentile(np.median(sample[draws], axis=1), [2.5, 97.5])
    return Estimate(float(np.median(sample)), float(low), float(high), int(sample.size))


def measure(
    call: Callable[[], object],
    *,
    warmup_s: float = 0.2,
    min_iterations: int = 30,
    min_duration_s: float = 0.5,
    max_duration_s: float = 60.0,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Time `call` until both minimums are reached; return seconds per call, warm-up left out.

    `max_duration_s` ends the run early; the caller sees it by the number of values.
    """
    _warm_up(call, warmup_s, clock)
    seconds: list[float] = []
    started = clock()
    while True:
        before = clock()
        call()
        after = clock()
        seconds.append(after - before)
        elapsed = after - started
        if (len(seconds) >= min_iterations and elapsed >= min_duration_s) or elapsed >= max_duration_s:
            return seconds


def compare_paired(
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    pairs: int = 15,
    min_block_s: float = 0.05,
    warmup_s: float = 0.2,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> PairedRatio:
    """Time A and B in interleaved pairs (A B, B A, A B, ...) and return how many times longer A takes.

    Each side of a pair repeats its call often enough to fill `min_block_s`, so that the clock's own
    resolution does not matter. Beside busy neighbours many short blocks say more than few long ones in the
    same time (``scripts/bench_repeatability.py`` shows both).
    """
    if pairs < 1:
        raise ConfigError(f"{pairs} pairs cannot be compared", hint="ask for at least 6 pairs")
    repeats_a, repeats_b = (_repeats(call, min_block_s, warmup_s, clock) for call in (a, b))
    a_s, b_s = [], []
    for pair in range(pairs):
        sides = [(a, repeats_a, a_s), (b, repeats_b, b_s)]
        for call, repeats, into in sides if pair % 2 == 0 else reversed(sides):
            before = clock()
            for _ in range(repeats):
                call()
            into.append((clock() - before) / repeats)
    return paired_ratio(a_s, b_s, seed=seed)


def paired_ratio(a_s: Sequence[float], b_s: Sequence[float], *, seed: int = 0) -> PairedRatio:
    """Return the paired ratio of two lists of seconds that were taken in turn."""
    if len(a_s) != len(b_s) or not a_s:
        raise ConfigError(f"{len(a_s)} and {len(b_s)} values are no pairs", hint="measure both sides in turn")
    ratios = np.asarray(a_s, dtype=float) / np.asarray(b_s, dtype=float)
    return PairedRatio(
        estimate_median(ratios.tolist(), seed=seed), float(min(a_s) / min(b_s)), tuple(a_s), tuple(b_s)
    )


def judge(estimate: Estimate, *, at_least: float | None = None, at_most: float | None = None) -> Verdict:
    """Judge a claim by the interval: PASS if all of it holds, FAIL if none of it does, else INCONCLUSIVE."""
    if (at_least is None) == (at_most is None):
        raise ConfigError("a claim needs exactly one bound", hint="give at_least or at_most")
    if at_least is not None:
        low, high, bound = estimate.low, estimate.high, at_least
    else:
        assert at_most is not None
        low, high, bound = -estimate.high, -estimate.low, -at_most
    return Verdict.PASS if low >= bound else Verdict.FAIL if high < bound else Verdict.INCONCLUSIVE


def _warm_up(call: Callable[[], object], warmup_s: float, clock: Clock) -> float:
    """Call at least once and until `warmup_s` has passed; return the seconds of the fastest call."""
    started = clock()
    fastest_s = float("inf")
    while True:
        before = clock()
        call()
        after = clock()
        fastest_s = min(fastest_s, after - before)
        if after - started >= warmup_s:
            return fastest_s


def _repeats(call: Callable[[], object], min_block_s: float, warmup_s: float, clock: Clock) -> int:
    return max(1, round(min_block_s / max(_warm_up(call, warmup_s, clock), 1e-9)))
