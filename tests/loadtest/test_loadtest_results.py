"""Percentiles with their n, infinite latency, and what a result says of itself."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from scalelab.core.errors import ConfigError, DataError
from scalelab.loadtest import LatencyHistogram, LoadResult
from scalelab.loadtest.generator import add_buckets, merge
from scalelab.loadtest.latency import add
from scalelab.loadtest.outcomes import OK, REJECTED, TIMEOUT, UNSENT
from scalelab.loadtest.recorder import Recorder, buckets


def histogram(values_s, unanswered=0):
    found = buckets(round(1e6 * value) for value in values_s)
    return LatencyHistogram(tuple((us / 1e6, n) for us, n in found), unanswered)


def result(*, ok=200, unanswered=0, p95_s=0.1, lag_s=0.0, cpu=0.2, rejected=0, in_flight=None):
    return LoadResult(
        mode="open", offered_rate_per_s=100.0, users=None, warmup_s=0.0, duration_s=2.0, started_at_s=0.0,
        sent=ok + unanswered + rejected, ok=ok, rejected=rejected,
        errors={"timeout": unanswered} if unanswered else {}, unanswered=unanswered, throughput_per_s=100.0,
        latency=LatencyHistogram(((p95_s, ok),), unanswered), lag=LatencyHistogram(((lag_s, ok),)),
        generator_cpu_share=cpu, peak_in_flight=5,
        mean_in_flight=100 * p95_s if in_flight is None else in_flight,
    )  # fmt: skip


@pytest.mark.parametrize("percent", [50, 90, 95, 99])
def test_percentiles_equal_those_of_the_values_to_three_digits(percent):
    values_s = np.random.default_rng(0).lognormal(-4, 1.5, 3000)
    exact_s = np.sort(values_s)[math.ceil(percent / 100 * 3000) - 1]
    assert histogram(values_s).percentile(percent) == pytest.approx(exact_s, rel=2e-3)


@pytest.mark.parametrize(("percent", "n"), [(95, 19), (99, 99)])
def test_a_percentile_of_too_few_requests_is_refused(percent, n):
    with pytest.raises(ConfigError, match=f"p{percent} of {n} requests"):
        histogram([0.01] * n).percentile(percent)


def test_unanswered_requests_are_slower_than_any_answer():
    assert histogram([0.01] * 94, unanswered=6).percentile(95) == math.inf
    assert histogram([0.01] * 94, unanswered=6).percentile(50) == pytest.approx(0.01, rel=1e-3)


def test_n_counts_the_unanswered():
    assert histogram([0.01] * 94, unanswered=6).n == 100


def test_a_result_without_numbers_is_still_json():
    text = json.dumps(result(ok=3, unanswered=97).to_json(), allow_nan=False)
    assert "never answered" in text


def test_metrics_leave_out_what_is_infinite_or_has_too_few_requests():
    names = {m.name for m in result(ok=60, unanswered=40).metrics()}
    assert "latency_p50" in names
    assert "latency_p95" not in names
    assert "latency_p99" not in {m.name for m in result(ok=50).metrics()}


def test_little_holds_for_steady_numbers():
    assert result(p95_s=0.1).littles_law_ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("lag_s", "p95_s", "cpu", "is_bottleneck"),
    [(0.0, 0.1, 0.2, False), (0.08, 0.1, 0.2, True), (0.08, 5.0, 0.2, False), (0.0, 0.1, 0.95, True)],
    ids=["quiet", "late", "late but the service is slower", "cpu"],
)
def test_a_generator_that_is_the_bottleneck_says_so(lag_s, p95_s, cpu, is_bottleneck):
    found = result(lag_s=lag_s, p95_s=p95_s, cpu=cpu)
    assert found.generator_is_bottleneck is is_bottleneck
    assert bool(found.warnings()) is is_bottleneck


class FakeClock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def outcomes(recorder):
    return sum((Counter(block["outcomes"]) for block in recorder.report()["blocks"]), Counter())


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def recorder(clock):
    return Recorder([1.0, 2.0, 3.0], clock=clock)


def send(recorder, clock, at_s, takes_s, outcome):
    clock.now_s = at_s
    recorder.begin(at_s)
    clock.now_s = at_s + takes_s
    recorder.end(at_s, outcome)


def test_what_was_meant_for_the_warm_up_is_not_counted(recorder, clock):
    for at_s in (0.2, 0.9, 1.5, 2.9, 3.1):
        send(recorder, clock, at_s, 0.01, OK)
    assert outcomes(recorder) == {OK: 2}


def test_every_request_is_in_exactly_one_count(recorder, clock):
    kinds = [OK, REJECTED, TIMEOUT, "HTTP 500", OK, "connection refused"]
    for number, kind in enumerate(kinds):
        send(recorder, clock, 1.1 + number / 5, 0.01, kind)
    assert outcomes(recorder) == Counter(kinds)


def test_a_fast_error_is_no_fast_answer(recorder, clock):
    send(recorder, clock, 1.5, 0.001, "HTTP 500")
    send(recorder, clock, 1.6, 0.001, REJECTED)
    assert [block["latency_us"] for block in recorder.report()["blocks"]] == [[], []]


def test_a_request_belongs_to_the_block_that_it_was_meant_for(recorder, clock):
    send(recorder, clock, 1.9, 0.5, OK)  # answered in the second block
    assert [sum(block["outcomes"].values()) for block in recorder.report()["blocks"]] == [1, 0]


def test_latency_counts_from_the_intended_send(recorder, clock):
    clock.now_s = 1.8  # the generator was 0.3 s late
    recorder.begin(1.5, lag_s=0.3)
    clock.now_s = 2.0
    assert recorder.end(1.5, OK) == pytest.approx(0.5)
    assert recorder.report()["blocks"][0]["latency_us"][0][0] == pytest.approx(500_000, rel=2e-3)
    assert recorder.report()["lag_us"][0][0] == pytest.approx(300_000, rel=2e-3)


def test_the_mean_in_flight_is_request_seconds_per_second(recorder, clock):
    send(recorder, clock, 1.2, 0.5, OK)
    send(recorder, clock, 2.0, 0.3, OK)
    assert recorder.report()["mean_in_flight"] == pytest.approx(0.8 / 2.0)


def test_parts_of_a_schedule_add_up_to_exactly_the_histogram_of_all():
    values_us = np.random.default_rng(1).lognormal(9, 1.2, 5000).astype(int).tolist()
    parts = [buckets(values_us[part::3]) for part in range(3)]
    assert add_buckets(parts) == buckets(values_us)


def test_histograms_add_with_their_unanswered():
    both = add([histogram([0.1, 0.2], unanswered=1), histogram([0.1], unanswered=2)])
    assert (both.n, both.unanswered) == (6, 3)
    assert both.buckets == histogram([0.1, 0.1, 0.2]).buckets


def test_merged_reports_conserve_every_count(clock):
    reports = []
    for _ in range(3):
        one = Recorder([1.0, 2.0, 3.0], clock=clock)
        clock.now_s = 0.0
        one.restart()
        for number, kind in enumerate([OK, OK, REJECTED, TIMEOUT]):
            send(one, clock, 1.1 + number / 4, 0.1, kind)
        reports.append(one.report())
    whole = merge(reports)
    assert sum(sum(block["outcomes"].values()) for block in whole["blocks"]) == 12
    assert whole["answered_in_window"] == 6
    assert whole["mean_in_flight"] == pytest.approx(3 * reports[0]["mean_in_flight"])


def test_a_queue_that_grew_is_no_steady_state():
    assert result().warnings() == []
    assert "no steady state: 40.0 requests" in result(in_flight=40.0).warnings()[0]


def test_sends_that_were_given_up_make_the_generator_the_bottleneck():
    assert replace(result(), errors={UNSENT: 1}).generator_is_bottleneck


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"generator_busy_share": 0.97}, "use more processes (it had 1)"), ({}, "busy with something else")],
    ids=["saturated", "held up"],
)
def test_a_bottleneck_comes_with_the_way_out(changes, said):
    assert said in replace(result(lag_s=0.08), **changes).warnings()[0]


def test_a_percentile_file_reads_back_as_the_same_histogram(tmp_path):
    values_s = np.random.default_rng(0).lognormal(-4, 1.5, 3000)
    wanted = histogram(values_s, unanswered=30)
    wanted.write_hgrm(tmp_path / "run.hgrm")
    lines = (tmp_path / "run.hgrm").read_text().splitlines()
    rows = [line.split() for line in lines if line.strip()[:1].isdigit()]
    assert int(rows[-1][2]) == 3030
    assert float(rows[-1][0]) == pytest.approx(3.6e6, rel=1e-3)  # an hour, in ms: never
    for value, share, *_ in rows[1:-2]:
        assert float(value) == pytest.approx(1e3 * wanted.percentile(100 * float(share)), rel=0.02)


def test_a_percentile_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        histogram([0.1]).write_hgrm(tmp_path / "no" / "run.hgrm")
    with pytest.raises(DataError, match="no requests"):
        histogram([]).write_hgrm(tmp_path / "run.hgrm")
