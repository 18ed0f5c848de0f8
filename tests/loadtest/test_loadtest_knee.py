"""The search for the knee, tried on services that are formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.stats import Verdict
from scalelab.loadtest import LatencyHistogram, LoadResult, Target, find_knee
from scalelab.loadtest.knee import Search
from scalelab.loadtest.latency import add
from scalelab.loadtest.recorder import buckets
from scalelab.loadtest.results import Block

SLO_S = 0.2


def window(rate, *, p95_s, error_share=0.0, lag_s=0.0, cpu=0.1):
    bad = round(1000 * error_share)
    return LoadResult(
        mode="open", offered_rate_per_s=rate, users=None, warmup_s=0.0, duration_s=3.0, started_at_s=0.0,
        sent=1000, ok=1000 - bad, rejected=bad, errors={}, unanswered=0, throughput_per_s=rate,
        latency=LatencyHistogram(((p95_s, 1000 - bad),)), lag=LatencyHistogram(((lag_s, 1000),)),
        generator_cpu_share=cpu, peak_in_flight=1, mean_in_flight=1.0,
    )  # fmt: skip


class Service:
    """A queue with one server: p95 of M/M/1 is ln(20) / (capacity - rate)."""

    def __init__(self, capacity, spoiled=None):
        self.capacity, self.spoiled, self.now_s, self.calls = capacity, spoiled or {}, 0.0, []

    def clock(self):
        return self.now_s

    def measure(self, rate, length_s, draw):
        self.now_s += length_s + 1.5
        self.calls.append((rate, length_s, draw))
        room = self.capacity - rate
        p95_s = self.spoiled.get(draw, math.log(20) / room if room > 0 else 10.0)
        return window(rate, p95_s=p95_s)

    @property
    def knee(self):
        return self.capacity - math.log(20) / SLO_S


def find(service, start, budget_s=60.0, **options):
    measure = options.pop("measure", service.measure)
    search = Search(
        measure, slo_p95_s=SLO_S, max_error_share=0.01, deadline_s=budget_s, window_s=3.0, confirm_s=6.0,
        clock=service.clock, **options,
    )  # fmt: skip
    return search.run(start, 0.05, 0.0)


@pytest.mark.parametrize("start", [20, 60, 97, 150, 300])
def test_the_search_finds_the_knee_of_a_queue(start):
    service = Service(capacity=115)
    found = find(service, start, budget_s=120.0)
    assert 0.93 * service.knee <= found.rate_per_s <= service.knee
    assert found.is_confirmed
    assert not found.is_lower_bound


def test_the_knee_passed_in_a_longer_window():
    service = Service(capacity=115)
    found = find(service, 60)
    assert (found.rate_per_s, 6.0) in [call[:2] for call in service.calls]
    assert found.best.phase == "confirm"


def test_one_bad_moment_is_tried_again_before_it_is_believed():
    noisy = Service(capacity=115, spoiled={1: 9.0})  # the second window is hit by something else
    assert find(noisy, 60, 120.0).rate_per_s >= 0.93 * noisy.knee


def test_no_rate_is_measured_twice_with_the_same_arrivals():
    service = Service(capacity=115)
    find(service, 60)
    assert len({draw for _, _, draw in service.calls}) == len(service.calls)


def test_the_budget_holds_when_the_confirmation_passes():
    service = Service(capacity=115)
    assert find(service, 60, budget_s=45.0).elapsed_s <= 45.0


def test_a_service_that_never_keeps_the_objective_has_a_knee_of_zero():
    found = find(Service(capacity=0.1), 50, budget_s=300.0)
    assert found.rate_per_s == 0
    assert not found.is_confirmed
    assert found.best is None


def test_a_busy_generator_is_no_verdict_on_the_service():
    service = Service(capacity=1e9)

    def measure(rate, length_s, draw):
        service.now_s += length_s
        is_late = rate > 1000
        return window(rate, p95_s=0.5 if is_late else 0.01, lag_s=0.45 if is_late else 0.0)

    found = find(service, 800, budget_s=120.0, measure=measure)
    assert found.generator_limited
    assert found.is_lower_bound
    assert found.rate_per_s <= 1000
    assert Verdict.INCONCLUSIVE in {point.verdict for point in found.points}


def test_too_many_errors_fail_a_rate_even_when_the_rest_is_fast():
    service = Service(capacity=1e9)

    def measure(rate, length_s, draw):
        service.now_s += length_s
        return window(rate, p95_s=0.01, error_share=0.05 if rate > 100 else 0.005)

    assert 93 <= find(service, 60, budget_s=200.0, measure=measure).rate_per_s <= 100


def test_the_curve_is_sorted_by_rate():
    rates = [point.rate_per_s for point in find(Service(capacity=115), 60).curve()]
    assert len(rates) > 3
    assert rates == sorted(rates)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"slo_p95_s": 0}, "objective of 0"),
        ({"budget_s": 5}, "budget of 5"),
        ({"window_s": -1}, "window of -1"),
        ({"max_error_share": 2}, "error share of 2"),
        ({"precision": 0}, "precision of 0"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_named(options, named):
    with pytest.raises(ConfigError, match=named):
        find_knee(Target("http://127.0.0.1:9"), **options)


def test_a_rate_that_passed_is_reported_even_if_no_longer_window_confirms_it():
    service = Service(capacity=115)
    calls = []

    def measure(rate, length_s, draw):
        calls.append(rate)
        service.now_s += length_s + 1.5
        return window(rate, p95_s=0.05 if length_s < 6 and rate <= 100 else 10.0)

    found = find(service, 80, measure=measure, budget_s=30.0)
    assert found.rate_per_s > 0
    assert not found.is_confirmed


def test_the_held_rate_of_a_service_that_holds_none_is_an_error_with_the_lowest_rate_tried():
    service = Service(capacity=1)
    found = find(service, 64, measure=lambda rate, length_s, draw: window(rate, p95_s=10.0))
    with pytest.raises(RunFailed, match=r"not even .* requests a second"):
        _ = found.held_rate_per_s


def test_the_crossing_has_an_interval_around_the_true_knee():
    service = Service(capacity=115)

    def measure(rate, length_s, draw):
        service.now_s += length_s + 1.5
        mean_s = 1 / (service.capacity - rate) if rate < service.capacity - 0.5 else 2.0
        random = np.random.default_rng(draw)
        blocks = []
        for _ in range(10):  # latencies of M/M/1 are exponential
            found = buckets(np.maximum(1, 1e6 * random.exponential(mean_s, 200)).astype(int).tolist())
            latency = LatencyHistogram(tuple((us / 1e6, n) for us, n in found))
            blocks.append(Block(0, rate, length_s / 10, latency.n, latency.n, latency))
        latency = add(block.latency for block in blocks)
        whole = window(rate, p95_s=0.1)
        return replace(whole, sent=latency.n, ok=latency.n, latency=latency, blocks=tuple(blocks))

    found = find(service, 60, budget_s=120.0, measure=measure)
    assert found.crossing.low <= service.knee <= found.crossing.high
    assert found.crossing.high - found.crossing.low < 0.1 * service.knee
    names = {one.name: one.values for one in found.metrics()}
    assert names["knee_interval"] == (found.crossing.low, found.crossing.median, found.crossing.high)
    assert found.to_json()["crossing"]["low"] == found.crossing.low
