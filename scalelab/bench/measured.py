"""A point of a suite as the page sees it: its name for people, its newest record, the rounds that count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scalelab.bench.results import newest_of, rounds_of
from scalelab.bench.spread import Spread, spread_of
from scalelab.core.records import Metric, RunRecord

BUSY_CORES = 0.4
"""from so many busy cores on, before a point began, its rates are lower bounds"""


@dataclass(frozen=True)
class Measured:
    """One point, with all its rounds."""

    title: str
    """one of its own within a suite"""
    newest: RunRecord
    """whatever its status"""
    rounds: tuple[RunRecord, ...]
    """successful, of the newest code and parameters; none if it never succeeded"""

    @property
    def is_done(self) -> bool:
        """The newest try succeeded."""
        return self.newest.status == "done"

    @property
    def problem(self) -> str:
        """Why the newest try failed or was skipped."""
        notes = self.newest.notes
        return "" if self.is_done else str(notes.get("error") or notes.get("reason") or "")

    @property
    def is_busy(self) -> bool:
        """Other work ran when it began."""
        return (self.newest.notes.get("busy_cores_before") or 0) >= BUSY_CORES

    @property
    def kind(self) -> str:
        """What its rate counts: ``requests``, ``predictions, batch 32``."""
        return str(self.newest.notes.get("throughput_of", ""))

    @property
    def slo_s(self) -> float | None:
        """The latency target of its records [s], or None."""
        sources: tuple[Mapping[str, Any], ...] = (self.newest.parameters, self.newest.notes)
        for source in sources:
            for name in ("slo_p95_s", "slo_s"):
                if isinstance(source.get(name), (int, float)):
                    return float(source[name])
        return None

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """The spread of every metric, in the order of the record; a curve's values are places, not tries."""
        held: dict[str, list[Metric]] = {}
        for record in self.rounds:
            for metric in record.metrics:
                if not metric.name.startswith("curve_"):
                    held.setdefault(metric.name, []).append(metric)
        return {name: spread for name, metrics in held.items() if (spread := spread_of(metrics))}

    def values(self, name: str) -> list[float]:
        """All values of a metric, round after round."""
        return [
            value
            for record in self.rounds
            for metric in record.metrics
            if metric.name == name
            for value in metric.values
        ]


def read_suites(records: Sequence[RunRecord]) -> dict[str, list[Measured]]:
    """Return the points of each suite, both in the order of their first records.

    The suite is what stands before the slash of a subject; a subject without one is its own.
    """
    rounds = rounds_of(records)
    suites: dict[str, list[RunRecord]] = {}
    for subject, record in newest_of(records).items():
        suites.setdefault(subject.split("/", 1)[0], []).append(record)
    return {
        suite: [
            Measured(title, record, rounds.get(record.subject, ()))
            for title, record in zip(_titles(newest), newest, strict=True)
        ]
        for suite, newest in suites.items()
    }


def _titles(newest: Sequence[RunRecord]) -> list[str]:
    names = [record.subject.split("/", 1)[-1] for record in newest]
    titles = [str(record.notes.get("title") or name) for record, name in zip(newest, names, strict=True)]
    counts = Counter(titles)
    return [
        title if counts[title] == 1 else f"{title} ({name})"
        for title, name in zip(titles, names, strict=True)
    ]
