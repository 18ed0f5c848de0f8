"""One point: a notebook run in a process of its own, within limits, and the records that come of it.

`Task` in and `PointResult` out are plain data, so that a point runs here or on another machine. Nothing here
writes to a store: that is the runner's alone.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from scalelab.bench.keys import file_hash
from scalelab.bench.reference import REFERENCE, measure_reference
from scalelab.core.errors import DataError, RunFailed
from scalelab.core.machine import Neighbours
from scalelab.core.processes import run
from scalelab.core.records import Metric, RecordStore, RunRecord, metric


@dataclass(frozen=True)
class Task:
    """What to run, where, within which limits. Paths are of the machine that runs it."""

    subject: str
    """``suite/point``"""
    title: str
    notebook: str
    parameters: dict[str, Any]
    timeout_s: float
    memory_bytes: int | None
    """limit on the resident memory of the point's process tree; None: no limit"""
    artifacts: str
    """folder of the files that points leave for later points"""
    folder: str
    """folder of results: the executed notebook goes to ``notebooks/`` in it"""
    stem: str
    """name of the executed notebook, without its ending"""
    produces: list[str]
    """files that the point leaves in `artifacts`"""
    run: dict[str, Any]
    """of the record: id, round, place, pair, key, code, tier, suite; worker too, where it has a name"""
    fills: list[str] = field(default_factory=lambda: ["artifacts", "record_path"])
    """parameters of the notebook that get their value where it runs"""
    inputs: list[str] = field(default_factory=list)
    """files in `artifacts` that the points before it left for it"""


@dataclass(frozen=True)
class PointResult:
    """How a point ended."""

    records: list[str]
    """lines of JSON: what the notebook recorded, or one record of its failure; each with its run block"""
    executed: str
    """path of the executed notebook below the folder of results; empty: there is none"""
    produced: dict[str, str]
    """sha256 of each file that it left"""
    wall_s: float
    """of the child process"""
    error: str = ""
    """why it failed; empty: it did not"""


class Executor(Protocol):
    """Whoever runs points: this thread, or the workers of a cluster."""

    slots: int
    """how many points at one time"""

    def submit(self, task: Task, *, group: str = "") -> Future[PointResult]:
        """Run a task; those of one `group` (not empty) run on one machine."""


class Here:
    """Runs each point to its end in the calling thread: `submit` returns when it is done."""

    slots = 1

    def __init__(self, on_poll: Callable[[], None] | None = None):
        self._on_poll = on_poll

    def submit(self, task: Task, *, group: str = "") -> Future[PointResult]:
        """Run a task."""
        ended: Future[PointResult] = Future()
        ended.set_result(run_point(task, self._on_poll))
        return ended


def run_point(task: Task, on_poll: Callable[[], None] | None = None) -> PointResult:
    """Run one point in a child process; a broken one is a result like another.

    The reference workload is timed just before and just after. An executed notebook of an earlier run is
    removed first: what lies there afterwards is this run's.

    Args:
        on_poll: called ten times a second while the child runs.

    Raises:
        OSError: the folders cannot be written (a full disk).
    """
    folder = Path(task.folder)
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    beside = Neighbours()
    before_s = measure_reference()
    busy = round(beside.share() * (os.cpu_count() or 1), 2)
    started_s = time.monotonic()
    found: list[RunRecord] = []
    produced: dict[str, str] = {}
    spent: list[Metric] = []
    error = None
    try:
        found, spent = _run_notebook(task, folder, on_poll)
        produced = _hashes(task)
    except (RunFailed, DataError) as problem:
        said = _without_kernels_own(problem.message) + _running_cell(folder, task.stem)
        error = RunFailed(said, hint=problem.hint)
        found = [RunRecord(task.subject, {}, (), {"error": str(error)}, status="failed")]
    wall_s = time.monotonic() - started_s
    executed = _executed(folder, task.stem)
    block = run_block(
        task.run, artifacts=produced, reference=REFERENCE, executed=executed, records=len(found)
    )
    reference_s = (before_s, measure_reference())
    records = [
        replace(
            record,
            subject=task.subject,
            parameters={**record.parameters, **task.parameters},
            metrics=(*record.metrics, *spent),
            notes={**record.notes, "title": task.title, "busy_cores_before": busy},
            reference_s=reference_s,
            run=block,
        ).to_json()
        for record in found
    ]
    return PointResult(records, executed, produced, wall_s, error.message if error else "")


