"""Load tests on paper: what one queue makes of arrivals, and what its log says.

A log is ``(N, 3) float64`` [s], a row for each request: intended, sent, finished (``inf``: never).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class PaperServer:
    """A server that does one request at a time and begins none while it stalls.

    Args:
        service_s: how long a request takes [s].
        stalls: ``(begin, end)`` [s].
    """

    def __init__(self, service_s: float, stalls: Sequence[Sequence[float]] = ()):
        self.service_s, self.stalls = service_s, stalls
        self.begun_s: list[float] = []
        """when it was asked to begin, each time"""

    def serve(self, begin_s: float) -> float:
        """Return when a request is finished that can begin at `begin_s`."""
        self.begun_s.append(float(begin_s))
        for stall_s, end_s in self.stalls:
            if stall_s <= begin_s < end_s:
                begin_s = end_s
        return float(begin_s) + self.service_s


def queue(arrivals_s: np.ndarray, server: PaperServer, *, skips: bool = False) -> np.ndarray:
    """Return the log of arrivals that queue before a server (Lindley's recursion).

    Args:
        skips: leave out whoever comes while it is busy, as a test does that drops what it missed.
    """
    rows, free_s = [], 0.0
    for arrival_s in arrivals_s.tolist():
        if not (skips and arrival_s < free_s):
            free_s = server.serve(max(arrival_s, free_s))
            rows.append((arrival_s, arrival_s, free_s))
    return np.array(rows, dtype=float).reshape(-1, 3)


def count_law(log: np.ndarray, begin_s: float, end_s: float) -> tuple[float, float, float]:
    """Return L, X [1/s] and W [s] of a window: L by a walk from event to event, X and W of its answers."""
    intended_s, finished_s = log[:, 0], log[:, 2]
    events_s = np.concatenate([intended_s, finished_s, [begin_s, end_s]])
    marks_s = np.unique(np.clip(events_s, begin_s, end_s))
    inside = [((intended_s <= at) & (finished_s > at)).sum() for at in marks_s[:-1]]
    answered = log[(finished_s >= begin_s) & (finished_s < end_s)]
    mean_s = float((answered[:, 2] - answered[:, 0]).mean()) if len(answered) else 0.0
    length_s = end_s - begin_s
    return float(np.dot(inside, np.diff(marks_s)) / length_s), len(answered) / length_s, mean_s


def nearest_ranks(values: np.ndarray, percents: Sequence[int] = (50, 95, 99)) -> np.ndarray:
    """Return percentiles by the nearest rank: values that are there, ``inf`` among them."""
    ordered, n = np.sort(values), len(values)
    return np.array([ordered[-(-percent * n // 100) - 1] for percent in percents])
