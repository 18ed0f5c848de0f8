"""A running stack in one's hands: for the command line, for notebooks and for tests.

with running_stack(model_path="reader.onnx", workers=2) as stack:
    requests.post(stack.url + "/v1/pins?wait_s=1", data=image_bytes, ...)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.core.errors import RunFailed
from scalelab.core.paths import make_folder, runs_folder
from scalelab.core.processes import start, stop_tree
from scalelab.serve.crew import READY_TIMEOUT_S
from scalelab.serve.fetch import fetch_json
from scalelab.serve.settings import BROKER_VARIABLE, StackSettings
from scalelab.serve.state import BROKEN, READY, StackState, clean_stale, running

_STOP_S = 60.0


@dataclass(frozen=True)
class Stack:
    """A stack that runs, known by its folder."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """the supervisor, where it is a child of this process"""

    @property
    def url(self) -> str:
        """Where the gateway listens: ``http://127.0.0.1:PORT``."""
        return self.state().url

    def state(self) -> StackState:
        """Return what runs now.

        Raises:
            RunFailed: nothing runs here any more.
        """
        state = StackState.read(self.folder)
        if state is None:
            raise RunFailed(f"no stack runs in {self.folder}", hint="start one: scalelab serve up --detach")
        return state

    def pids(self) -> dict[str, int]:
        """Return the process of each member: broker, gateway, worker-1, ..., supervisor."""
        state = self.state()
        return {"supervisor": state.supervisor.pid, **{name: c.pid for name, c in state.children.items()}}

    def worker_pids(self) -> list[int]:
        """Return the processes that run the model and live."""
        named = sorted(self.state().children.items())
        return [
            child.pid for name, child in named if name.startswith(("worker", "naive")) and child.is_alive()
        ]

    def kill_worker(self, index: int = 0) -> int:
        """Kill a worker as if the machine had (SIGKILL); return its pid. Another one is started."""
        import psutil

        pid = self.worker_pids()[index]
        psutil.Process(pid).kill()
        return pid

    def stats(self) -> dict[str, Any]:
        """Return the gateway's counters and the state of its queue; the naive app counts nothing."""
        if "gateway" not in self.state().children:
            return {}
        return fetch_json(self.url + "/v1/stats")

    def memory_bytes(self) -> dict[str, int]:
        """Return the resident memory of each member [bytes]."""
        import psutil

        found = {}
        for name, pid in self.pids().items():
            try:
                found[name] = psutil.Process(pid).memory_info().rss
            except psutil.NoSuchProcess:  # restarted while we looked
                continue
        return found

    def stop(self) -> None:
        """End the stack: requests under way are answered, queued tasks stay in the broker's journal."""
        state = StackState.read(self.folder)
        if state is not None:
            if state.supervisor.is_alive():
                stop_tree(state.supervisor.pid, grace_s=_STOP_S)
            for child in state.children.values():
                if child.is_alive():
                    stop_tree(child.pid, grace_s=1.0)
            (self.folder / "state.json").unlink(missing_ok=True)
        if self.process is not None:
            self.process.wait()


def default_folder() -> Path:
    """Return where the stack of the command line keeps its state, logs and queue."""
    return runs_folder() / "serve"


def start_stack(settings: StackSettings, *, folder: Path, broker: str = "", detached: bool = False) -> Stack:
    """Start a supervisor process and return when the stack is ready.

    Unless `detached`, it ends with this process; on Linux with the *thread* that called, so call this from
    one that lives as long as the stack.

    Raises:
        ScalelabError: as the supervisor found it: a port in use, no broker, a worker that cannot start.
    """
    settings.check(broker)
    if (state := running(folder)) is not None:
        raise RunFailed(f"a stack runs at {state.url} already", hint="scalelab serve down ends it")
    make_folder(folder)
    clean_stale(folder)
    settings.write(folder / "settings.json")
    command = [sys.executable, "-m", "scalelab.serve.supervisor", str(folder)]
    env = {BROKER_VARIABLE: broker}  # set even if empty: a broker in our own environment was not asked for
    with (folder / "supervisor.log").open("ab") as output:
        child = start(
            [*command, "--detached"] if detached else command, env=env, output=output, detached=detached
        )
    try:
        _wait_ready(folder, child)
    except BaseException:
        stop_tree(child.pid)
        child.wait()
        raise
    return Stack(folder, child)


@contextmanager
def running_stack(
    model_path: str | os.PathLike[str], *, broker: str = "", folder: Path | None = None, **options: Any
) -> Iterator[Stack]:
    """Run a stack for the length of a ``with`` block; nothing is left behind it.

    Args:
        model_path: the model's file.
        broker: URL of a broker that runs already; empty starts our own.
        folder: where logs and queue are kept; None takes a temporary one, which is removed.
        options: fields of `StackSettings`: workers, threads, port, naive, model, policy, limits.
    """
    settings = StackSettings(model_path=str(Path(model_path).resolve()), **options)
    home = folder or Path(tempfile.mkdtemp(prefix="scalelab-serve-"))
    try:
        stack = start_stack(settings, folder=home, broker=broker)
        try:
            yield stack
        finally:
            stack.stop()
    finally:
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


def _wait_ready(folder: Path, child: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S + 10
    while True:
        state = StackState.read(folder)
        if state is not None and state.phase == READY:
            return
        if state is not None and state.phase == BROKEN:
            child.wait()
            (folder / "state.json").unlink(missing_ok=True)
            state.raise_error()
        if child.poll() is not None:
            tail = (folder / "supervisor.log").read_text(errors="replace")[-1000:]
            raise RunFailed(
                f"the supervisor ended with exit code {child.returncode}:\n{tail}", hint=str(folder)
            )
        if time.monotonic() > deadline_s:
            raise RunFailed("the stack was not ready in time", hint=f"look at the logs in {folder}")
        time.sleep(0.02)
