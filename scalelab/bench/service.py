"""What a benchmark notebook records of a load test.

The results are taken by their attributes (`Knee` and `BurstResult` of `scalelab.loadtest`):
a tool imports no subject.
"""

from __future__ import annotations

import math
from typing import Any

from scalelab.core.records import Metric, metric


def knee_metrics(knee: Any) -> list[Metric]:
    """Return the knee's rate as ``throughput``, its latency there, and the curve on the way to it.

    Points whose p95 is infinite (most requests unanswered) are left out of the curve: they have no height.
    """
    curve = [p for p in knee.curve() if p.result.p95_s is not None and math.isfinite(p.result.p95_s)]
    found = [
        metric("throughput", "1/s", knee.rate_per_s),
        metric("curve_rate", "1/s", [point.rate_per_s for point in curve]),
        metric("curve_p95", "s", [point.result.p95_s for point in curve]),
    ]
    if knee.best is not None:
        found += [m for m in knee.best.result.metrics() if m.name.startswith("latency_")]
        found.append(metric("latency_n", "1", knee.best.result.latency.n))
    return found


def knee_note(knee: Any) -> dict[str, Any]:
    """Return how far the knee can be trusted, as JSON values for a record's notes."""
    names = ("is_confirmed", "is_lower_bound", "generator_limited", "elapsed_s")
    return {name: getattr(knee, name) for name in names}


def burst_note(burst: Any) -> dict[str, Any]:
    """Return what became of the requests of a burst, as JSON values for a record's notes."""
    names = ("offered", "accepted", "answered", "refused", "failed", "lost", "answered_with_error")
    return {
        **{name: getattr(burst, name) for name in names},
        "rate_per_s": burst.offered_rate_per_s,
        "duration_s": burst.duration_s,
    }
