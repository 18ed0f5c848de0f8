"""Run a suite: each point in a process of its own, a broken one recorded and the rest carried on.

A folder of results holds ``records.jsonl`` (the store), ``notebooks/`` (executed, with outputs),
``artifacts/`` (files that points leave for later points), and ``suite.toml`` (as it was run).
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from scalelab.bench.finished import Finished
from scalelab.bench.keys import code_hash, point_key
from scalelab.bench.parameters import check_parameters
from scalelab.bench.point import Executor, Here, PointResult, Task, run_block
from scalelab.bench.remaining import Remaining, estimate, seconds_spent
from scalelab.bench.schedule import Visit, visits
from scalelab.bench.suite import Point, Suite
from scalelab.core.errors import ResourceError
from scalelab.core.jsonl import append_line
from scalelab.core.lazy import need_installed
from scalelab.core.locks import hold_lock
from scalelab.core.machine import check_room
from scalelab.core.paths import make_folder
from scalelab.core.records import Damage, RecordStore, RunRecord
from scalelab.core.units import MIB

_TICK_S = 0.1
_ROOM_BYTES = 32 * MIB
"""free disk, below which no point begins"""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FILLS = ("artifacts", "record_path")
"""parameters that a run sets, where a notebook declares them"""
_WORSE = ("kept", "done", "skipped", "failed")


class Watcher(Protocol):
    """Sees a suite run; the progress display of the command line is one."""

    def started(self, point: Point, number: int, total: int, remaining: Remaining | None = None) -> None:
        """A round of a point begins, the `number`-th of `total`; the rest, with it, takes `remaining`."""

    def tick(self) -> None:
        """Ten times a second while points run."""

    def ended(self, point: Point, status: str, seconds: float, detail: str) -> None:
        """It ended as ``done``, ``kept`` (finished in an earlier run), ``failed`` or ``skipped``."""


@dataclass(frozen=True)
class SuiteResult:
    """How each point ended: ``done``, ``kept``, ``failed`` or ``skipped``."""

    statuses: Mapping[str, str]
    """of a point with several rounds: the worst of them"""
    folder: Path
    damaged: tuple[Damage, ...] = ()
    """lines of the store that are no records; they stay as they are"""

    @property
    def is_complete(self) -> bool:
        """No point failed or was skipped."""
        return all(status in ("done", "kept") for status in self.statuses.values())


def run_suite(
    suite: Suite, folder: Path, *, watcher: Watcher, fresh: bool = False, executor: Executor | None = None
) -> SuiteResult:
    """Run what is not yet done of `suite` and record it under `folder`.

    A round of a point is done when the store has a successful record of the same notebook, modules beside it,
    parameters, package code, library versions and input files, and the files that the point left are there,
    unchanged. `fresh` runs everything. All parameters are checked before the first point starts.

    Args:
        executor: who runs the points; without one they run here, one after the other.

    Raises:
        ConfigError: a parameter that a notebook does not declare, a folder that cannot be written, or that
            another run holds.
        ResourceError: the disk is full. What is recorded stays.
    """
    folder = folder.resolve()
    fills = check_suite(suite)
    for name in ("notebooks", "artifacts"):
        make_folder(folder / name)
    with hold_lock(folder / ".lock", doing=f"suite {suite.name}"), _full_disk_said(folder):
        return _Run(suite, fills, folder, watcher, executor or Here(watcher.tick), fresh=fresh).to_its_end()


def check_suite(suite: Suite) -> dict[str, list[str]]:
    """Make sure that the suite can begin; return for each point the parameters that a run sets.

    Raises:
        ConfigError: a parameter that a notebook does not declare, or a value of another type.
        MissingDependency: what runs notebooks is not installed.
    """
    need_installed(["papermill", "ipykernel"], extra="bench")  # else every notebook would fail: "Kernel died"
    declared = {point.name: check_parameters(point.notebook, point.parameters) for point in suite.points}
    return {name: [own for own in _FILLS if own in found] for name, found in declared.items()}


class _Run:
    """One call of `run_suite`, from its lock to its end."""

    def __init__(
        self,
        suite: Suite,
        fills: Mapping[str, list[str]],
        folder: Path,
        watcher: Watcher,
        executor: Executor,
        *,
        fresh: bool,
    ):
        self._suite, self._fills, self._folder = suite, fills, folder
        self._watcher, self._executor = watcher, executor
        self._store = folder / "records.jsonl"
        self._damaged: list[Damage] = []
        records = RecordStore(self._store).read(damaged=self._damaged)
        self._finished = Finished([] if fresh else records, folder / "artifacts")
        self._spent = seconds_spent(records, suite.points, suite.name)
        self._visits = visits(suite)
        self._ended: dict[str, list[str]] = {point.name: [] for point in suite.points}
        self._origins: dict[str, str] = {}  # of each point that has ended: its key, and the files it left
        self._running: dict[Future[PointResult], tuple[int, float]] = {}
        self._place = 0
        toml = suite.path.read_bytes()
        if suite.path.resolve() != folder / "suite.toml":
            (folder / "suite.toml").write_bytes(toml)
        self._of_all = {
            "id": uuid.uuid4().hex,
            "code": code_hash(),
            "tier": suite.tier,
            "suite": hashlib.sha256(toml).hexdigest(),
        }
        self._to_run = self._forecast()

    def to_its_end(self) -> SuiteResult:
        waiting = list(range(len(self._visits)))
        try:
            while waiting or self._running:
                ready = None
                if len(self._running) < self._executor.slots:
                    ready = next((number for number in waiting if self._is_ready(number, waiting)), None)
                if ready is not None:
                    waiting.remove(ready)
                    self._begin(ready)
                else:
                    self._collect()
        finally:
            for future in self._running:
                future.cancel()
        statuses = {name: max(ended, key=_WORSE.index) for name, ended in self._ended.items()}
        return SuiteResult(statuses, self._folder, tuple(self._damaged))

    def _is_ready(self, number: int, waiting: Sequence[int]) -> bool:
        """Tell whether all that a visit needs has ended, and all that goes before it in its group."""
        visit = self._visits[number]
        for other_number in [*waiting, *(running for running, _ in self._running.values())]:
            other = self._visits[other_number]
            is_before = other_number < number and visit.group and other.group == visit.group
            if is_before or other.point.name in visit.point.needs:
                return False
        return True

    def _begin(self, number: int) -> None:
        """Start a visit, unless it is done already, or cannot be."""
        visit = self._visits[number]
        point, subject = visit.point, self._subject(visit.point)
        key = self._key(point, self._origins)
        self._watcher.started(_shown(visit), number + 1, len(self._visits), self._remaining())
        broken = [need for need in point.needs if {"failed", "skipped"} & set(self._ended[need])]
        block = {
            **self._of_all, "round": visit.round, "place": self._place, "pair": point.pair, "key": key,
        }  # fmt: skip
        if broken:
            reason = f"needs {', '.join(broken)}, which did not succeed"
            skipped = RunRecord(
                subject,
                dict(point.parameters),
                metrics=(),
                notes={"reason": reason, "title": point.title},
                status="skipped",
                run=run_block(block),
            )
            self._append([skipped.to_json()])
            self._end(number, "skipped", key, {}, 0.0, reason)
        elif self._is_kept(visit, key):
            self._end(number, "kept", key, self._finished.left(subject, key), 0.0, "")
        else:
            check_room(self._folder, disk_bytes=_ROOM_BYTES, memory_bytes=0)
            self._place += 1
            task = Task(
                subject=subject,
                title=point.title,
                notebook=str(point.notebook.resolve()),
                parameters=dict(point.parameters),
                timeout_s=point.timeout_s,
                memory_bytes=point.memory_bytes,
                artifacts=str(self._folder / "artifacts"),
                folder=str(self._folder),
                stem=visit.stem,
                produces=list(point.produces),
                run=block,
                fills=self._fills[point.name],
                inputs=self._inputs(point),
            )
            began_s = time.monotonic()
            self._running[self._executor.submit(task, group=visit.group)] = (number, began_s)

    def _collect(self) -> None:
        """Take the results that are there, or wait a tick for one."""
        done, _ = wait(self._running, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        self._watcher.tick()
        for future in sorted(done, key=lambda one: one.exception() is not None):  # what is good is recorded
            number, began_s = self._running.pop(future)
            visit, seconds = self._visits[number], time.monotonic() - began_s
            result = future.result()
            self._append(result.records)
            if not result.error:
                self._spent.setdefault(visit.point.name, []).append(seconds)
            status = "failed" if result.error else "done"
            self._end(
                number, status, self._key(visit.point, self._origins), result.produced, seconds, result.error
            )

    def _end(
        self, number: int, status: str, key: str, left: Mapping[str, str], seconds: float, detail: str
    ) -> None:
        visit = self._visits[number]
        name = visit.point.name
        self._to_run.discard(number)
        self._ended[name].append(status)
        self._origins[name] = _origin(key, left)
        self._watcher.ended(_shown(visit), status, seconds, detail)

    def _append(self, lines: Sequence[str]) -> None:
        append_line(self._store, "\n".join(lines).encode())

    def _subject(self, point: Point) -> str:
        return f"{self._suite.name}/{point.name}"

    def _key(self, point: Point, origins: Mapping[str, str]) -> str:
        return point_key(point, self._of_all["code"], [origins[need] for need in point.needs])

    def _is_kept(self, visit: Visit, key: str) -> bool:
        """Tell whether a round needs no run: the last one's files must be there too, as they were left."""
        point, subject = visit.point, self._subject(visit.point)
        is_last = visit.round == point.rounds - 1
        return self._finished.has(subject, key, visit.round) and (
            not is_last or self._finished.is_there(subject, key, point.produces)
        )

    def _forecast(self) -> set[int]:
        """Return the visits that will run, as far as can be told: what needs one that runs is among them."""
        origins: dict[str, str] = {}
        keys: dict[str, str] = {}
        stale: set[str] = set()
        to_run = set()
        for number, visit in enumerate(self._visits):
            point = visit.point
            if not stale.intersection(point.needs):
                key = keys.get(point.name) or self._key(point, origins)
                keys[point.name] = key
                origins[point.name] = _origin(key, self._finished.left(self._subject(point), key))
                if self._is_kept(visit, key):
                    continue
            stale.add(point.name)
            to_run.add(number)
        return to_run

    def _remaining(self) -> Remaining:
        left = [self._visits[number] for number in sorted(self._to_run)]
        return estimate(left, self._spent, slots=self._executor.slots)

    def _inputs(self, point: Point) -> list[str]:
        """Return the files that what it needs, and what that needs, leave."""
        found: dict[str, None] = {}
        for need in map(self._suite.point, point.needs):
            found |= dict.fromkeys([*self._inputs(need), *need.produces])
        return list(found)


def _origin(key: str, left: Mapping[str, str]) -> str:
    return json.dumps([key, dict(left)], sort_keys=True)


def _shown(visit: Visit) -> Point:
    """Return the point with its round in its title."""
    point = visit.point
    of = f", round {visit.round + 1} of {point.rounds}" if point.rounds > 1 else ""
    return replace(point, title=point.title + of)


@contextmanager
def _full_disk_said(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ResourceError(
            f"the disk of {folder} is full: {error}",
            hint="what is recorded is kept: free some space, and the same command goes on from there",
        ) from None
