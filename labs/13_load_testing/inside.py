"""What lab 13 does beside the learner's code: servers that stall and hold, and what they saw.

Nothing here knows what is right; the checks work that out.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from scalelab.core.errors import DataError, RunFailed
from scalelab.loadtest.paper import PaperServer, nearest_ranks
from scalelab.loadtest.practice import PracticeServer
from scalelab.loadtest.script import run_locustfile

GRACE_S = 5.0
"""a run is ended so long after its last request must be over"""


def try_loop(answers, *, loop, first, service_s, stalls):
    """Report the log of a loop before a server on paper, and when the server was asked to begin."""
    server = PaperServer(service_s, stalls)

    def serve(begin_s):
        if len(server.begun_s) > 20_000:  # an endless loop ends in a sentence
            raise RuntimeError("the server was asked 20,000 times")
        return server.serve(begin_s)

    log = answers[loop](first, serve)
    return {"log": log, "begun": np.array(server.begun_s)}


def try_dice(answers, *, rate_per_s, duration_s, seeds):
    """Report the arrivals of each seed, drawn twice; and if np.random was moved, which is put back."""
    before = np.random.get_state()
    try:
        drawn = [[answers["poisson_arrivals"](rate_per_s, duration_s, seed) for seed in seeds] for _ in "12"]
        after = np.random.get_state()
    finally:
        np.random.set_state(before)
    is_moved = before[2] != after[2] or not np.array_equal(before[1], after[1])
    return {"first": drawn[0], "again": drawn[1], "is_moved": is_moved}


def try_percentile(answers, *, values, percent):
    """Report a percentile, or the ValueError in its place."""
    try:
        return {"value": answers["percentile"](values, percent), "refused": False}
    except ValueError:
        return {"value": None, "refused": True}


def run_text(answers, *, text, plan, **server):
    """Run a locustfile before a practice server; report its log or its trouble, and what the server saw.

    The same text under the same plan is run once: it is code that was looked at already.
    """
    return json.loads(_run_once(text, json.dumps([plan, server])))


@functools.lru_cache(maxsize=16)
def _run_once(text: str, told: str) -> str:
    plan, options = json.loads(told)
    seen: dict[str, Any] = {"log": None, "trouble": ""}
    with PracticeServer(**options) as server:
        limit_s = (plan["arrivals_s"] or [0.0])[-1] + plan["timeout_s"] + GRACE_S
        wait_for = _Patience(lambda: len(server.arrived_s), limit_s)
        try:
            log = run_locustfile(text, server.url, plan, timeout_s=limit_s, has_given_up=wait_for.is_over)
            seen["log"] = [[value if np.isfinite(value) else None for value in row] for row in log.tolist()]
        except (RunFailed, DataError) as error:
            seen["trouble"] = error.message.strip().splitlines()[-1]  # of a traceback, what it ends with
        seen["arrived"], seen["most_waiting"] = list(server.arrived_s), server.most_waiting
        seen["answered"] = sorted(server.answered_s)
        seen["spans"] = [at - server.arrived_s[number] for number, at in sorted(server.answered_s.items())]
    return json.dumps(seen)


class _Patience:
    """Ends when no request has come for as long as the whole run may take."""

    def __init__(self, count: Callable[[], int], limit_s: float):
        self.count, self.limit_s = count, limit_s
        self.last, self.since_s = 0, time.monotonic()

    def is_over(self) -> bool:
        if self.count() != self.last:
            self.last, self.since_s = self.count(), time.monotonic()
        return self.last > 0 and time.monotonic() - self.since_s > self.limit_s


def try_load_test(answers, *, arrivals, service_s, stalls, timeout_s):
    """Report what the learner's load test says of a server on paper."""
    return answers["load_test"](np.array(arrivals), PaperServer(service_s, stalls).serve, timeout_s)


def try_tests(answers, *, names):
    """Report what the learner's test says of load tests, right ones and broken ones."""
    return [answers["tells_the_truth"](_load_test(name)) for name in names]


def _load_test(name: str):
    """Return a load test: "right" and "plain" are; the others have one fault each."""

    def test(arrivals_s, serve, timeout_s):
        waited_s, free_s = [], 0.0
        for arrival_s in np.asarray(arrivals_s, dtype=float).tolist():
            begin_s = max(arrival_s, free_s)
            free_s = float(serve(begin_s))
            waited_s.append(free_s - (begin_s if name == "polite" else arrival_s))
        values = np.array(waited_s)
        is_late = values > timeout_s
        if name == "drops":
            values = values[~is_late]
        else:
            values[is_late] = timeout_s if name == "caps" else np.inf
        if name == "windows":
            found = [nearest_ranks(each) for each in np.array_split(values, 10) if len(each)]
            return tuple(np.mean(found, axis=0).tolist())
        return tuple(nearest_ranks(values).tolist()) if len(values) else (0.0, 0.0, 0.0)

    def plain(arrivals_s, serve, timeout_s):
        queue, free_s = [], 0.0
        for arrival_s in arrivals_s:
            free_s = serve(max(free_s, arrival_s))
            waited_s = free_s - arrival_s
            queue.append(waited_s if waited_s <= timeout_s else float("inf"))
        queue.sort()
        return [queue[-(-percent * len(queue) // 100) - 1] for percent in (50, 95, 99)]

    return plain if name == "plain" else test
