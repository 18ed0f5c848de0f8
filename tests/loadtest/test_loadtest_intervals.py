"""Block bootstraps: as wide as blocks differ, and where p95 crosses the objective."""

import math
from dataclasses import replace

import numpy as np
import pytest

from scalelab.core.stats import Verdict
from scalelab.loadtest import LatencyHistogram, LoadResult
from scalelab.loadtest.intervals import bootstrap, crossing, isotonic, percentile_interval
from scalelab.loadtest.latency import add
from scalelab.loadtest.results import Block


def block(values_s, *, part=0, unanswered=0):
    values, counts = np.unique(np.round(values_s, 6), return_counts=True)
    latency = LatencyHistogram(tuple(zip(values.tolist(), counts.tolist(), strict=True)), unanswered)
    return Block(part, 100.0, 1.0, latency.n, latency.n - unanswered, latency)


def result(blocks):
    latency = add(one.latency for one in blocks)
    values = {
        "mode": "open", "offered_rate_per_s": 100.0, "users": None, "warmup_s": 0.0, "duration_s": 10.0,
        "started_at_s": 0.0, "sent": latency.n, "ok": latency.n - latency.unanswered, "rejected": 0,
        "errors": {}, "unanswered": latency.unanswered, "throughput_per_s": latency.n / 10,
        "latency": latency, "lag": LatencyHistogram(((0.0, latency.n),)), "generator_cpu_share": 0.1,
        "peak_in_flight": 1, "mean_in_flight": latency.n / 10 * latency.mean_s, "blocks": tuple(blocks),
    }  # fmt: skip
    return LoadResult(**values)


def draw(seed, mean_s=0.1, n=100):
    return np.random.default_rng(seed).exponential(mean_s, n)


def test_the_interval_holds_the_percentile_itself():
    found = percentile_interval(result([block(draw(seed)) for seed in range(10)]), 95)
    assert found.low <= found.median <= found.high
    assert found.n == 1000


def test_the_interval_covers_the_true_percentile_about_as_often_as_it_says():
    truth_s = -0.1 * math.log(0.05)
    covered = 0
    for trial in range(40):
        found = percentile_interval(result([block(draw(100 * trial + k)) for k in range(10)]), 95)
        covered += found.low <= truth_s <= found.high
    assert covered >= 32  # 95 % of 40 are 38; ten blocks are few, and 32 is 80 %


def test_one_bad_block_in_ten_makes_the_interval_wide():
    calm = percentile_interval(result([block(draw(k, 0.01)) for k in range(10)]), 95)
    frozen = percentile_interval(
        result([block(draw(k, 0.01) + (0.5 if k == 4 else 0)) for k in range(10)]), 95
    )
    assert frozen.high - frozen.low > 10 * (calm.high - calm.low)


def test_too_few_requests_have_no_interval():
    assert percentile_interval(result([block([0.1] * 3)]), 95) is None


def test_requests_that_were_never_answered_are_infinite():
    never = bootstrap([block([0.1] * 90, unanswered=10)] * 5, 95)
    assert np.isinf(never).all()


def test_parts_of_a_shaped_load_are_drawn_within_themselves():
    calm = [block([0.01] * 100, part=0)] * 5
    spike = [block([1.0] * 100, part=1)] * 5
    assert set(bootstrap([*calm, *spike], 50)) == {0.01}  # never more than half of them from the spike


@pytest.mark.parametrize(
    ("limit_s", "changes", "wanted"),
    [
        (1.0, {}, Verdict.PASS),
        (0.05, {}, Verdict.FAIL),
        (0.30, {}, Verdict.INCONCLUSIVE),
        (0.05, {"generator_busy_share": 0.99}, Verdict.INCONCLUSIVE),
        (1.0, {"generator_busy_share": 0.99}, Verdict.PASS),
        (1.0, {"ok": 900}, Verdict.FAIL),
        (1.0, {"blocks": ()}, Verdict.INCONCLUSIVE),
    ],
    ids=["pass", "fail", "on the edge", "late generator", "kept although late", "errors", "no blocks"],
)
def test_an_objective_is_judged_by_the_whole_interval(limit_s, changes, wanted):
    found = replace(result([block(draw(seed)) for seed in range(10)]), **changes)
    assert found.verdict(limit_s) is wanted


def test_goodput_counts_what_came_within_the_limit():
    found = result([block([0.1] * 60 + [0.3] * 30, unanswered=10)] * 10)
    assert found.goodput_per_s(0.2) == pytest.approx(60.0)
    assert found.goodput_per_s(0.5) == pytest.approx(90.0)


def test_parts_add_up_to_the_whole():
    found = result([block(draw(k), part=k // 5) for k in range(10)])
    assert [part.part for part in found.parts] == [0, 1]
    assert sum(part.latency.n for part in found.parts) == found.latency.n
    assert [part.seconds for part in found.parts] == [5.0, 5.0]


def brute_isotonic(heights):
    """Pool adjacent violators, one at a time."""
    pools = []
    for height in heights:
        pools.append([height])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    return [np.mean(pool) for pool in pools for _ in pool]


def test_isotonic_equals_pooling_adjacent_violators():
    heights = np.random.default_rng(0).normal(size=(50, 7))
    np.testing.assert_allclose(isotonic(heights), [brute_isotonic(row) for row in heights])


def queue(rate, capacity=100.0, n=400):
    """Latencies of M/M/1 are exponential with mean 1 / (capacity - rate)."""
    return [block(draw(round(rate) * 1000 + k, 1 / (capacity - rate), n)) for k in range(10)]


def test_the_crossing_of_a_queue_is_its_knee():
    knee = 100 - math.log(20) / 0.2
    found = crossing([(rate, queue(rate)) for rate in (60, 75, 80, 83, 86, 89, 92)], 0.2)
    assert found.low <= knee <= found.high
    assert found.median == pytest.approx(knee, rel=0.03)
    assert found.n == 7


@pytest.mark.parametrize(("objective_s", "end"), [(10.0, 90.0), (1e-4, 60.0)])
def test_a_curve_that_does_not_cross_ends_at_the_last_rate_tried(objective_s, end):
    found = crossing([(rate, queue(rate)) for rate in (60.0, 75.0, 90.0)], objective_s)
    assert (found.low, found.high) == (pytest.approx(end), pytest.approx(end))


def test_one_rate_has_no_crossing():
    assert crossing([(60, queue(60))] * 2, 0.2) is None
