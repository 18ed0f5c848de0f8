"""Each system: how it is started on a model, where its requests go, what its processes are."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from peers.load import Door, with_peers
from peers.workload import PIDS_VARIABLE, TOKENS, WORKERS, Given, Model, Workload
from scalelab.core.errors import RunFailed
from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree

TYPES = {"raw": "application/octet-stream", "json": "application/json"}
BODIES = 64
START_TIMEOUT_S = 60.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
DoorMaker = Callable[[int, str], dict[str, Door]]


@dataclass(frozen=True)
class System:
    """One way to serve a model."""

    name: str
    title: str
    bodies: tuple[str, ...]
    """``raw`` or ``json`` or both, where one and the same server takes both"""
    command: Callable[[str, Given], list[str]] | None = None
    """the peers' Python and what to serve -> the command; None: `scalelab serve`"""
    path: str = "/predict"
    broker: str = ""
    """of ours"""
    package: str = ""
    """of the peer, as `requirements.txt` names it"""
    wrap: bool = False
    """a JSON body holds a list of one item"""
    options: Mapping[str, Any] = field(default_factory=dict)


def _module(name: str, *more: str) -> Callable[[str, Given], list[str]]:
    return lambda python, given: [python, "-m", f"peers.{name}", *more]


def _uvicorn(workers: int) -> Callable[[str, Given], list[str]]:
    quiet = ["--log-level", "warning", "--no-access-log"]
    return lambda python, given: [
        python, "-m", "uvicorn", "peers.fastapi_app:app", "--host", "127.0.0.1", "--port", str(given.port),
        "--workers", str(workers), *quiet,
    ]  # fmt: skip


def _bentoml(python: str, given: Given) -> list[str]:
    return [python, "-m", "bentoml", "serve", "peers.bentoml_service:Predictor", "--host", "127.0.0.1",
            "--port", str(given.port), "--do-not-track", "--quiet"]  # fmt: skip


def _mosec(python: str, given: Given) -> list[str]:
    return [python, "-m", "peers.mosec_server", "--address", "127.0.0.1", "--port", str(given.port),
            "--log-level", "warning", "--timeout", "30000"]  # fmt: skip


def _celery(python: str, given: Given) -> list[str]:
    return [sys.executable, "-m", "peers.celery_stack", python, str(given.port)]


SYSTEMS = {
    system.name: system
    for system in (
        System("ours", "ScaleLab, local broker", ("json", "raw")),
        System("ours-valkey", "ScaleLab, embedded Valkey", ("json",), broker="embedded:"),
        System("mosec-raw", "mosec", ("raw",), _mosec, "/inference", package="mosec"),
        System("mosec-json", "mosec", ("json",), _mosec, "/inference", package="mosec"),
        System("fastapi-2", "FastAPI, model inside, 2 processes", ("json",), _uvicorn(2), package="fastapi"),
        System("fastapi-1", "FastAPI, model inside, 1 process", ("json",), _uvicorn(1), package="fastapi"),
        System("litserve", "LitServe", ("json",), _module("litserve_server"), package="litserve"),
        System("bentoml", "BentoML", ("json",), _bentoml, package="bentoml", wrap=True),
        System("celery", "Celery + FastAPI + Redis", ("json",), _celery, package="celery"),
        System("naive", "ScaleLab's naive app", ("json", "raw"), options={"naive": True}),
    )
}


