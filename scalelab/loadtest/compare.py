"""Two services under the same load, in turn: ratios pair by pair, so that a noisy machine hits both sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.records import Metric, metric
from scalelab.core.stats import Estimate, PairedRatio, Verdict, judge, paired_ratio
from scalelab.loadtest.driver import run_profile
from scalelab.loadtest.profile import Part, Profile
from scalelab.loadtest.results import LoadResult
from scalelab.loadtest.saved import Window, window_of
from scalelab.loadtest.target import Target

ENOUGH_PAIRS = 5
"""fewer pairs give no verdict: the range of n values holds the median in 1 - 2 ** (1 - n), 94 % for 5"""
ERROR_ROOM = 0.01
"""so much higher may the share of errors of B be"""


@dataclass(frozen=True)
class Comparison:
    """B against A: ratios above 1 are latencies that B made longer (or throughput that it made higher)."""

    ratios: dict[str, PairedRatio]
    """``p50``, ``p95``, ``p99``, ``throughput`` as far as every window had enough requests"""
    errors: tuple[float, float]
    """share of errors of A and of B, over all windows"""
    pairs: int
    is_interleaved: bool
    """measured in turn here; saved runs are paired in their order, and the machine's drift may be in it"""
    censored: int
    """percentiles that were never answered, taken as the limit on one request: the true ratio is farther"""
    generator_limited: bool = False

    def verdict(self, fail_over: float, *, by: str = "p95") -> Verdict:
        """Judge the claim "B's `by` is at most `fail_over` (0.1: ten per cent) above A's, and so its errors".

        PASS or FAIL if the whole 95 % interval of the median ratio says so, else INCONCLUSIVE; so too with
        fewer than five pairs, or when the generator was the bottleneck of a failure.
        """
        if self.errors[1] > self.errors[0] + ERROR_ROOM:
            return Verdict.INCONCLUSIVE if self.generator_limited else Verdict.FAIL
        if self.pairs < ENOUGH_PAIRS or by not in self.ratios:
            return Verdict.INCONCLUSIVE
        found = judge(self.ratios[by].ratio, at_most=1 + fail_over)
        return Verdict.INCONCLUSIVE if found is Verdict.FAIL and self.generator_limited else found

    def metrics(self) -> tuple[Metric, ...]:
        """Return both sides and the ratios, a value for each pair."""
        found = []
        for name, one in self.ratios.items():
            unit = "1/s" if name == "throughput" else "s"
            found += [metric(f"a_{name}", unit, one.a_s), metric(f"b_{name}", unit, one.b_s)]
            pairs = zip(one.b_s, one.a_s, strict=True)
            found.append(metric(f"ratio_{name}", "1", [b / a for b, a in pairs]))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "ratios": {name: _interval(one.ratio) for name, one in self.ratios.items()},
            "error_share": {"a": self.errors[0], "b": self.errors[1]},
            "pairs": self.pairs,
            "is_interleaved": self.is_interleaved,
            "censored": self.censored,
            "generator_limited": self.generator_limited,
        }


def compare_targets(
    a: Target,
    b: Target,
    rate_per_s: float,
    *,
    pairs: int = 6,
    window_s: float = 3.0,
    warmup_s: float = 0.5,
    timeout_s: float = 10.0,
    processes: int | None = 1,
    seed: int = 0,
    on_window: Callable[[int], None] | None = None,
) -> Comparison:
    """Load A and B in turn, A B B A ..., at the same rate; both sides of a pair get the same arrivals.

    Raises:
        ConfigError: no pairs, or a rate or window that cannot be run.
        RunFailed: a target does not answer, or the generator failed.
    """
    if not isinstance(pairs, int) or pairs < 1:
        raise ConfigError(f"{pairs!r} pairs cannot be compared", hint=f"take {ENOUGH_PAIRS} or more")
    profile = Profile((Part(rate_per_s, window_s),))
    sides: tuple[list[LoadResult], list[LoadResult]] = ([], [])
    for pair in range(pairs):
        order = ((a, sides[0]), (b, sides[1]))
        for target, into in order if pair % 2 == 0 else order[::-1]:
            into.append(
                run_profile(
                    target, profile, warmup_s, timeout_s=timeout_s, processes=processes, seed=seed + pair
                )
            )
            if on_window is not None:
                on_window(len(sides[0]) + len(sides[1]))
    limited = any(result.generator_is_bottleneck for side in sides for result in side)
    windows = [[window_of(result) for result in side] for side in sides]
    return compare_windows(*windows, longest_s=timeout_s, is_interleaved=True, generator_limited=limited)


def compare_windows(
    a: Sequence[Window],
    b: Sequence[Window],
    *,
    longest_s: float,
    is_interleaved: bool = False,
    generator_limited: bool = False,
) -> Comparison:
    """Compare windows that were measured before, the k-th of A with the k-th of B.

    Raises:
        ConfigError: different numbers of windows, none, or too few requests in them for any ratio.
    """
    if len(a) != len(b) or not a:
        raise ConfigError(
            f"{len(a)} and {len(b)} runs are no pairs", hint="measure both sides equally often, in turn"
        )
    ratios, censored = {}, 0
    for name in ("p50", "p95", "p99"):
        pairs = [(x.latency_s[name], y.latency_s[name]) for x, y in zip(a, b, strict=True)]
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        if len(known) < len(pairs):
            continue
        censored += sum(math.isinf(value) for pair in known for value in pair)
        left, right = ([min(pair[side], longest_s) for pair in known] for side in (0, 1))
        ratios[name] = _ratio(left, right)
    if all(window.throughput_per_s > 0 for window in (*a, *b)):
        ratios["throughput"] = _ratio([x.throughput_per_s for x in a], [y.throughput_per_s for y in b])
    if not ratios:
        raise ConfigError("no window has enough requests for a ratio", hint="a higher rate or longer windows")
    errors = tuple(sum(window.error_share for window in side) / len(side) for side in (a, b))
    return Comparison(ratios, (errors[0], errors[1]), len(a), is_interleaved, censored, generator_limited)


def _ratio(a: Sequence[float], b: Sequence[float]) -> PairedRatio:
    """Return B over A, with the sides where their names say."""
    found = paired_ratio(b, a)
    return PairedRatio(found.ratio, found.ratio_of_minimums, tuple(a), tuple(b))


def _interval(estimate: Estimate) -> dict[str, float | int]:
    return {"median": estimate.median, "low": estimate.low, "high": estimate.high, "n": estimate.n}
