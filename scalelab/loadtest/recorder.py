"""What happened to each request: counts, latencies, and how busy the generator was.

Runs inside the locust process; nothing in it is about sockets.

    sent = ok + rejected (429) + errors
    unanswered, a part of the errors, has no latency: it counts as infinite in every percentile
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hdrh.histogram import HdrHistogram

LONGEST_US = 3_600_000_000
OK = "ok"
REJECTED = "HTTP 429"
TIMEOUT = "timeout"


class Recorder:
    """Counts the requests that were meant for the measured window ``[warmup, warmup + duration)``."""

    def __init__(self, warmup_s: float, duration_s: float, *, clock: Callable[[], float] = time.perf_counter):
        self.warmup_s, self.duration_s, self.clock = warmup_s, duration_s, clock
        self.outcomes: Counter[str] = Counter()
        self.latencies = new_histogram()
        self.lags = new_histogram()
        self.in_flight = 0
        self.peak_in_flight = 0
        self.in_system_s = 0.0
        self._changed_s = 0.0
        self.answered_in_window = 0
        self.cpu_share = 0.0
        self.started, self.started_at = clock(), time.time()

    def restart(self) -> None:
        """Set the zero of the schedule to now."""
        self.started, self.started_at = self.clock(), time.time()

    def now(self) -> float:
        """Return seconds since the start."""
        return self.clock() - self.started

    def is_measured(self, intended_s: float) -> bool:
        """Tell whether a request meant for that moment counts."""
        return self.warmup_s <= intended_s < self.warmup_s + self.duration_s

    def begin(self, intended_s: float, *, lag_s: float | None = None) -> None:
        """Note that a request enters the system; `lag_s`: how late the generator was with it."""
        self._change_in_flight(+1)
        self.in_system_s += (lag_s or 0.0) if self.is_measured(intended_s) else 0.0
        if self.is_measured(intended_s):
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            if lag_s is not None:
                record(self.lags, lag_s)

    def end(self, intended_s: float, outcome: str) -> float:
        """Note that a request left the system; return its latency from the intended send [s]."""
        finished_s = self._change_in_flight(-1)
        if outcome == OK and self.is_measured(finished_s):
            self.answered_in_window += 1
        if self.is_measured(intended_s):
            self.outcomes[outcome] += 1
            if outcome == OK:
                record(self.latencies, finished_s - intended_s)
        return finished_s - intended_s

    def report(self) -> dict[str, Any]:
        """Return everything as plain data."""
        outcomes = dict(self.outcomes)
        ok, rejected = outcomes.pop(OK, 0), outcomes.pop(REJECTED, 0)
        return {
            "started_at": self.started_at,
            "sent": sum(self.outcomes.values()),
            "ok": ok,
            "rejected": rejected,
            "errors": outcomes,
            "unanswered": sum(count for kind, count in outcomes.items() if not kind.startswith("HTTP ")),
            "answered_in_window": self.answered_in_window,
            "latency_us": buckets(self.latencies),
            "lag_us": buckets(self.lags),
            "generator_cpu_share": self.cpu_share,
            "peak_in_flight": self.peak_in_flight,
            "mean_in_flight": self.in_system_s / self.duration_s,
        }

    def _change_in_flight(self, by: int) -> float:
        """Add up requests x seconds inside the window, for Little's law; return now."""
        now_s = self.now()
        end_s = self.warmup_s + self.duration_s
        inside_s = min(now_s, end_s) - max(self._changed_s, self.warmup_s)
        self.in_system_s += self.in_flight * max(0.0, inside_s)
        self.in_flight += by
        self._changed_s = now_s
        return now_s


def new_histogram() -> HdrHistogram:
    """Return an empty histogram of 1 µs to one hour, exact to three digits."""
    return HdrHistogram(1, LONGEST_US, 3)


def record(histogram: HdrHistogram, seconds: float) -> None:
    """Add one duration."""
    histogram.record_value(min(LONGEST_US, max(0, round(seconds * 1e6))))


def buckets(histogram: HdrHistogram) -> list[tuple[int, int]]:
    """Return ``(highest value of the bucket [µs], count)``, ascending, empty buckets left out."""
    return [
        (histogram.get_highest_equivalent_value(item.value_iterated_to), item.count_at_value_iterated_to)
        for item in histogram.get_recorded_iterator()
        if item.count_at_value_iterated_to
    ]
