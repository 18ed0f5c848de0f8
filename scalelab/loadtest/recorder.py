"""What happened to each request: counts, latencies, and how busy the generator was.

Runs inside the locust process; nothing in it is about sockets.

    sent = ok + rejected (429) + errors
    unanswered, a part of the errors, has no latency: it counts as infinite in every percentile
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hdrh.histogram import HdrHistogram

from scalelab.loadtest.outcomes import LONGEST_US, OK


class Recorder:
    """Counts the requests that were meant for the measured window, in blocks ``[edges[k], edges[k + 1])``.

    While requests fly it only appends; histograms are built at the end.
    """

    def __init__(self, edges: Sequence[float], *, clock: Callable[[], float] = time.perf_counter):
        self.edges, self.clock = list(edges), clock
        self.start_s, self.end_s = self.edges[0], self.edges[-1]
        self.restart()

    def restart(self, started_at: float | None = None) -> None:
        """Forget everything; the schedule's zero is `started_at` [seconds since the epoch], or now."""
        now_s = time.time()
        self.started_at = now_s if started_at is None else started_at
        self.zero_s = self.clock() + (self.started_at - now_s)
        self.outcomes: list[Counter[str]] = [Counter() for _ in self.edges[1:]]
        self.latencies_us = [array("q") for _ in self.edges[1:]]
        self.lags_us = array("q")
        self.in_flight = 0
        self.peak_in_flight = 0
        self.in_system_s = 0.0
        self._changed_s = 0.0
        self.answered_in_window = 0
        self.cpu_share = 0.0
        self.busy_share = 0.0

    def now(self) -> float:
        """Return seconds since the start."""
        return self.clock() - self.zero_s

    def is_measured(self, moment_s: float) -> bool:
        """Tell whether a request meant for that moment counts."""
        return self.start_s <= moment_s < self.end_s

    def begin(self, intended_s: float, *, lag_s: float | None = None) -> None:
        """Note that a request enters the system; `lag_s`: how late the generator was with it."""
        self._change_in_flight(+1)
        if self.is_measured(intended_s):
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            if lag_s is not None:
                self.in_system_s += lag_s
                self.lags_us.append(_microseconds(lag_s))

    def end(self, intended_s: float, outcome: str) -> float:
        """Note that a request left the system; return its latency from the intended send [s]."""
        finished_s = self._change_in_flight(-1)
        if outcome == OK and self.is_measured(finished_s):
            self.answered_in_window += 1
        if self.is_measured(intended_s):
            block = bisect_right(self.edges, intended_s) - 1
            self.outcomes[block][outcome] += 1
            if outcome == OK:
                self.latencies_us[block].append(_microseconds(finished_s - intended_s))
        return finished_s - intended_s

    def report(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "started_at": self.started_at,
            "blocks": [
                {"outcomes": dict(outcomes), "latency_us": buckets(latencies)}
                for outcomes, latencies in zip(self.outcomes, self.latencies_us, strict=True)
            ],
            "answered_in_window": self.answered_in_window,
            "lag_us": buckets(self.lags_us),
            "generator_cpu_share": self.cpu_share,
            "generator_busy_share": self.busy_share,
            "peak_in_flight": self.peak_in_flight,
            "mean_in_flight": self.in_system_s / (self.end_s - self.start_s),
        }

    def _change_in_flight(self, by: int) -> float:
        """Add up requests x seconds inside the window, for Little's law; return now."""
        now_s = self.now()
        inside_s = min(now_s, self.end_s) - max(self._changed_s, self.start_s)
        if inside_s > 0:
            self.in_system_s += self.in_flight * inside_s
        self.in_flight += by
        self._changed_s = now_s
        return now_s


def buckets(values_us: Iterable[int]) -> list[tuple[int, int]]:
    """Return ``(highest value of the bucket [µs], count)`` of an HdrHistogram, ascending, without empty ones.

    The histogram spans 1 µs to one hour and is exact to three digits.
    """
    histogram = HdrHistogram(1, LONGEST_US, 3)
    found: Counter[int] = Counter()
    for value, count in Counter(values_us).items():
        found[histogram.get_highest_equivalent_value(value)] += count
    return sorted(found.items())


def _microseconds(seconds: float) -> int:
    return min(LONGEST_US, max(0, round(seconds * 1e6)))
