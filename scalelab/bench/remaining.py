"""How long the rest of a suite takes: a range, as wide as what is known of it allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalelab.core.records import RunRecord

if TYPE_CHECKING:
    from scalelab.bench.schedule import Visit
    from scalelab.bench.suite import Point

_AGAIN = 1.2
"""a point that runs again takes up to so many times as long, or as short, as it ever did: a rule of thumb"""
_SIBLING = 2.0
"""the same of a point that was never run, from others of its matrix"""
_REFERENCE_BLOCKS = 3
"""in each of the two measurements of the reference workload"""


@dataclass(frozen=True)
class Remaining:
    """The rest of a run [s]."""

    low_s: float
    high_s: float
    unknown: int
    """rounds of which only the limit is known: `high_s` counts it in full, `low_s` counts nothing"""


def estimate(left: Sequence[Visit], spent: Mapping[str, Sequence[float]], *, slots: int = 1) -> Remaining:
    """Return how long `left` takes.

    Args:
        spent: seconds that points took, by name.
        slots: how many run at one time.
    """
    ranges = [_range(visit.point, spent) for visit in left]
    low_s, high_s = sum(low for low, _, _ in ranges), sum(high for _, high, _ in ranges)
    longest_s = max((high for _, high, _ in ranges), default=0.0)
    unknown = sum(not is_known for _, _, is_known in ranges)
    return Remaining(low_s / slots, min(high_s, high_s / slots + longest_s), unknown)


def _range(point: Point, spent: Mapping[str, Sequence[float]]) -> tuple[float, float, bool]:
    """Return the least and the most that a round takes [s], and whether that is more than its limit."""
    own = spent.get(point.name)
    if own:
        low_s, high_s = min(own) / _AGAIN, max(own) * _AGAIN
    else:
        siblings = [s for name, many in spent.items() if _family(name) == point.family for s in many]
        if not siblings:
            return 0.0, point.timeout_s, False
        low_s, high_s = min(siblings) / _SIBLING, max(siblings) * _SIBLING
    return min(low_s, point.timeout_s), min(high_s, point.timeout_s), True


def _family(name: str) -> str:
    return name.partition("[")[0]


def seconds_spent(
    records: Iterable[RunRecord], points: Iterable[Point], suite: str
) -> dict[str, list[float]]:
    """Return what earlier runs of `points` took [s], those with the same parameters only."""
    spent: dict[str, list[float]] = {}
    named = {f"{suite}/{point.name}": point for point in points}
    for record in records:
        point = named.get(record.subject)
        if point is None or record.status != "done" or not _is_alike(record, point):
            continue
        for metric in record.metrics:
            if metric.name == "point_seconds":
                spent.setdefault(point.name, []).append(
                    sum(metric.values) + _REFERENCE_BLOCKS * sum(record.reference_s)
                )
    return spent


def _is_alike(record: RunRecord, point: Point) -> bool:
    return all(record.parameters.get(name) == value for name, value in point.parameters.items())
