"""A folder of results as its readers see it: all records, and for each point the rounds that count."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.core.records import Damage, RecordStore, RunRecord


@dataclass(frozen=True)
class Results:
    """What a store holds."""

    path: Path
    """the ``.jsonl`` file"""
    records: tuple[RunRecord, ...]
    """oldest first"""
    damaged: tuple[Damage, ...] = ()
    """lines that are no records; whoever shows the others says so"""


def read_results(path: Path | str) -> Results:
    """Read a folder of results (its ``records.jsonl``), a ``.jsonl`` file, or a bundle (``.zip``).

    Raises:
        DataError: it is not there, cannot be read, holds no record, or is a bundle that has changed.
    """
    path = Path(path)
    if path.suffix == ".zip":
        from scalelab.bench.bundle import read_bundle

        return read_bundle(path)
    store = path / "records.jsonl" if path.is_dir() or not path.suffix else path
    damaged: list[Damage] = []
    records = RecordStore(store).read(damaged=damaged)
    if not records:
        why = f": line {damaged[0].line}: {damaged[0].why}" if damaged else ""
        raise DataError(
            f"{path} has no records{why}", hint="run `scalelab demo` or `scalelab bench run` first"
        )
    return Results(store, tuple(records), tuple(damaged))


def newest_of(records: Iterable[RunRecord]) -> dict[str, RunRecord]:
    """Return the newest record of each subject, whatever its status, in the order of their first records."""
    return {record.subject: record for record in records}


def rounds_of(records: Iterable[RunRecord]) -> dict[str, tuple[RunRecord, ...]]:
    """Return for each subject its successful rounds that can be laid side by side, in the order of rounds.

    These are the records that came of the same notebook, parameters and code (`run["key"]`) as the newest
    one that succeeded; of a round that was run again, the newest record. Records without a key (of a load
    test, or written by hand) belong together if their parameters are equal; those without a round count up.
    """
    done: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.status == "done":
            done.setdefault(record.subject, []).append(record)
    return {subject: _rounds(found) for subject, found in done.items()}


def _rounds(found: list[RunRecord]) -> tuple[RunRecord, ...]:
    wanted = _origin(found[-1])
    rounds: dict[int, RunRecord] = {}
    for record in found:
        if _origin(record) == wanted:
            rounds[int(record.run.get("round", len(rounds)))] = record
    return tuple(rounds[number] for number in sorted(rounds))


def _origin(record: RunRecord) -> str:
    key = record.run.get("key")
    return str(key) if key else json.dumps(dict(record.parameters), sort_keys=True)
