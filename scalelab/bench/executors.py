"""Run points on the workers of a Dask cluster: one at a time on each, whichever is free.

A lane is a thread here that feeds one worker. It takes the oldest point that may run there, sends it, and
waits. A point whose worker is lost goes back to the head of the queue and runs on another, up to
`ATTEMPTS` times in all; then it has failed: what ends three workers would end the fourth. Whatever a lost
worker might still send is not listened to, so a point has one result. Points of one group stay on the
worker that got the first of them, until that worker is lost; then the rest of the group moves together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from scalelab.bench.keys import code_hash
from scalelab.bench.point import PointResult, Task, run_block
from scalelab.bench.remote import differs, introduce, pack, run_parcel, unpack
from scalelab.core.cluster import connect
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.records import RunRecord

ATTEMPTS = 3
"""workers that a point may lose before it counts as failed"""
_PATIENCE_S = 60.0
"""how long points wait for a worker when the last one is gone: a nanny starts a new one"""
_LOOK_S = 0.5
log = logging.getLogger("scalelab.bench")


@dataclass(eq=False)
class _Job:
    task: Task
    group: str
    ended: Future[PointResult] = field(default_factory=Future)
    lost: list[str] = field(default_factory=list)
    """names of the workers that were lost with it"""


@dataclass(eq=False)
class _Worker:
    address: str
    """as Dask's scheduler knows it; a worker that was started again has another"""
    facts: dict[str, Any] = field(default_factory=dict)
    """what `introduce` said"""
    why_not: str = ""
    """why it gets no points; empty: it gets some"""
    is_known: threading.Event = field(default_factory=threading.Event)
    """it has introduced itself, or was refused"""

    @property
    def name(self) -> str:
        return self.facts.get("name") or self.address


class _Lost(Exception):
    """The worker is gone, and the point that it ran with it."""


class _Unfit(_Lost):
    """The worker is there, but could not run the point at all (no disk, changed code): it gets no more."""


@contextmanager
def open_executor(address: str) -> Iterator[DaskExecutor]:
    """Open the executor of the cluster at ``dask://HOST:PORT``; on leaving, whatever still runs is stopped.

    Raises:
        ConfigError: not such an address, nobody answers there, no worker, or a worker that has other code
            than we have or cannot run notebooks.
    """
    with connect(address) as client:
        executor = DaskExecutor(client, address)
        try:
            executor.start()
            yield executor
        finally:
            executor.stop()