def run_block(
    given: Mapping[str, Any],
    *,
    artifacts: Mapping[str, str] | None = None,
    reference: str = "",
    executed: str = "",
    records: int = 1,
) -> dict[str, Any]:
    """Return a record's run block from what the runner knows and what came out.

    Args:
        given: id, round, place, pair, key, code, tier, suite; and worker, where it has a name.
        artifacts: sha256 of each file that the point left.
        reference: name of the reference workload; empty: not taken.
        executed: path of the executed notebook below the folder of results; empty: there is none.
        records: how many the point wrote, all of them with this block.
    """
    return {
        "worker": "",
        **given,
        "artifacts": dict(artifacts or {}),
        "reference": reference,
        "executed": executed,
        "records": records,
    }


def _run_notebook(
    task: Task, folder: Path, on_poll: Callable[[], None] | None
) -> tuple[list[RunRecord], list[Metric]]:
    """Return what the notebook recorded, and what it took."""
    given, written, executed = (
        folder / "notebooks" / f"{task.stem}{ending}" for ending in (".parameters.json", ".jsonl", ".ipynb")
    )
    for path in (written, executed):
        path.unlink(missing_ok=True)
    own = {"artifacts": task.artifacts, "record_path": str(written)}
    filled = {name: own[name] for name in task.fills}
    given.write_text(json.dumps({**task.parameters, **filled}), encoding="utf-8")
    command = [sys.executable, "-m", "scalelab.bench.execute", task.notebook, str(executed), str(given)]
    # a point that is killed (limit, Ctrl-C) removes nothing itself: queues, plans, sockets
    with tempfile.TemporaryDirectory(prefix="scalelab-point-", ignore_cleanup_errors=True) as temporary:
        finished = run(
            command,
            timeout_s=task.timeout_s,
            memory_bytes=task.memory_bytes,
            env=dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary),
            on_poll=on_poll,
            name=Path(task.notebook).name,
        )
    if finished.returncode != 0:
        raise RunFailed(_reason(finished.output))
    name = Path(task.notebook).name
    records = RecordStore(written).read()
    if not records:
        raise RunFailed(f"{name} wrote no record", hint="end it with write_record(...)")
    written.unlink()
    spent = [
        metric("point_seconds", "s", finished.wall_s),
        metric("point_memory", "B", finished.peak_memory_bytes),
    ]
    return records, spent


def _hashes(task: Task) -> dict[str, str]:
    artifacts = Path(task.artifacts)
    for name in task.produces:
        if not (artifacts / name).is_file():
            raise RunFailed(
                f"{Path(task.notebook).name} left no {name}",
                hint="write it to the folder that the parameter `artifacts` names, or mend `produces`",
            )
    return {name: file_hash(artifacts / name) for name in task.produces}


def _executed(folder: Path, stem: str) -> str:
    """Return the path of the executed notebook, if it is whole: a killed point may have been writing it."""
    path = folder / "notebooks" / f"{stem}.ipynb"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return path.relative_to(folder).as_posix()


def _without_kernels_own(message: str) -> str:
    """Return a message without what every kernel says as it starts."""
    lines = [line for line in message.splitlines() if not line.startswith("[IPKernelApp] WARNING")]
    return "\n".join(lines).removesuffix("; its last output:")


def _running_cell(folder: Path, stem: str) -> str:
    """Say which cell was running when a point was killed; empty: it was not."""
    try:
        notebook = json.loads((folder / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["metadata"].get("papermill", {}).get("status") == "running":
            return f"\ncell {number} was running: {''.join(cell['source']).strip().partition(chr(10))[0]}"
    return ""


def _reason(output: str) -> str:
    """Return why a notebook failed: what `execute` said of the cell, or the last line of a traceback."""
    _, mark, said = f"\n{output}".rpartition("\ncell ")
    return f"cell {said}" if mark else output.rpartition("\n")[2] or "the process said nothing"
