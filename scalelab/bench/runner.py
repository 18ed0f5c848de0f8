"""Run a suite: each point in a process of its own, a broken one recorded and the rest carried on.

A folder of results holds ``records.jsonl`` (the store), ``notebooks/`` (executed, with outputs), and
``artifacts/`` (files that points leave for later points).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scalelab.bench.keys import code_hash, file_hash, point_key
from scalelab.bench.parameters import check_parameters
from scalelab.bench.point import Executor, Here, Task
from scalelab.bench.suite import Point, Suite
from scalelab.core.lazy import need_installed
from scalelab.core.locks import hold_lock
from scalelab.core.paths import make_folder
from scalelab.core.records import RecordStore, RunRecord


class Watcher(Protocol):
    """Sees a suite run; the progress display of the command line is one."""

    def started(self, point: Point, number: int, total: int) -> None:
        """A point begins."""

    def tick(self) -> None:
        """Ten times a second while a point runs."""

    def ended(self, point: Point, status: str, seconds: float, detail: str) -> None:
        """A point ended as ``done``, ``kept`` (finished in an earlier run), ``failed`` or ``skipped``."""


@dataclass(frozen=True)
class SuiteResult:
    """How each point ended: ``done``, ``kept``, ``failed`` or ``skipped``."""

    statuses: Mapping[str, str]
    folder: Path

    @property
    def is_complete(self) -> bool:
        """No point failed or was skipped."""
        return all(status in ("done", "kept") for status in self.statuses.values())


def run_suite(
    suite: Suite, folder: Path, *, watcher: Watcher, fresh: bool = False, executor: Executor | None = None
) -> SuiteResult:
    """Run what is not yet done of `suite` and record it under `folder`.

    A point is done when the store has a successful record of the same notebook, parameters, package code
    and library versions, and the files that it produces are there. When a point runs again, so does what
    needs it. `fresh` runs everything. All parameters are checked before the first point starts.

    Raises:
        ConfigError: a parameter that a notebook does not declare, a folder that cannot be written, or that
            another run holds.
    """
    folder = folder.resolve()
    executor = executor or Here(watcher.tick)
    need_installed(["papermill", "ipykernel"], extra="bench")  # else every notebook would fail: "Kernel died"
    declared = {point.name: check_parameters(point.notebook, point.parameters) for point in suite.points}
    for name in ("notebooks", "artifacts"):
        make_folder(folder / name)
    with hold_lock(folder / ".lock", doing=f"suite {suite.name}"):
        store = RecordStore(folder / "records.jsonl")
        done = {} if fresh else latest(store.read())
        code = code_hash()
        shared = {
            "id": uuid.uuid4().hex, "round": 0, "place": 0, "pair": "", "worker": "", "key": "", "code": code,
            "tier": "", "suite": file_hash(suite.path),
        }  # fmt: skip
        keys: dict[str, str] = {}
        statuses: dict[str, str] = {}
        for number, point in enumerate(suite.points, start=1):
            watcher.started(point, number, len(suite.points))
            missing = [need for need in point.needs if statuses.get(need) in ("failed", "skipped")]
            keys[point.name] = point_key(point, code, [keys[need] for need in point.needs])
            if missing:
                reason = f"needs {', '.join(missing)}, which did not succeed"
                store.append(
                    _skipped(suite, point, reason, {**shared, "place": number - 1, "key": keys[point.name]})
                )
                statuses[point.name] = "skipped"
                watcher.ended(point, "skipped", 0.0, reason)
            elif _is_done(point, done, keys, statuses, suite, folder / "artifacts"):
                statuses[point.name] = "kept"
                watcher.ended(point, "kept", 0.0, "")
            else:
                fills = [name for name in ("artifacts", "record_path") if name in declared[point.name]]
                block = {**shared, "place": number - 1, "key": keys[point.name]}
                task = _task(suite, point, fills, folder, block)
                ended = executor.submit(task).result()
                for line in ended.records:
                    store.append(RunRecord.from_json(line))
                statuses[point.name] = "failed" if ended.error else "done"
                watcher.ended(point, statuses[point.name], ended.wall_s, ended.error)
    return SuiteResult(statuses, folder)


def latest(records: list[RunRecord]) -> dict[str, RunRecord]:
    """Return the newest record of each subject."""
    return {record.subject: record for record in records}


def _task(suite: Suite, point: Point, fills: list[str], folder: Path, block: dict[str, Any]) -> Task:
    return Task(
        subject=f"{suite.name}/{point.name}",
        title=point.title,
        notebook=str(point.notebook.resolve()),
        parameters=dict(point.parameters),
        timeout_s=point.timeout_s,
        memory_bytes=point.memory_bytes,
        artifacts=str(folder / "artifacts"),
        folder=str(folder),
        stem=re.sub(r"[^A-Za-z0-9_.=-]+", "_", point.name),
        produces=list(point.produces),
        run=block,
        fills=fills,
    )


def _skipped(suite: Suite, point: Point, reason: str, block: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        subject=f"{suite.name}/{point.name}",
        parameters=dict(point.parameters),
        metrics=(),
        notes={"reason": reason, "title": point.title},
        status="skipped",
        run={**block, "artifacts": {}, "reference": "", "executed": ""},
    )


def _is_done(
    point: Point,
    done: Mapping[str, RunRecord],
    keys: Mapping[str, str],
    statuses: Mapping[str, str],
    suite: Suite,
    artifacts: Path,
) -> bool:
    record = done.get(f"{suite.name}/{point.name}")
    return (
        record is not None
        and record.status == "done"
        and record.run.get("key") == keys[point.name]
        and all(statuses[need] == "kept" for need in point.needs)
        and all(_is_unchanged(artifacts / name, record.run["artifacts"].get(name)) for name in point.produces)
    )


def _is_unchanged(path: Path, wanted: str | None) -> bool:
    return path.is_file() and file_hash(path) == wanted