class DaskExecutor:
    """An `Executor` on the workers of a cluster; workers may come and go meanwhile.

    A future of it holds a `PointResult`, or raises what concerns the whole run: `RunFailed` if scheduler or
    workers are gone, OSError if results cannot be written here.
    """

    def __init__(self, client: Any, address: str):
        self._client, self._address, self._code = client, address, code_hash()
        self._jobs: list[_Job] = []
        self._workers: dict[str, _Worker] = {}
        self._home: dict[str, str] = {}  # of each group
        self._changed = threading.Condition()
        self._is_open = True
        self._failure: RunFailed | None = None
        self._threads: list[threading.Thread] = []

    @property
    def slots(self) -> int:
        """How many points can run at one time: workers that are there and fit, one at least."""
        with self._changed:
            return max(1, len(self._usable()))

    def refused(self) -> dict[str, str]:
        """Return, by name, why workers that are there get no points."""
        with self._changed:
            return {worker.name: worker.why_not for worker in self._workers.values() if worker.why_not}

    def submit(self, task: Task, *, group: str = "") -> Future[PointResult]:
        """Queue a task; those of one `group` (not empty) run on one worker, in this order."""
        job = _Job(task, group)
        with self._changed:
            if self._failure:
                job.ended.set_exception(self._failure)
            else:
                self._jobs.append(job)
                self._changed.notify_all()
        return job.ended

    def start(self) -> None:
        """Get to know the workers and begin.

        Raises:
            ConfigError: one has other code, or cannot run notebooks.
        """
        found = [self._meet(address) for address in self._client.nthreads()]
        until = time.monotonic() + _PATIENCE_S
        for worker in found:
            if not worker.is_known.wait(max(0.0, until - time.monotonic())):
                worker.why_not = "it does not answer"
        if refused := [worker for worker in found if worker.why_not]:
            raise ConfigError(
                "; ".join(f"worker {worker.name}: {worker.why_not}" for worker in refused),
                hint="give every worker the same ScaleLab and the same versions as here, and start it again",
            )
        self._begin(self._watch, "dask-watch")

    def stop(self) -> None:
        """Let go of everything: queued futures are cancelled, running points are ended."""
        with self._changed:
            self._is_open = False
            left, self._jobs = self._jobs, []
            self._changed.notify_all()
        for job in left:
            job.ended.cancel()
        until = time.monotonic() + 10
        for thread in self._threads:  # one may wait for a worker that is frozen: it ends with the process
            thread.join(max(0.0, until - time.monotonic()))

    def _begin(self, work: Any, name: str, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _usable(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.facts and not worker.why_not]

    # --- the watch ---

    def _watch(self) -> None:
        """Notice which workers come and go, and end the run if nobody is left."""
        served_s = time.monotonic()
        while self._is_open and not self._failure:
            there = self._look()
            with self._changed:
                for address in self._workers.keys() - there:
                    self._drop(self._workers.pop(address))
                unknown = there - self._workers.keys()
                is_served = not self._jobs or bool(self._usable())
            for address in unknown:
                self._meet(address)
            served_s = time.monotonic() if is_served else served_s
            if time.monotonic() - served_s > _PATIENCE_S:
                why = "; ".join(f"{worker.name}: {worker.why_not}" for worker in self._workers.values())
                self._fail(f"no worker is left at {self._address}" + (f" ({why})" if why else ""))
            with self._changed:
                self._changed.wait_for(lambda: not self._is_open, _LOOK_S)

    def _look(self) -> set[str]:
        """Return the addresses of the workers that the scheduler has; none after the end of the scheduler."""
        try:
            return set(self._client.nthreads())
        except Exception as error:  # of many kinds: closed, refused, reset, timed out
            if self._is_open:
                self._fail(f"the Dask scheduler at {self._address} is gone: {error or type(error).__name__}")
            return set()

    def _fail(self, message: str) -> None:
        with self._changed:
            self._failure = RunFailed(
                message, hint="what has ended is kept: the same command goes on from there"
            )
            left, self._jobs = self._jobs, []
            self._workers.clear()
            self._changed.notify_all()
        for job in left:
            job.ended.set_exception(self._failure)

    def _drop(self, worker: _Worker) -> None:
        """Let go of the groups that lived on `worker`."""
        self._home = {group: at for group, at in self._home.items() if at != worker.address}
        self._changed.notify_all()

    # --- a lane ---

    def _meet(self, address: str) -> _Worker:
        with self._changed:
            worker = self._workers[address] = _Worker(address)
        self._begin(self._feed, f"lane-{address}", worker)
        return worker

    def _feed(self, worker: _Worker) -> None:
        """Get to know a worker, then give it point after point, until it or the run is over."""
        try:
            facts = self._client.run(introduce, workers=[worker.address])[worker.address]
            worker.why_not = differs(facts["code"], self._code)
            worker.facts = facts
        except Exception as error:  # whatever can go wrong on another machine
            worker.why_not = f"it cannot run points: {error}"
        worker.is_known.set()
        if worker.why_not:
            log.warning("worker %s gets no points: %s", worker.name, worker.why_not)
        while not worker.why_not and (job := self._take(worker)):
            try:
                job.ended.set_result(unpack(job.task, self._send(worker, job.task)))
            except _Lost as loss:
                self._give_back(job, worker, loss)
            except Exception as error:  # ours: a file that cannot be read or written
                job.ended.set_exception(error)

    def _take(self, worker: _Worker) -> _Job | None:
        """Wait for a point that may run on `worker`; None: there will be none."""
        with self._changed:
            while self._is_there(worker):
                for job in self._jobs:
                    if self._home.get(job.group, worker.address) == worker.address:
                        self._jobs.remove(job)
                        if job.lost or job.ended.set_running_or_notify_cancel():
                            if job.group:
                                self._home[job.group] = worker.address
                            return job
                        break
                else:
                    self._changed.wait()
        return None

    def _is_there(self, worker: _Worker) -> bool:
        return self._is_open and self._workers.get(worker.address) is worker

    def _send(self, worker: _Worker, task: Task) -> dict[str, Any]:
        """Run a point on `worker` and return its answer.

        Raises:
            _Lost: the worker is gone, or the scheduler, or we stop.
            OSError: a file of ours cannot be read.
        """
        import distributed

        packed, there = pack(task), {"workers": [worker.address], "allow_other_workers": False}
        ended = threading.Event()
        sent = None
        try:
            [parcel] = self._client.scatter([packed], workers=[worker.address], hash=False)
            sent = self._client.submit(run_parcel, parcel, **there, pure=False, retries=0)
            sent.add_done_callback(lambda _: ended.set())
            while True:
                ended.wait(_LOOK_S)
                if not self._is_there(worker):
                    raise _Lost("is gone")
                if sent.done():
                    try:
                        return sent.result(timeout=_PATIENCE_S)
                    except distributed.TimeoutError:  # lost on its way here; or else the point's own
                        if sent.status == "error":
                            raise
        except _Lost:
            raise
        except Exception as error:
            is_its_own = sent is not None and sent.status == "error"
            if is_its_own and not isinstance(error, distributed.KilledWorker):
                raise _Unfit(f"could not run it: {type(error).__name__}: {error}") from None
            raise _Lost(f"is gone: {error}") from None
        finally:
            if sent is not None:
                with suppress(Exception):  # the client may be closed
                    sent.cancel()

    def _give_back(self, job: _Job, worker: _Worker, loss: _Lost) -> None:
        """Queue a point again, first of all; one that lost too many workers has failed."""
        self._look()  # a lost scheduler looks like a lost worker
        with self._changed:
            if isinstance(loss, _Unfit):
                worker.why_not = str(loss)
            elif self._workers.get(worker.address) is worker:
                del self._workers[worker.address]  # if it is there after all, it may introduce itself again
            self._drop(worker)
            job.lost.append(f"{worker.name} {loss}")
            if self._failure or not self._is_open:
                failure = self._failure or RunFailed(f"{job.task.subject} was stopped")
                job.ended.set_exception(failure)
                return
            log.warning("worker %s %s (it had %s)", worker.name, loss, job.task.subject)
            if len(job.lost) < ATTEMPTS:
                self._jobs.insert(0, job)
            else:
                job.ended.set_result(_failed(job, worker))


def _failed(job: _Job, worker: _Worker) -> PointResult:
    """Return the result of a point that no worker survived, as of the last of them."""
    said = f"{len(job.lost)} workers were lost while they ran it: {'; '.join(job.lost)}"
    record = RunRecord(
        subject=job.task.subject,
        parameters=dict(job.task.parameters),
        metrics=(),
        notes={"error": said, "title": job.task.title},
        status="failed",
        machine=worker.facts["machine"],
        git=worker.facts["git"],
        run=run_block({**job.task.run, "worker": worker.name}),
    )
    return PointResult([record.to_json()], "", {}, 0.0, said)
