"""A point on another machine: what it needs travels there as bytes, and what it leaves travels back.

`pack` and `unpack` belong to the runner's side, `introduce` and `run_parcel` are called on a Dask worker.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scalelab.bench.keys import code_hash, modules_beside
from scalelab.bench.point import PointResult, Task, run_point
from scalelab.core.lazy import need_installed
from scalelab.core.machine import fingerprint, git_revision

_alone = threading.Lock()
"""one point at a time in this worker, however many threads Dask gave it, and whoever sent the other one"""


class NotWanted(Exception):
    """Whoever sent the point has left, or given it to another worker: nobody waits for its result."""


@dataclass(frozen=True)
class Answer:
    """What comes back from a worker: the result, and the bytes that it speaks of."""

    result: dict[str, Any]
    notebook: bytes
    artifacts: dict[str, bytes]


def introduce(*, dask_worker: Any = None) -> dict[str, Any]:
    """Say which code this worker has, and what machine it is on.

    Raises:
        MissingDependency: it cannot run notebooks.
    """
    need_installed(["papermill", "ipykernel"], extra="bench")
    return {
        "name": str(dask_worker.name),
        "code": code_hash(),
        "machine": fingerprint(),
        "git": git_revision(),
    }


def pack(task: Task) -> dict[str, Any]:
    """Return a task as plain data without paths of this machine, with the ``files`` that it needs by name.

    Raises:
        OSError: a file cannot be read.
    """
    notebook, artifacts = Path(task.notebook), Path(task.artifacts)
    files = {
        f"source/{path.relative_to(notebook.parent).as_posix()}": path.read_bytes()
        for path in (notebook, *modules_beside(notebook))
    }
    files |= {f"artifacts/{name}": (artifacts / name).read_bytes() for name in task.inputs}
    bare = replace(task, notebook=f"source/{notebook.name}", artifacts="artifacts", folder="results")
    return {"task": asdict(bare), "files": files}


def run_parcel(parcel: Mapping[str, Any]) -> dict[str, Any]:
    """Run what `pack` packed in a temporary folder, one at a time; return an `Answer` as plain data.

    The child process is ended, as at a limit, once nobody waits for it any more.

    Raises:
        RuntimeError: this worker has other code than the runner, now: it changed since it introduced itself.
        NotWanted: nobody waits for the result.
        OSError: nothing can be written here.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def check_wanted() -> None:
        state = worker.state.tasks.get(key)
        if state is None or state.state != "executing":
            raise NotWanted(key)

    # in the worker's own folder: Dask removes what a killed worker left there
    kept = {"prefix": "scalelab-point-", "dir": worker.local_directory, "ignore_cleanup_errors": True}
    with _alone, tempfile.TemporaryDirectory(**kept) as temporary:
        check_wanted()  # another's point may have held the lock for long
        if why := differs(code_hash(), parcel["task"]["run"]["code"]):
            raise RuntimeError(why)
        home = Path(temporary)
        for name, content in parcel["files"].items():
            write(home / name, content)
        with _without_nannys_settings(worker):
            return asdict(_run(home, dict(parcel["task"]), str(worker.name), check_wanted))


def differs(theirs: str, ours: str) -> str:
    """Say that a worker's code is not the runner's; empty if it is."""
    what = "a hash of ScaleLab's files and of the versions of the libraries that decide numbers"
    return "" if theirs == ours else f"its code is {theirs[:12]}, the runner's {ours[:12]} ({what})"


def _run(home: Path, plain: dict[str, Any], worker: str, on_poll: Callable[[], None]) -> Answer:
    for name in ("notebook", "artifacts", "folder"):
        plain[name] = str(home / plain[name])
    task = Task(**{**plain, "run": {**plain["run"], "worker": worker}})
    artifacts = Path(task.artifacts)
    artifacts.mkdir(exist_ok=True)
    result = run_point(task, on_poll)
    return Answer(
        asdict(result),
        (Path(task.folder) / result.executed).read_bytes() if result.executed else b"",
        {name: (artifacts / name).read_bytes() for name in result.produced},
    )


@contextmanager
def _without_nannys_settings(worker: Any) -> Iterator[None]:
    """Take out of the environment what Dask's nanny set there for Dask's own tasks.

    It holds each process to one thread of OpenMP, MKL and OpenBLAS, and trims memory: a point would be
    measured with one core of many. A worker without a nanny has the environment in which it was started.
    """
    import dask

    named = dask.config.get("distributed.nanny.pre-spawn-environ") if worker.nanny else {}
    kept = {name: os.environ.pop(name) for name, value in named.items() if os.environ.get(name) == str(value)}
    try:
        yield
    finally:
        os.environ.update(kept)


def unpack(task: Task, answer: Mapping[str, Any]) -> PointResult:
    """Write what came back to where a run on this machine would have left it; return the result.

    Raises:
        OSError: it cannot be written (a full disk), or is not what the result says of it.
    """
    result = PointResult(**answer["result"])
    for name in task.produces:
        if name in result.produced:
            content = answer["artifacts"][name]
            if hashlib.sha256(content).hexdigest() != result.produced[name]:
                raise OSError(f"{name} is not as the worker hashed it")
            write(Path(task.artifacts) / name, content)
    executed = Path(task.folder) / "notebooks" / f"{task.stem}.ipynb"
    if result.executed:
        write(executed, answer["notebook"])
    else:
        executed.unlink(missing_ok=True)  # an earlier run's
    return result


def write(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path
