"""Real runs of locust against a small server that freezes, refuses and drops on demand."""

import json
import math
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from scalelab.core.processes import start, stop_tree
from scalelab.loadtest import Target, run_burst, run_closed, run_open
from scalelab.loadtest.arrivals import schedule

pytestmark = pytest.mark.slow
SERVICE_S = 0.002


@contextmanager
def server(*options):
    script = Path(__file__).with_name("loadtest_server.py")
    child = start([sys.executable, "-u", str(script), *options], output=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        stop_tree(child.pid, grace_s=0)
        child.wait()
        child.stdout.close()


@pytest.fixture(scope="module")
def url():
    with server() as address:
        yield address


def fifo_latencies(arrivals_s, service_s, freezes):
    """One server, first come first served, that starts nothing during a freeze: the truth, by arithmetic."""
    free_s, latencies_s = 0.0, []
    for arrival_s in arrivals_s:
        begin_s = max(arrival_s, free_s)
        for start_s, end_s in freezes:
            if begin_s + service_s > start_s and begin_s < end_s:
                begin_s = end_s
        free_s = begin_s + service_s
        latencies_s.append(free_s - arrival_s)
    return np.array(latencies_s)


def test_the_open_loop_sees_the_freezes_that_the_closed_loop_hides():
    rate, duration_s, warmup_s = 100.0, 6.0, 0.5
    with server("--service-ms", str(1e3 * SERVICE_S), "--freeze-s", "0.8", "--every-s", "1.5") as address:
        target = Target(address, "/ok")
        opened = run_open(target, rate, duration_s, warmup_s, seed=5)
        with urllib.request.urlopen(address + "/freezes") as response:
            epoch_freezes = json.load(response)
        closed = run_closed(target, 1, 4.0, warmup_s)
    freezes = [[moment - opened.started_at_s for moment in freeze] for freeze in epoch_freezes]
    assert len(freezes) >= 2
    arrivals_s = schedule("poisson", rate, warmup_s + duration_s, seed=5)
    truth_s = fifo_latencies(arrivals_s, SERVICE_S, freezes)[arrivals_s >= warmup_s]
    assert opened.sent == len(truth_s)
    assert opened.p95_s == pytest.approx(np.quantile(truth_s, 0.95, method="higher"), rel=0.15)
    assert opened.p95_s > 0.4
    assert closed.p95_s < 0.1 * opened.p95_s


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
