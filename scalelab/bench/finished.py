"""What a store already has of a suite: which rounds are done, and whether their files are still there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from scalelab.bench.keys import file_hash
from scalelab.core.records import RunRecord


class Finished:
    """Done rounds by subject, key and round; of a round that was run again, the newest record decides."""

    def __init__(self, records: Iterable[RunRecord], artifacts: Path):
        self._artifacts = artifacts
        self._rounds: dict[tuple[str, str, int], RunRecord] = {}
        self._newest: dict[tuple[str, str], RunRecord] = {}
        self._written: Counter[tuple[str, str, int]] = Counter()
        self._hashes: dict[tuple[Path, int, int], str] = {}
        for record in records:
            key, number = str(record.run.get("key", "")), int(record.run.get("round", 0))
            self._rounds[record.subject, key, number] = record
            self._written[_origin(record)] += 1
            if record.status == "done":
                self._newest[record.subject, key] = record

    def has(self, subject: str, key: str, number: int) -> bool:
        """Tell whether round `number` succeeded and all of its records were written."""
        record = self._rounds.get((subject, key, number))
        return (
            record is not None
            and record.status == "done"
            and self._written[_origin(record)] >= record.run.get("records", 1)
        )

    def left(self, subject: str, key: str) -> dict[str, str]:
        """Return the sha256 of the files that the newest of its rounds left."""
        newest = self._newest.get((subject, key))
        return dict(newest.run.get("artifacts", {})) if newest else {}

    def is_there(self, subject: str, key: str, produces: Iterable[str]) -> bool:
        """Tell whether these files are there as the newest of its rounds left them."""
        left = self.left(subject, key)
        return all(self._hash(self._artifacts / name) == left.get(name, "") for name in produces)

    def _hash(self, path: Path) -> str | None:
        """Return the sha256 of a file, read once for each of its states; None: it is not there."""
        if not path.is_file():
            return None
        state = path.stat()
        at = (path, state.st_mtime_ns, state.st_size)
        if at not in self._hashes:
            self._hashes[at] = file_hash(path)
        return self._hashes[at]


def _origin(record: RunRecord) -> tuple[str, str, int]:
    return record.subject, str(record.run.get("id", record.id)), int(record.run.get("place", 0))
