"""Lab 13: what its checks see in the log of a run, and the effect it is about."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labs_trials import LabUnderTest

from scalelab.grading.expectations import ExpectationFailed
from scalelab.loadtest.paper import PaperServer, queue

pytest.importorskip("jupytext")
pytest.importorskip("torch")
LAB = LabUnderTest("13")


class Run:
    """Answers whose locustfile was run already: a right run, then changed."""

    def __init__(self, change):
        self.rng, self.change = np.random.default_rng(3), change

    def __getitem__(self, name):
        return lambda: "a_text = 1"

    def apart(self, function, *, text, plan, hold, silent, broken):
        times = plan["arrivals_s"]
        none = {*silent, *broken}
        log = [[at, at + 0.001, None if k in none else at + 0.4] for k, at in enumerate(times)]
        seen = {"log": log, "arrived": list(times), "most_waiting": 35, "trouble": "", "spans": [0.0, 0.399]}
        self.change(seen)
        return seen


def each_row(change):
    def changed(seen):
        seen["log"] = [change(*row) for row in seen["log"]]

    return changed


def set_to(**values):
    return lambda seen: seen.update(values)


CHANGES = {
    "": set_to(),
    "nothing-sent": set_to(log=None, arrived=[], most_waiting=0),
    "sends-too-many": lambda seen: seen["arrived"].append(2.0),
    "waits-for-answers": set_to(most_waiting=2),
    "ten-connections": set_to(most_waiting=10),
    "log-not-written": set_to(log=None, trouble="it was still running"),
    "not-all-sent": lambda seen: seen["arrived"].pop(),
    "all-at-once": lambda seen: seen.update(arrived=[0.1] * 60),
    "rows-missing": lambda seen: seen.update(log=[row for row in seen["log"] if row[2]]),
    "not-a-row-each": lambda seen: seen.update(log=seen["log"][:30]),
    "no-times-in-log": each_row(lambda due, sent, done: [due, None, done]),
    "clock-not-start": each_row(lambda due, sent, done: [due + 1.7e9, sent, done]),
    "due-when-sent": each_row(lambda due, sent, done: [sent, sent, done]),
    "other-schedule": each_row(lambda due, sent, done: [due + 0.002, sent, done]),
    "sent-too-early": each_row(lambda due, sent, done: [due, 0.0, done]),
    "nobody-fails": each_row(lambda due, sent, done: [due, sent, done or sent + 2]),
    "finished-too-early": each_row(lambda due, sent, done: [due, sent, done and sent]),
    "answers-lost": each_row(lambda due, sent, done: [due, sent, None]),
}


@pytest.mark.parametrize("code", CHANGES)
def test_the_log_of_a_run_tells_each_slip(code):
    judge = LAB.checks["locustfile"].judge
    if not code:
        judge(Run(CHANGES[code]))
        return
    with pytest.raises(ExpectationFailed) as failed:
        judge(Run(CHANGES[code]))
    assert failed.value.code == code
    assert len(failed.value.meaning) > 15


def test_every_meaning_belongs_to_a_wrong_answer():
    meanings = LAB.checks["loops"].judge.__globals__["MEANINGS"]
    tried = {code for _, code in LAB.wrong} | set(CHANGES)
    assert meanings
    assert set(meanings) - tried == set(), "a message that no trial answer shows"


def test_on_paper_one_stall_hides_from_the_closed_loop_alone(given):
    stall = [(1.5, 2.5)]
    closed = given.closed_loop(4, given.Server(0.002, stall).serve)
    opened = given.open_loop(given.poisson_arrivals(100, 4, 1), given.Server(0.002, stall).serve)
    p99 = [given.percentile(given.latencies(log, 10), 99) for log in (closed, opened)]
    assert p99[0] == pytest.approx(0.002)
    assert 0.8 < p99[1] <= 1.01


@pytest.mark.parametrize("seed", range(3))
def test_littles_law_holds_exactly_from_empty_to_empty(given, seed):
    log = given.open_loop(given.poisson_arrivals(90, 5, seed), given.Server(0.01, [(1, 1.5)]).serve)
    inside, rate, mean_s = given.littles_law(log, 0.0, log[:, 2].max() + 1e-9)
    assert inside == pytest.approx(rate * mean_s)


def test_latencies_of_a_poisson_queue_are_those_of_pollaczek_and_khinchine(given):
    rate, service_s = 70.0, 0.01  # M/D/1 at 70 % load: the mean wait is rho s / (2 (1 - rho))
    waits = [
        (log[:, 2] - log[:, 0]).mean() - service_s
        for log in (
            given.open_loop(given.poisson_arrivals(rate, 300, seed), given.Server(service_s).serve)
            for seed in range(4)
        )
    ]
    assert np.mean(waits) == pytest.approx(0.7 * service_s / (2 * 0.3), rel=0.1)


def test_the_papers_queue_is_the_solutions(given):
    arrivals_s = given.poisson_arrivals(50, 6, 2)
    stalls = [(2.0, 2.7), (4.0, 4.1)]
    mine = given.open_loop(arrivals_s, given.Server(0.02, stalls).serve)
    np.testing.assert_allclose(mine, queue(arrivals_s, PaperServer(0.02, stalls)))


def test_the_broken_load_test_is_caught_and_the_mended_one_is_not(given):
    assert not given.tells_the_truth(given.common_load_test)
    assert given.tells_the_truth(given.load_test)
    said = given.common_load_test(np.arange(0, 10, 0.01), given.Server(0.002, [(4, 6)]).serve, 1.0)
    true = given.load_test(np.arange(0, 10, 0.01), given.Server(0.002, [(4, 6)]).serve, 1.0)
    assert max(said) < 0.01
    assert math.isinf(true[1])


def result(rate, p95_s):
    return type("Result", (), {"offered_rate_per_s": rate, "p95_s": p95_s})()


def test_the_curve_takes_the_better_window_and_ends_at_the_timeout(names):
    LAB.run_cell("RATES = [", names)
    LAB.run_cell("def curve_of", names)
    found = names["curve_of"]([result(100, 0.05), result(200, math.inf), result(200, 0.3), result(300, None)])
    timeout_ms = 1e3 * names["TIMEOUT_S"]
    assert found == {100: pytest.approx(50), 200: pytest.approx(300), 300: pytest.approx(timeout_ms)}


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab,serve,load]"' in text
    assert "ten of ten" in text
