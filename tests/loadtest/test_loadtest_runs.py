"""Real runs of locust against a small server that freezes, refuses and drops on demand."""

import math
import threading

import pytest

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.loadtest import Target, generator, parse_profile, run_burst, run_closed, run_open, run_profile
from scalelab.loadtest.driver import _widen
from scalelab.loadtest.outcomes import UNSENT

pytestmark = pytest.mark.slow


def test_all_requests_arrive_and_bodies_rotate(url):
    result = run_open(Target(url, "/ok", (b"a", b"bb")), 200, 1.0, 0.2, arrivals="constant")
    assert (result.sent, result.ok, result.rejected, dict(result.errors)) == (200, 200, 0, {})
    assert result.latency.n == 200
    assert result.lag.n == 200
    assert 0.7 < result.littles_law_ratio < 1.4


@pytest.mark.parametrize(
    ("path", "rejected", "errors"),
    [
        ("/status/429", 25, {}),
        ("/status/500", 0, {"HTTP 500": 25}),
        ("/status/202", 0, {"HTTP 202": 25}),
        ("/drop", 0, {"connection closed": 25}),
        ("/never", 0, {"timeout": 25}),
    ],
)
def test_each_kind_of_failure_has_its_own_count(url, path, rejected, errors):
    result = run_open(Target(url, path), 50, 0.5, 0.0, arrivals="constant", timeout_s=0.5)
    assert (result.sent, result.ok, result.rejected, dict(result.errors)) == (25, 0, rejected, errors)
    assert result.unanswered == (25 if path in ("/drop", "/never") else 0)


def test_half_of_the_requests_never_answered_makes_p95_infinite(url):
    result = run_closed(Target(url, "/never"), 4, 1.0, 0.0, timeout_s=0.1)
    assert result.ok == 0
    assert result.p95_s == math.inf


def test_slow_answers_are_as_slow_as_they_are(url):
    result = run_closed(Target(url, "/slow/50"), 4, 1.0, 0.2)
    assert result.p50_s >= 0.05
    assert result.throughput_per_s <= 4 / 0.05
    assert result.peak_in_flight <= 4


def test_waiting_for_a_connection_counts_as_latency(url):
    result = run_open(Target(url, "/slow/100"), 40, 1.0, 0.0, arrivals="constant", connections=2)
    assert result.p95_s > 0.5  # two at a time are 20/s: the last of 40 waits about a second


def test_a_burst_follows_every_promise_to_its_answer(url):
    result = run_burst(Target(url, "/tasks", (b"x",)), 100, 1.0, 2.0, 5.0, arrivals="constant")
    assert (result.offered, result.accepted, result.answered, result.lost) == (100, 100, 100, 0)
    assert result.latency.percentile(50) >= 0.3
    assert result.latency.percentile(50) >= result.accept_latency.percentile(50)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/ok", {"accepted": 30, "answered": 30}),
        ("/status/429", {"refused": 30}),
        ("/status/503", {"refused": 30}),
        ("/status/500", {"failed": 30}),
        ("/never", {"failed": 30}),
        ("/tasks/lost", {"accepted": 30, "lost": 30}),
    ],
)
def test_every_request_of_a_burst_has_one_fate(url, path, counts):
    burst = run_burst(Target(url, path, (b"x",)), 60, 0.5, 0.5, 0.5, arrivals="constant")
    names = ("accepted", "answered", "refused", "failed", "lost")
    assert {name: getattr(burst, name) for name in names if getattr(burst, name)} == counts
    assert burst.offered == burst.accepted + burst.refused + burst.failed == 30


def test_the_callback_comes_once_in_our_process_while_the_burst_runs(url):
    threads = []
    result = run_burst(
        Target(url, "/ok"), 20, 1.0, during=(0.3, lambda: threads.append(threading.current_thread()))
    )
    assert threads == [threading.main_thread()]
    assert result.answered == result.offered


def test_progress_ends_at_one(url):
    shares = []
    run_open(Target(url, "/slow/300"), 20, 1.0, 0.0, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_several_processes_share_one_schedule(url):
    result = run_open(Target(url, "/ok"), 200, 1.0, 0.2, arrivals="constant", processes=2)
    assert (result.sent, result.ok, result.processes) == (200, 200, 2)
    assert result.latency.n == result.lag.n == 200
    assert sum(block.sent for block in result.blocks) == 200
    assert all(abs(block.sent - 20) <= 1 for block in result.blocks)  # from one zero; edges round


def test_several_processes_share_the_users_of_a_closed_loop(url):
    result = run_closed(Target(url, "/slow/50"), 5, 1.0, 0.2, processes=2)
    assert result.peak_in_flight <= 5
    assert 0.5 * 5 / 0.05 < result.throughput_per_s <= 5 / 0.05


def test_a_shaped_load_has_its_parts_beside_their_sum(url):
    result = run_profile(Target(url, "/ok"), parse_profile("spike:20..200/1s+500ms+1s/even"), 0.2)
    assert [part.sent for part in result.parts] == [20, 100, 20]
    assert (result.sent, result.duration_s) == (140, 2.5)
    assert result.offered_rate_per_s == pytest.approx(56)


def test_more_than_anyone_can_send_is_counted_and_ends_in_time(url):
    result = run_open(Target(url, "/ok"), 200_000, 0.5, 0.0, arrivals="constant", timeout_s=0.5)
    assert result.sent == 100_000
    assert result.sent == result.ok + sum(result.errors.values())
    assert set(result.errors) <= {"timeout", UNSENT}
    assert result.p95_s == math.inf


def test_a_body_arrives_whole_and_chunks_of_an_answer_are_read(url):
    big = Target(url, "/ok", (b"x" * 3_000_000,))
    assert run_closed(big, 2, 0.5, 0.0).ok > 2


def test_a_generator_that_dies_ends_the_others_and_says_why(url, monkeypatch):
    broken = {"SCALELAB_LOAD_SPEC": "nowhere.json"}
    environment = generator.locust_environment
    monkeypatch.setattr(
        generator,
        "locust_environment",
        lambda folder, part: environment(folder, part) | (broken if part else {}),
    )
    with pytest.raises(RunFailed, match=r"nowhere\.json"):
        run_open(Target(url, "/ok"), 20, 60.0, processes=2)


@pytest.mark.parametrize("processes", [0, -1, 1000, 1.5])
def test_a_number_of_processes_that_cannot_be_is_named(url, processes):
    with pytest.raises(ConfigError, match="generator processes"):
        run_open(Target(url, "/ok"), 20, 1.0, processes=processes)


class Found:
    def __init__(self, count):
        self.processes, self.generator_is_saturated = count, count < 4


@pytest.mark.parametrize(("cores", "wanted"), [(1, [1]), (2, [1, 2]), (16, [1, 2, 4])])
def test_processes_double_until_none_is_saturated_or_the_cores_are_used(monkeypatch, cores, wanted):
    monkeypatch.setattr("scalelab.loadtest.driver.usable_cores", lambda: cores)
    tried = []
    _widen(lambda count: tried.append(count) or Found(count), None)
    assert tried == wanted
