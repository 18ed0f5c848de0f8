from __future__ import annotations

import numpy as np
import pytest

from scalelab.core.errors import ConfigError
from scalelab.core.stats import (
    Estimate,
    PairedRatio,
    Verdict,
    compare_paired,
    estimate_median,
    judge,
    measure,
    paired_ratio,
    percentile,
    smallest_n,
)


class Clock:
    """Time that only passes when something is done."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def work(self, seconds, log=None, name=None):
        """Return a call that takes `seconds`, a number or a function of the time."""

        def call():
            self.now_s += seconds(self.now_s) if callable(seconds) else seconds
            if log is not None:
                log.append(name)

        return call


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(("percent", "n"), [(50, 2), (90, 10), (95, 20), (99, 100), (99.9, 1000)])
def test_a_percentile_needs_at_least_one_value_beyond_it(percent, n):
    assert smallest_n(percent) == n
    assert percentile(range(n), percent) is not None
    with pytest.raises(ConfigError, match=f"p{percent:g} of {n - 1} values") as caught:
        percentile(range(n - 1), percent)
    assert f"at least {n}" in caught.value.hint


def test_a_percentile_is_a_value_that_was_measured_and_that_its_share_does_not_exceed():
    values = np.random.default_rng(0).exponential(size=1000).tolist()
    p99 = percentile(values, 99)
    assert p99 in values
    assert np.mean(np.array(values) <= p99) >= 0.99


@pytest.mark.parametrize("percent", [0, 100, -1, 101])
def test_a_percentile_outside_of_the_hundred_is_refused(percent):
    with pytest.raises(ConfigError, match="does not exist"):
        percentile([1.0] * 1000, percent)


def test_the_interval_covers_the_true_median_about_19_times_of_20():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        estimate = estimate_median(rng.exponential(size=30), resamples=400)
        covered += estimate.low <= np.log(2) <= estimate.high
    assert 180 <= covered <= 199


def test_more_values_narrow_the_interval():
    rng = np.random.default_rng(1)
    few, many = (estimate_median(rng.normal(10, 1, n)) for n in (20, 2000))
    assert many.relative_width < few.relative_width / 3
    assert (few.n, many.n) == (20, 2000)


def test_fewer_than_six_values_span_all_of_them():
    assert estimate_median([3.0, 1.0, 2.0]) == Estimate(2.0, 1.0, 3.0, 3)


def test_the_median_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="no values"):
        estimate_median([])


def test_an_interval_around_zero_is_infinitely_wide():
    assert Estimate(0.0, -1.0, 1.0, 9).relative_width == float("inf")


def test_measure_leaves_the_warm_up_out_and_reaches_both_minimums(clock):
    slow_at_first = clock.work(lambda now_s: 1.0 if now_s < 2 else 0.01)
    seconds = measure(slow_at_first, warmup_s=2, min_iterations=30, min_duration_s=1, clock=clock)
    assert max(seconds) == pytest.approx(0.01)
    assert len(seconds) == pytest.approx(100, abs=1)
    assert len(measure(clock.work(1.0), min_iterations=30, min_duration_s=1, clock=clock)) == 30


def test_measure_ends_at_its_maximum_with_fewer_values(clock):
    assert len(measure(clock.work(25.0), min_iterations=30, max_duration_s=60, clock=clock)) == 3


def test_pairs_run_in_the_order_a_b_b_a(clock):
    log = []
    a, b = clock.work(1.0, log, "a"), clock.work(1.0, log, "b")
    compare_paired(a, b, pairs=4, min_block_s=1, warmup_s=0, clock=clock)
    warm_up, paired = log[:2], log[2:]
    assert warm_up == ["a", "b"]
    assert "".join(paired) == "abbaabba"


def test_a_short_call_is_repeated_until_its_block_is_full(clock):
    log = []
    a, b = clock.work(0.01, log, "a"), clock.work(0.02, log, "b")
    paired = compare_paired(a, b, pairs=6, min_block_s=0.1, warmup_s=0, clock=clock)
    assert log.count("a") == 1 + 6 * 10
    assert log.count("b") == 1 + 6 * 5
    assert paired.ratio.median == pytest.approx(0.5)
    assert paired.a_s == pytest.approx([0.01] * 6)


def test_a_against_a_on_a_noisy_machine_is_not_judged_different(clock):
    rng = np.random.default_rng(0)
    same = clock.work(lambda _: 0.01 * rng.lognormal(0, 0.2))
    paired = compare_paired(same, same, pairs=30, min_block_s=0.01, warmup_s=0, clock=clock)
    assert paired.ratio.low < 1 < paired.ratio.high
    assert judge(paired.ratio, at_least=1.05) is not Verdict.PASS
    assert judge(paired.ratio, at_most=0.95) is not Verdict.PASS


def test_a_machine_that_slows_down_half_way_does_not_change_the_paired_ratio(clock):
    def slowed(seconds):
        return clock.work(lambda now_s: seconds * (1 if now_s < 20 else 3))

    paired = compare_paired(slowed(1.25), slowed(1.0), pairs=20, min_block_s=1, warmup_s=0, clock=clock)
    assert paired.ratio.median == pytest.approx(1.25)
    assert max(paired.a_s) == pytest.approx(3 * min(paired.a_s))


def test_a_ratio_is_quiet_if_the_minimums_agree_with_it():
    assert paired_ratio([1.0, 1.02, 1.01], [0.5, 0.51, 0.505]).is_quiet
    assert not paired_ratio([2.0, 2.0, 1.0], [1.0, 1.0, 1.0]).is_quiet
    edge = Estimate(1.0, 1.0, 1.0, 1)
    assert PairedRatio(edge, 1.04, (1.0,), (1.0,)).is_quiet
    assert not PairedRatio(edge, 1.06, (1.0,), (1.0,)).is_quiet


@pytest.mark.parametrize(("a_s", "b_s"), [([], []), ([1.0], [1.0, 2.0])])
def test_lists_that_are_no_pairs_are_refused(a_s, b_s):
    with pytest.raises(ConfigError, match="are no pairs"):
        paired_ratio(a_s, b_s)


def test_a_comparison_of_no_pairs_is_refused(clock):
    with pytest.raises(ConfigError, match="0 pairs"):
        compare_paired(clock.work(1), clock.work(1), pairs=0, clock=clock)


@pytest.mark.parametrize(
    ("low", "high", "bound", "verdict"),
    [
        (2.1, 2.5, {"at_least": 2}, "PASS"),
        (1.8, 2.5, {"at_least": 2}, "INCONCLUSIVE"),
        (1.5, 1.9, {"at_least": 2}, "FAIL"),
        (2.1, 2.5, {"at_most": 2}, "FAIL"),
        (1.8, 2.5, {"at_most": 2}, "INCONCLUSIVE"),
        (1.5, 1.9, {"at_most": 2}, "PASS"),
        (2.0, 2.5, {"at_least": 2}, "PASS"),
        (1.5, 2.0, {"at_most": 2}, "PASS"),
        (1.5, 2.0, {"at_least": 2}, "INCONCLUSIVE"),
    ],
)
def test_a_claim_passes_only_if_the_whole_interval_does(low, high, bound, verdict):
    assert judge(Estimate((low + high) / 2, low, high, 20), **bound) == Verdict(verdict)


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "at_most": 2}])
def test_a_claim_of_no_bound_or_two_is_refused(bounds):
    with pytest.raises(ConfigError, match="exactly one bound"):
        judge(Estimate(1, 1, 1, 1), **bounds)


@pytest.mark.parametrize("bound", [{"at_least": 0.5}, {"at_most": 2.0}])
def test_a_median_of_nan_proves_nothing(bound):
    nan = float("nan")
    assert judge(Estimate(nan, nan, nan, 6), **bound) is not Verdict.PASS
