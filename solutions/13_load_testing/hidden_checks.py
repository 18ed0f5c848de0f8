"""Hidden checks of lab 13: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

import numpy as np

from scalelab.grading import Answers, check, expect, expect_close
from scalelab.loadtest.paper import PaperServer, count_law, nearest_ranks, queue

HINTS = (
    "Try the smallest inputs.",
    "And the largest.",
    "No request at all; all of them late.",
)


@check("loops-corners", points=1, hints=HINTS, after="loops")
def loops_of_nobody(answers: Answers) -> None:
    """Draw few arrivals or none, and write the log of no request, and of a crowd."""
    seeds = answers.rng.integers(0, 2**31, 40).tolist()
    seen = answers.inside("try_dice", rate_per_s=0.5, duration_s=1.0, seeds=seeds)
    counts = [np.shape(each) for each in seen["first"]]
    expect(
        all(len(shape) == 1 for shape in counts), f"shapes {set(counts)}", code="corner-shape"
    )
    few = [shape[0] for shape in counts]
    expect(0 in few and max(few) < 8, f"half a request a second: {few}", code="corner-few")
    for times in (np.empty(0), np.zeros(5) + 0.3):
        paper = {"service_s": 0.25, "stalls": [[0.1, 0.7]]}
        seen = answers.inside("try_loop", loop="open_loop", first=times, **paper)
        log, wanted = np.asarray(seen["log"], dtype=float), queue(times, PaperServer(**paper))
        told = f"{len(times)} arrivals gave a log of shape {log.shape}"
        expect(log.size == wanted.size, told, code="corner-log")
        if len(times):
            expect_close(log, wanted, what="a crowd in a stall", code="corner-crowd")


@check("latency-corners", points=1, hints=HINTS, after="latency")
def ranks_of_any_number(answers: Answers) -> None:
    """Take ranks exactly where percent * N / 100 is whole, and where nobody was answered."""
    rng = answers.rng
    for percent, n in ((50, 100), (95, 200), (99, 300), (75, 1000)):
        values = rng.permutation(100.0 + np.arange(n))
        seen = answers.inside("try_percentile", values=values, percent=percent)
        told = f"p{percent} of {n} values is {seen['value']}"
        wanted = nearest_ranks(values, [percent])[0]
        expect(seen["value"] == wanted, f"{told}, wanted {wanted}", code="corner-whole-rank")
    seen = answers.inside("try_percentile", values=np.full(30, np.inf), percent=95)
    expect(seen["value"] == np.inf, f"all inf: {seen['value']}", code="corner-all-late")
    log = np.stack([np.arange(4.0), np.arange(4.0), np.arange(4.0) + 2.0], axis=1)
    found = np.asarray(answers["latencies"](log, 2.0), dtype=float)
    expect(
        np.isfinite(found).all(),
        f"exactly the timeout: {found}",
        code="corner-exactly-in-time",
    )


@check("littles_law-corners", points=1, hints=HINTS, after="littles_law")
def windows_of_any_kind(answers: Answers) -> None:
    """Count in a window without answers, in one inside of a long stay, and at its exact ends."""
    rng = answers.rng
    one = np.array([[1.0, 1.5, 9.0]])
    ends = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 4.0], [3.0, 3.0, 3.5]])
    many = np.sort(rng.uniform(0, 8, (90, 3)), axis=1)
    for what, log, begin, end in (
        ("one long stay", one, 4.0, 6.0),
        ("answers at both ends", ends, 2.0, 4.0),
        ("before anybody came", one, 0.0, 0.5),
        ("a random log", many, 2.0, 6.0),
    ):
        found = [float(each) for each in answers["littles_law"](log, begin, end)]
        wanted = count_law(log, begin, end)
        expect_close(found, wanted, what=what, code="corner-window", atol=1e-9)
    said = answers["is_steady"](one, 4.0, 6.0)
    expect(not said, "one request and no answer is steady", code="corner-silence")


@check("locustfile-corners", points=1, hints=HINTS, limit_s=150, after="locustfile")
def a_crowd_of_requests(answers: Answers) -> None:
    """Keep the schedule with a hundred requests under way."""
    n = 120
    times = (0.05 + np.arange(n) / 400).round(4).tolist()
    plan = {"arrivals_s": times, "path": "/crowd", "timeout_s": 3.0}
    told = {"hold": [0, 110, 2.5], "silent": [], "broken": []}
    seen = answers.apart("run_text", text=answers["locustfile"](), plan=plan, **told)
    waiting = seen["most_waiting"]
    told = f"{waiting} of {n} requests came while the server held its answers back"
    expect(waiting > 90, told, code="corner-crowd-waits")
    expect(seen["log"] is not None, f"no log: {seen['trouble']}", code="corner-no-log")
    expect(len(seen["log"]) == n, f"{len(seen['log'])} rows", code="corner-rows")


@check("knee-corners", points=1, hints=HINTS, after="knee")
def knees_of_long_lists(answers: Answers) -> None:
    """Find the knee in a long list, and among rates that are no whole numbers."""
    rng, asked = answers.rng, []
    rates = np.cumsum(rng.uniform(0.1, 9, 200)).tolist()
    for at in (1, 199, int(rng.integers(2, 198))):
        asked.clear()

        def measure(rate, at=at):
            asked.append(rate)
            return {"p95_s": 0.001 if rate <= rates[at - 1] else 9.0, "generator_busy": False}

        rate, verdict = answers["find_knee"](measure, rates)
        told = f"{at} of 200 rates hold: {rate}, {verdict!r}, {len(asked)} windows"
        expect(rate == rates[at - 1] and verdict == "PASS", told, code="corner-knee")
        expect(len(asked) <= 16, told, code="corner-windows")


@check("drill-corners", points=1, hints=HINTS, after="drill")
def a_server_that_never_wakes(answers: Answers) -> None:
    """Say inf of a server that stalls to the end, and true numbers of one that never does."""
    times = np.arange(400) / 100
    for stalls in ([[0.5, 100.0]], []):
        given = {"arrivals": times.tolist(), "service_s": 0.001, "stalls": stalls}
        found = [
            float(each) for each in answers.inside("try_load_test", timeout_s=1.0, **given)
        ]
        log = queue(times, PaperServer(0.001, stalls))
        waited = log[:, 2] - log[:, 0]
        wanted = nearest_ranks(np.where(waited <= 1.0, waited, np.inf))
        told = f"stalls {stalls}: {found}, wanted {wanted}"
        expect(np.allclose(found, wanted, rtol=1e-6), told, code="corner-report")
