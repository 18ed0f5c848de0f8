"""Load on a running service: closed loop, open loop by arrival rate, the knee, and a burst.

Latency of an open loop counts from the *intended* send time: a server that freezes for a second makes every
request of that second late, and a generator that politely waits with it would hide that
("coordinated omission"). The load comes from locust in a process of its own.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "BurstResult": "results",
    "Knee": "knee",
    "KneePoint": "knee",
    "LatencyHistogram": "results",
    "LoadResult": "results",
    "Target": "target",
    "find_knee": "knee",
    "run_burst": "driver",
    "run_closed": "driver",
    "run_open": "driver",
}

__all__ = [
    "BurstResult",
    "Knee",
    "KneePoint",
    "LatencyHistogram",
    "LoadResult",
    "Target",
    "find_knee",
    "run_burst",
    "run_closed",
    "run_open",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
