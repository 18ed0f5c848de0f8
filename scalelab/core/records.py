"""The one format of a measurement, and the file that keeps them.

A store is a JSON-lines file that only ever grows. A record is written by one call and synced to disk; a
line that a killed process left half-written is moved aside at the next append, and said. Records of older
schemas are upgraded when they are read; the file stays as it is.
"""

from __future__ import annotations

import json
import math
import statistics
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from scalelab.core.errors import DataError
from scalelab.core.jsonl import TornRecordWarning, append_line, read_lines
from scalelab.core.machine import fingerprint, git_revision

__all__ = ["Damage", "Metric", "RecordStore", "RunRecord", "TornRecordWarning", "metric"]

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Metric:
    """Values of one quantity in one unit: ``Metric("latency", "s", (0.0021, 0.0020))``."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of values."""
        return len(self.values)


@dataclass(frozen=True, repr=False)
class RunRecord:
    """What was run, where, with which parameters, and what came out (DESIGN, section 2)."""

    subject: str
    """the lab, or ``suite/point``, that was run"""
    parameters: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    """facts that are no quantity: verdicts, file names, hashes, the text of an error"""
    seed: int = 0
    status: str = "done"
    """``done``, ``failed`` (the notes have ``error``) or ``skipped`` (the notes have ``reason``)"""
    machine: Mapping[str, Any] = field(default_factory=fingerprint)
    git: str = field(default_factory=git_revision)
    when: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    schema: int = SCHEMA_VERSION
    reference_s: tuple[float, ...] = ()
    """times of the reference workload just before and after [s]; empty: not taken"""
    run: Mapping[str, Any] = field(default_factory=dict)
    """how the runner of a suite came to it (`scalelab.bench`); empty: nobody's suite"""

    def __repr__(self) -> str:
        """Show what a person wants to see of it: claims and metrics, a line each, many values as a median."""
        lines = [f"{self.subject}: {self.status}"]
        for claim in self.notes.get("claims", ()):
            lines.append(f"  {claim['verdict']}: {claim['claim']} ({claim['detail']})")
        for metric in self.metrics:
            spread = "" if metric.n == 1 else f"  (median of {metric.n})"
            middle = statistics.median(metric.values) if metric.n else math.nan
            lines.append(f"  {metric.name:<18} {middle:,.6g} {metric.unit}{spread}")
        return "\n".join(lines)

    def metric(self, name: str) -> Metric:
        """Return the metric called `name`.

        Raises:
            DataError: the record has no such metric.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        names = ", ".join(metric.name for metric in self.metrics) or "none"
        raise DataError(f"the record of {self.subject!r} has no metric {name!r}", hint=f"it has: {names}")

    def to_json(self) -> str:
        """Return the record as one line of JSON.

        Raises:
            DataError: a metric is NaN or infinite, or a parameter or note is no plain value.
        """
        for metric in self.metrics:
            odd = [value for value in metric.values if not math.isfinite(value)]
            if odd:
                raise DataError(
                    f"metric {metric.name!r} of {self.subject!r} holds {odd[0]}: that is no measurement",
                    hint="leave it out, or record the point as failed",
                )
        try:
            return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the record of {self.subject!r} cannot be written: {error}",
                hint="parameters and notes hold text, finite numbers, booleans, None, lists and dicts",
            ) from None

    @classmethod
    def from_json(cls, line: str) -> RunRecord:
        """Read one line of JSON; a record of an older schema is upgraded.

        Raises:
            DataError: not JSON, not whole, of a schema that this version does not know, or with a value that
                is no measurement.
        """
        try:
            raw = json.loads(line)
            while (schema := raw["schema"]) in _UPGRADES:
                raw = _UPGRADES[schema](raw)
            if schema != SCHEMA_VERSION:
                raise DataError(
                    f"a record has schema {schema}, this version reads {min(_UPGRADES)} to {SCHEMA_VERSION}",
                    hint="update scalelab, or write to another file",
                )
            raw["reference_s"] = tuple(map(float, raw["reference_s"]))
            raw["metrics"] = tuple(
                Metric(m["name"], m["unit"], tuple(map(float, m["values"]))) for m in raw["metrics"]
            )
            record = cls(**raw)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"not a record: {line[:60]!r} ({error})", hint="was the file edited?") from None
        return _whole(record, raw)


def _whole(record: RunRecord, raw: Mapping[str, Any]) -> RunRecord:
    """Refuse what `to_json` cannot have written: what is missing would be taken from the reader's machine."""
    missing = [each.name for each in fields(RunRecord) if each.name not in raw]
    if missing:
        raise DataError(f"a record lacks {', '.join(missing)}", hint="was the file edited?")
    odd = [name for name in ("parameters", "notes", "machine", "run") if not isinstance(raw[name], dict)]
    odd += [
        name
        for name, values in [
            *((m.name, m.values) for m in record.metrics),
            ("reference_s", record.reference_s),
        ]
        if not all(map(math.isfinite, values))
    ]
    if odd:
        raise DataError(f"not a record: {', '.join(map(str, odd))} cannot be", hint="was the file edited?")
    return record


def _from_1(raw: dict[str, Any]) -> dict[str, Any]:
    key = dict(raw["notes"]).get("key")
    return {**raw, "schema": 2, "reference_s": [], "run": {} if key is None else {"key": key}}


_UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""from each older schema to the next"""


def metric(name: str, unit: str, values: float | Sequence[float]) -> Metric:
    """Build a metric from one value or many."""
    many = values if isinstance(values, Sequence) else [values]
    return Metric(name, unit, tuple(float(value) for value in many))


class Damage(NamedTuple):
    """A line of a store that is no record."""

    line: int
    """from 1"""
    why: str


class RecordStore:
    """A JSON-lines file of records, safe to append to from several processes."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def append(self, record: RunRecord) -> None:
        """Add one record: on return it is on the disk.

        Raises:
            DataError: the record holds what JSON cannot; nothing was written.
        """
        append_line(self.path, record.to_json().encode())

    def read(self, *, damaged: list[Damage] | None = None) -> list[RunRecord]:
        """Return all records, oldest first; an unfinished last line is left out (and said).

        Args:
            damaged: a list that takes the lines which are no records; the others are returned. Without it
                such a line is an error: whoever counts on every record must not miss one.

        Raises:
            DataError: a line is no record and `damaged` is not given (the message has its number), or the
                file cannot be read.
        """
        try:
            lines = read_lines(self.path)
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be read: {error.strerror}", hint="move it away, or take another folder"
            ) from None
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(RunRecord.from_json(line.decode()))
            except (DataError, UnicodeDecodeError) as error:
                said = error.message if isinstance(error, DataError) else str(error)
                if damaged is None:
                    raise DataError(
                        f"{self.path}, line {number}: {said}",
                        hint="mend or remove that line",
                    ) from None
                damaged.append(Damage(number, said))
        return records
