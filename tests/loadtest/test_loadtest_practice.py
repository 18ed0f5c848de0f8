"""A server to practise on, a queue on paper, and a locustfile that is run for its log."""

from __future__ import annotations

import http.client
import threading
import time

import numpy as np
import pytest

from scalelab.core.errors import DataError, RunFailed
from scalelab.loadtest.paper import PaperServer, count_law, nearest_ranks, queue
from scalelab.loadtest.practice import PracticeServer
from scalelab.loadtest.script import read_log, run_locustfile

SCRIPT = """
import json
import gevent
from locust import User, task

class Writer(User):
    @task
    def write(self):
        plan = json.load(open("plan.json"))
        open("log.json", "w").write(plan["writes"])
        gevent.sleep(60)
"""


def get(server, statuses=None):
    """Send one request on a connection of its own; return its seconds."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    started = time.perf_counter()
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    connection.close()
    if statuses is not None:
        statuses.append(response.status)
    return time.perf_counter() - started


def at_the_same_time(server, n):
    statuses = []
    threads = [threading.Thread(target=get, args=(server, statuses)) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return statuses


def test_requests_that_come_together_are_answered_one_after_the_other():
    with PracticeServer(0.05) as server:
        at_the_same_time(server, 4)
    gaps = np.diff([server.answered_s[number] for number in sorted(server.answered_s)])
    assert len(gaps) == 3
    assert gaps.min() > 0.04


def test_nothing_is_answered_in_a_stall():
    with PracticeServer(0.001, stalls=[(0.05, 0.4)]) as server:
        while get(server) < 0.1:
            pass
    assert not [at for at in server.answered_s.values() if 0.06 < at < 0.39]


def test_a_server_that_holds_answers_when_the_last_one_came():
    with PracticeServer(hold=(0, 5, 20.0)) as server:
        started = time.perf_counter()
        assert at_the_same_time(server, 6) == [200] * 6
    assert time.perf_counter() - started < 15
    assert server.most_waiting == 6
    assert min(server.answered_s.values()) >= max(server.arrived_s)


def test_a_server_that_holds_gives_up_at_its_limit():
    with PracticeServer(hold=(0, 5, 0.2)) as server:
        assert get(server) > 0.19
    assert server.most_waiting == 1


def test_broken_requests_are_answered_500():
    with PracticeServer(broken=[1]) as server:
        statuses = []
        for _ in range(3):
            get(server, statuses)
    assert statuses == [200, 500, 200]


def test_a_queue_that_skips_has_only_who_found_the_server_free():
    log = queue(np.array([0.0, 0.5, 2.0]), PaperServer(1.0), skips=True)
    assert log[:, 0].tolist() == [0.0, 2.0]
    assert queue(np.array([0.0, 0.5, 2.0]), PaperServer(1.0))[:, 2].tolist() == [1.0, 2.0, 3.0]


def test_the_law_is_exact_from_empty_to_empty():
    log = np.array([[0.0, 0.0, 2.0], [1.0, 1.0, 1.5], [3.0, 3.0, 4.0]])
    inside, rate, mean_s = count_law(log, 0.0, 5.0)
    assert inside == pytest.approx(3.5 / 5)
    assert rate * mean_s == pytest.approx(inside)


def test_ranks_are_values_that_were_there():
    assert nearest_ranks(np.arange(1.0, 101), [50, 95, 99]).tolist() == [50, 95, 99]
    assert nearest_ranks(np.array([1.0, np.inf]), [50, 99]).tolist() == [1.0, np.inf]


def test_a_log_that_is_none_is_refused_with_what_it_holds():
    assert read_log([[1, 2, None]]).tolist() == [[1, 2, np.inf]]
    assert read_log([]).shape == (0, 3)
    for rows in ([[1, 2]], {"a": 1}, [["x", 1, 2]], 7):
        with pytest.raises(DataError, match=r"log\.json holds"):
            read_log(rows)


@pytest.mark.slow
def test_a_script_is_run_until_its_log_is_there():
    plan = {"writes": "[[0.5, 0.6, null]]"}
    log = run_locustfile(SCRIPT, "http://127.0.0.1:9", plan, timeout_s=5)
    assert log.tolist() == [[0.5, 0.6, np.inf]]


@pytest.mark.slow
def test_a_script_that_ends_without_a_log_is_told_with_its_last_words():
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        run_locustfile("1 / 0", "http://127.0.0.1:9", {}, timeout_s=5)
