"""Child processes that never outlive their parent, and runs with a limit on time and memory.

Three layers, since no single one works everywhere:
- Linux: the kernel kills the child when the parent dies (``PR_SET_PDEATHSIG``), set by a two-line trampoline
  that then becomes the command, so the child keeps its pid. The signal is tied to the *thread* that started
  the child: start children from a thread that lives as long as they should.
- Everywhere: Python children of ours call `die_with_parent`, which watches the parent and the process that
  called `start`, known from the environment: a child whose own parent was gone before it could look would
  wait for ever (a rank of torchrun, which was killed while the rank imported torch).
- A parent that ends in order stops the whole tree itself (`stop_tree`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from scalelab.core.errors import RunFailed
from scalelab.core.units import format_bytes, format_seconds

_TRAMPOLINE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
os.getppid() == int(sys.argv[1]) or sys.exit(143)
os.execvp(sys.argv[2], sys.argv[2:])
"""
_POLL_S = 0.1
_LOOK_S = 0.5
"""between two searches for new processes of a tree: each reads all processes of the machine"""
_STARTED_BY = "SCALELAB_STARTED_BY"


@dataclass(frozen=True)
class Finished:
    """How a child process ended."""

    returncode: int
    output: str
    """stdout and stderr together, the last 64 KiB"""
    wall_s: float
    peak_memory_bytes: int
    """largest resident memory of the whole process tree, sampled ten times a second"""


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[Any] | int | None = None,
    detached: bool = False,
    pipes: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `command` in a process group of its own; it dies with this process unless `detached`.

    Args:
        env: variables on top of this process's environment.
        output: where stdout and stderr go; None inherits.
        pipes: its stdin and stdout are pipes to us, and only stderr goes to `output`.

    Raises:
        RunFailed: the program or the folder `cwd` does not exist.
    """
    argv = [str(part) for part in command]
    if sys.platform == "linux" and not detached:
        _check_program(argv[0], cwd, (env or {}).get("PATH"))
        argv = [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid()), *argv]
    flags: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    try:
        return subprocess.Popen(
            argv,
            env={**os.environ, **(env or {}), _STARTED_BY: "" if detached else str(os.getpid())},
            cwd=cwd,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output if pipes or output is None else subprocess.STDOUT,
            **flags,
        )
    except OSError as error:
        raise RunFailed(
            f"cannot start {argv[0]!r}: {error.strerror}: {error.filename}", hint="is it installed?"
        ) from None


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    memory_bytes: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_poll: Callable[[], None] | None = None,
    name: str = "",
) -> Finished:
    """Run `command` to its end within limits; its whole process tree is gone when this returns.

    Args:
        memory_bytes: limit on the resident memory of the tree.
        name: what an error calls it; empty: the command.
        on_poll: called ten times a second while the child runs (progress bars).

    Raises:
        RunFailed: the limit on time or memory was passed. A non-zero exit is not an error here: look at
            `Finished.returncode`.
    """
    import tempfile

    started = looked = time.monotonic()
    peak = 0
    shown = name or _shown(command)
    with tempfile.TemporaryFile() as output:
        child = start(command, env=env, cwd=cwd, output=output)
        tree = _tree(child.pid)
        try:
            while True:
                try:
                    child.wait(_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    pass
                if time.monotonic() - looked > _LOOK_S:
                    tree, looked = _tree(child.pid), time.monotonic()
                peak = max(peak, _memory(tree))
                if memory_bytes is not None and peak > memory_bytes:
                    raise RunFailed(
                        f"{shown} used {format_bytes(peak)} of memory, "
                        f"its limit is {format_bytes(memory_bytes)}",
                        hint="use a smaller size or tier, or raise the limit",
                    )
                if time.monotonic() - started > timeout_s:
                    raise RunFailed(
                        f"{shown} did not finish in {format_seconds(timeout_s)}; its last output:\n"
                        f"{_tail(output)}",
                        hint="use a smaller size or tier, or raise the limit",
                    )
                if on_poll is not None:
                    on_poll()
        finally:
            stop_tree(child.pid, grace_s=0)
            child.wait()
        return Finished(child.returncode, _tail(output), time.monotonic() - started, peak)


def tree_memory(pid: int) -> int:
    """Return the resident memory of a process and its descendants [bytes]; 0 if it is gone."""
    return _memory(_tree(pid))


def _memory(processes: Sequence[Any]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except Exception:  # psutil's NoSuchProcess and AccessDenied: it ended while we looked
            continue
    return total


def stop_tree(pid: int, *, grace_s: float = 5.0) -> None:
    """End a process and its descendants: ask (SIGTERM), wait up to `grace_s`, then kill.

    A child of ours stays for its `Popen` to reap, so that its exit code is not lost.
    """
    processes = _tree(pid)
    if not processes:
        _kill_group(pid)
        return
    if grace_s > 0:
        _send(processes[:1], "terminate")
        alive = _wait_gone(processes, grace_s)
        processes = list({process.pid: process for process in [*alive, *_tree(pid)]}.values())
    _send(processes, "kill")
    _kill_group(pid)
    _wait_gone(processes, 5)


def is_alive(pid: int, *, started_at: float | None = None) -> bool:
    """Tell whether a process runs (a zombie does not); `started_at` [epoch s] guards against a reused pid."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started_at is None or abs(process.create_time() - started_at) < 1.0
    except psutil.NoSuchProcess:
        return False


def start_time(pid: int) -> float:
    """Return when a process started [epoch s]."""
    import psutil

    return float(psutil.Process(pid).create_time())


def die_with_parent() -> None:
    """End this process soon after its parent is gone. For our own Python children, on every system."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    parent = os.getppid()
    starter = int(os.environ.get(_STARTED_BY) or parent)
    is_alive(parent)  # imports psutil here: the thread must not be in an import when a short process ends

    def watch() -> None:
        while os.getppid() == parent and is_alive(parent) and is_alive(starter):
            time.sleep(1.0)
        os._exit(143)

    threading.Thread(target=watch, name="die-with-parent", daemon=True).start()


def _check_program(program: str, cwd: Path | None, path: str | None) -> None:
    """Refuse here what the trampoline could only report as the program's own failure."""
    where = str((cwd or Path()) / program) if os.path.dirname(program) else program
    if shutil.which(where, path=path) is None:
        raise RunFailed(f"cannot start {program!r}: no such program", hint="is it installed?")


def _tree(pid: int) -> list[Any]:
    import psutil

    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _wait_gone(processes: Sequence[Any], timeout_s: float) -> list[Any]:
    """Wait until the processes have ended; return those that have not.

    Not `psutil.wait_procs`: that reaps our own children, and their `Popen` then reports exit code 0.
    """
    deadline = time.monotonic() + timeout_s
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive


def _runs(process: Any) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(processes: Sequence[Any], what: str) -> None:
    import psutil

    for process in processes:
        try:
            getattr(process, what)()
        except psutil.NoSuchProcess:
            continue


def _kill_group(pid: int) -> None:
    """Kill what is left of the child's process group: grandchildren whose own parent has ended."""
    if hasattr(os, "killpg"):
        try:
            if os.getpgid(0) != pid:
                os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 65536))
    return output.read().decode(errors="replace").strip()


def _shown(command: Sequence[str]) -> str:
    text = " ".join(str(part) for part in command)
    return text if len(text) <= 100 else text[:97] + "..."
