"""Load tests as `RunRecord`s: what is written after a run, and what a comparison reads back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.records import Metric, RecordStore, RunRecord, metric
from scalelab.loadtest.knee import Knee
from scalelab.loadtest.results import BurstResult, LoadResult
from scalelab.loadtest.target import Target

RUN = "load/run"


@dataclass(frozen=True)
class Window:
    """The numbers of one measured window that are compared; None where it had too few requests."""

    latency_s: Mapping[str, float | None]
    """``p50``, ``p95``, ``p99``; ``inf``: never answered"""
    throughput_per_s: float
    error_share: float


def window_of(result: LoadResult) -> Window:
    """Return the comparable numbers of a run."""
    return Window(
        {"p50": result.p50_s, "p95": result.p95_s, "p99": result.p99_s},
        result.throughput_per_s,
        result.error_share,
    )


def record_run(
    target: Target,
    result: LoadResult,
    *,
    arrivals: str = "",
    slo_s: float | None = None,
    seed: int = 0,
) -> RunRecord:
    """Return a run as a record; with an objective, its goodput and verdict too."""
    metrics: list[Metric] = list(result.metrics())
    notes: dict[str, Any] = {"summary": result.to_json(), "warnings": result.warnings()}
    if slo_s is not None:
        metrics.append(metric("goodput", "1/s", result.goodput_per_s(slo_s)))
        notes["verdict"] = result.verdict(slo_s).value
    parameters = {
        **_parameters(target),
        "mode": result.mode,
        "rate_per_s": result.offered_rate_per_s,
        "users": result.users,
        "duration_s": result.duration_s,
        "arrivals": arrivals,
        "slo_s": slo_s,
    }
    return RunRecord(RUN, parameters, tuple(metrics), notes, seed)


def record_knee(target: Target, knee: Knee, *, seed: int = 0) -> RunRecord:
    """Return a knee and the whole search as a record."""
    parameters = {**_parameters(target), "slo_p95_s": knee.slo_p95_s, "max_errors": knee.max_error_share}
    return RunRecord("load/knee", parameters, knee.metrics(), {"summary": knee.to_json()}, seed)


def record_burst(target: Target, burst: BurstResult, *, seed: int = 0) -> RunRecord:
    """Return a burst as a record."""
    parameters = {
        **_parameters(target),
        "rate_per_s": burst.offered_rate_per_s,
        "duration_s": burst.duration_s,
    }
    return RunRecord("load/burst", parameters, burst.metrics(), {"summary": burst.to_json()}, seed)


def read_windows(path: Path) -> tuple[list[Window], Mapping[str, Any]]:
    """Read the open-loop runs of a file of records; return their windows and what all of them were given.

    Raises:
        DataError: no such runs, or runs at different rates or arrivals.
    """
    records = [
        record
        for record in (RecordStore(path).read() if path.exists() else [])
        if record.subject == RUN and record.parameters.get("mode") == "open"
    ]
    if not records:
        raise DataError(
            f"{path} holds no open-loop run",
            hint=f"make some: scalelab load run --rate 100 --record {path}",
        )
    names = ("rate_per_s", "arrivals", "duration_s")
    given = [{name: record.parameters.get(name) for name in names} for record in records]
    for other in given[1:]:
        if other != given[0]:
            name = next(name for name in names if other[name] != given[0][name])
            raise DataError(
                f"{path} holds runs with {name} {given[0][name]} and {other[name]}",
                hint="compare runs of one load: keep each load in a file of its own",
            )
    return [_window(record) for record in records], given[0]


def _window(record: RunRecord) -> Window:
    values = {one.name: one.values[0] for one in record.metrics}
    summary = record.notes["summary"]
    latency: dict[str, float | None] = {}
    for name in ("p50", "p95", "p99"):
        shown = summary["latency"][f"{name}_s"]
        never = isinstance(shown, dict) and str(shown.get("why", "")).startswith("infinite")
        latency[name] = math.inf if never else values.get(f"latency_{name}")
    sent = values["sent"]
    return Window(latency, values["throughput"], 1 - values["ok"] / sent if sent else 0.0)


def _parameters(target: Target) -> dict[str, Any]:
    return {"url": target.url, "path": target.path, "method": target.method}