@dataclass(frozen=True)
class Running:
    """A system that answers."""

    system: System
    doors: dict[str, Door]
    """kind of body -> where it goes"""
    start_s: float
    """from the start of the first process to the first answer [s]"""
    root: int
    """the process that all others descend from"""
    pids: Path

    def memory_bytes(self) -> float:
        """Return the memory of all its processes, shared pages divided among those who share them (PSS)."""
        return self._sum(lambda process: float(process.memory_full_info().pss))

    def cpu_s(self) -> float:
        """Return the CPU seconds that all its processes have used."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, of: Callable[[psutil.Process], float]) -> float:
        root, total = psutil.Process(self.root), 0.0
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += of(process)
        return total

    def kill_worker(self) -> int:
        """Kill one process that holds the model, as if the machine had (-9); return its pid."""
        alive = [int(path.name) for path in sorted(self.pids.iterdir()) if psutil.pid_exists(int(path.name))]
        if not alive:
            raise RunFailed(f"no process of {self.system.name} holds the model", hint="did its start fail?")
        os.kill(alive[0], signal.SIGKILL)
        return alive[0]


@contextmanager
def running(
    system: System, workload: Workload, model_path: Path, python: Path, *, max_batch: int
) -> Iterator[Running]:
    """Start a system on free ports, wait for its first right answer, and end it with all its processes.

    Raises:
        RunFailed: no answer in time, or a wrong one; the message has the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix=f"peers-{system.name}-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        pids = folder / "pids"
        pids.mkdir()
        given = Given(workload, str(model_path), free_port(), system.bodies == ("raw",), max_batch)
        makes = _door_maker(system, given)  # opens the model here: before the clock, and before pids are kept
        told = {**given.environment(), **with_peers(), **_ONE_THREAD, PIDS_VARIABLE: str(pids)}
        started_s = time.perf_counter()
        if system.command is None:
            with _told(told):
                yield from _ours(system, given, folder, makes, started_s)
            return
        with (folder / "log").open("wb") as log:
            child = start(system.command(str(python), given), env=told, cwd=folder, output=log)
        try:
            doors = makes(given.port, system.path)
            _wait(system, doors, lambda: child.poll(), folder / "log")
            yield Running(system, doors, time.perf_counter() - started_s, child.pid, pids)
        finally:
            stop_tree(child.pid, grace_s=5.0)
            child.wait()


def _ours(
    system: System, given: Given, folder: Path, makes: DoorMaker, started_s: float
) -> Iterator[Running]:
    from urllib.parse import urlsplit

    from scalelab.serve import BatchPolicy, running_stack

    contract = "scalelab.serve.tokens:CONTRACT" if given.workload is TOKENS else "peers.digits:CONTRACT"
    with running_stack(
        given.model_path, model="peers.workload:open_model", contract=contract, workers=WORKERS,
        broker=system.broker, policy=BatchPolicy(max_batch=given.max_batch), **system.options,
    ) as stack:  # fmt: skip
        port = urlsplit(stack.url).port
        assert port is not None
        doors = makes(port, f"/v1/{given.workload.name}?wait_s=20")
        _wait(system, doors, lambda: None, stack.folder / "gateway.log")
        yield Running(
            system, doors, time.perf_counter() - started_s, stack.pids()["supervisor"], folder / "pids"
        )


def _door_maker(system: System, given: Given) -> DoorMaker:
    """Return what makes the doors of a port and a path: bodies and right labels are known before."""
    workload = given.workload
    items = workload.items(BODIES)
    labels = tuple(answer["label"] for answer in Model(given.model_path).predict_batch(items))
    bodies = {
        "raw": tuple(item.tobytes() for item in items),
        "json": tuple(
            b'{"items":[%b]}' % workload.json_body(item).partition(b":")[2][:-1]
            if system.wrap
            else workload.json_body(item)
            for item in items
        ),
    }
    return lambda port, path: {
        kind: Door("127.0.0.1", port, path, TYPES[kind], bodies[kind], labels) for kind in system.bodies
    }


def _wait(system: System, doors: Mapping[str, Door], ended: Callable[[], int | None], log: Path) -> None:
    """Poll until a request is answered well, then make sure that each kind of body gets the right answers."""
    import http.client
    import json
    import re

    def ask(door: Door, number: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(door.host, door.port, timeout=20)
        try:
            connection.request("POST", door.path, door.bodies[number], {"Content-Type": door.content_type})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    first = next(iter(doors.values()))
    deadline_s = time.monotonic() + START_TIMEOUT_S
    answer: tuple[int, bytes] = (0, b"")
    while answer[0] != 200:
        code = ended()
        if code is not None or time.monotonic() > deadline_s:
            why = f"ended with exit code {code}" if code is not None else f"answered {answer!r} at last"
            raise RunFailed(f"{system.name} {why}:\n{_tail(log)}", hint="start its driver by hand")
        try:
            answer = ask(first, 0)
        except OSError:
            time.sleep(0.02)
    for door in doors.values():
        for number in range(8):
            status, body = ask(door, number)
            label = re.search(rb'"label": *(\d+)', body)
            if status != 200 or label is None or int(label[1]) != door.labels[number]:
                raise RunFailed(
                    f"{system.name} answers {status} {body[:200]!r} to item {number}, "
                    f"its label is {door.labels[number]}; the body was {door.bodies[number][:60]!r}",
                    hint=json.dumps({"log": _tail(log)}),
                )


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:] if log.exists() else "(no log)"


@contextmanager
def _told(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the children of `scalelab serve`, which inherits ours."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
