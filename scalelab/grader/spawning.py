"""A fresh process for each submission, where a system has no fork (Windows); it works everywhere.

The process connects back to the judge over the loopback interface and shows a token that only it was given,
on its standard input. It has limits where the system has them, a clean environment, a working folder of its
own, and no walls: files and network are open to it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.processes import die_with_parent, is_alive, stop_tree, tree_memory
from scalelab.grader.ending import Ending
from scalelab.grader.frames import receive_exactly, receive_frame, send_frame
from scalelab.grader.limits import Limits
from scalelab.grader.warming import bare_environment, named, warm_up

_START_S = 900.0  # set-up cells may train something
_TOKEN_BYTES, _TOKEN_S = 32, 5.0
_TICK_S, _GRACE_S = 0.05, 0.05
_FOLDERS = "scalelab-grader-"
_BOOT = """
import json, os, sys
plan = json.loads(sys.stdin.readline())
sys.path[0:1] = plan["import_paths"]
from scalelab.grader.spawning import main
main(plan)
os._exit(0)
"""


class SpawningHost:
    """Starts every learner process from nothing.

    Args:
        plan: what a learner process reads at its start.
    """

    pid = None

    def __init__(self, plan: Mapping[str, Any]):
        self._plan = plan
        self._limits = Limits(**plan["limits"])
        self._folder = own_folder()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self, entry: str, files: Mapping[str, bytes], arguments: Mapping[str, Any]
    ) -> tuple[socket.socket, Callable[[], Ending]]:
        """Start a learner process; return its channel, and what ends it.

        Raises:
            ConfigError: an import or a set-up cell fails.
        """
        folder = tempfile.mkdtemp(dir=self._folder)
        for name, data in files.items():
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_bytes(data)
        with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryFile() as said:
            token = secrets.token_bytes(_TOKEN_BYTES)
            process = subprocess.Popen(
                [sys.executable, "-E", "-c", _BOOT],
                cwd=folder,
                env={**bare_environment(), "HOME": folder},
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=os.name == "posix",
            )
            self._running.append(process)
            word = {
                "port": server.getsockname()[1],
                "token": token.hex(),
                "entry": entry,
                "arguments": arguments,
            }
            assert process.stdin is not None
            with contextlib.suppress(OSError), process.stdin:
                process.stdin.write(json.dumps({**self._plan, **word}).encode() + b"\n")
            channel = _accept(server, token, process)
            trouble = "it did not start" if channel is None else _greeting(channel)
            if trouble:
                if channel is not None:
                    channel.close()
                stop_tree(process.pid, grace_s=0)
                process.wait()
                said.seek(0)
                told = said.read()[-2000:].decode(errors="replace").strip()
                raise ConfigError(
                    f"a learner process cannot start: {trouble} {told}".strip(), hint="mend what it names"
                )
        watch = _Watch(process, self._limits, folder)
        return channel, watch.end

    def close(self) -> None:
        """End all learner processes."""
        for process in self._running:
            stop_tree(process.pid, grace_s=0)
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Watch:
    """Watches the clock and the memory of a process from a thread beside the judge."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits, folder: str):
        self._process, self._limits, self._folder = process, limits, folder
        self._base = tree_memory(process.pid)
        self._peak = self._base
        self._started = time.monotonic()
        self._why = ""
        self._thread = threading.Thread(target=self._watch, name="learner-watch", daemon=True)
        self._thread.start()

    def end(self) -> Ending:
        by_itself = self._process.poll() is not None
        if not by_itself and not self._why:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)  # its socket closes before it has ended
                by_itself = True
        if not by_itself:
            self._stop(self._why or "killed")
        stop_tree(self._process.pid, grace_s=0)
        code = self._process.wait()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)
        how = "ok" if code == 0 else f"exit {code}" if code > 0 else f"signal {-code}"
        return Ending(self._why or how, 0.0, self._peak, time.monotonic() - self._started)

    def _watch(self) -> None:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_TICK_S)
                return
            self._peak = max(self._peak, tree_memory(self._process.pid))
            if self._peak > self._base + self._limits.memory_bytes:
                self._stop("memory")
            elif time.monotonic() - self._started > self._limits.submission_s:
                self._stop("time")

    def _stop(self, why: str) -> None:
        self._why = self._why or why
        stop_tree(self._process.pid, grace_s=0)


def main(plan: Mapping[str, Any]) -> None:
    """In the learner process: connect, warm up, and serve."""
    with socket.create_connection(("127.0.0.1", plan["port"]), timeout=_START_S) as channel:
        channel.sendall(bytes.fromhex(plan["token"]))
        channel.settimeout(None)
        die_with_parent()
        try:
            shell = warm_up(plan)
            entry = named(plan["entry"])
            if os.name == "posix":
                from scalelab.grader import confine

                limits = Limits(**plan["limits"])
                confine.set_limits(limits, process_count=confine.count_processes_of_user() + limits.tasks)
        except BaseException as error:
            send_frame(channel, {"broken": f"{type(error).__name__}: {error}"})
            return
        send_frame(channel, {"ready": os.getpid()})
        entry(channel, shell, **plan["arguments"])


def own_folder() -> str:
    """Make the folder of this judge; remove those of judges that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        owner = folder.name.removeprefix(_FOLDERS).partition("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{_FOLDERS}{os.getpid()}-")


def _accept(server: socket.socket, token: bytes, process: subprocess.Popen[bytes]) -> socket.socket | None:
    """Return the connection that knows the token; None if the process ends before it comes."""
    deadline = time.monotonic() + _START_S
    server.settimeout(0.1)
    while time.monotonic() < deadline:
        try:
            channel, _ = server.accept()
        except TimeoutError:
            if process.poll() is not None:
                return None
            continue
        channel.settimeout(_TOKEN_S)
        with contextlib.suppress(OSError, EOFError):
            if hmac.compare_digest(receive_exactly(channel, _TOKEN_BYTES), token):
                return channel
        channel.close()
    return None


def _greeting(channel: socket.socket) -> str:
    channel.settimeout(_START_S)
    try:
        return str(receive_frame(channel).get("broken", ""))
    except TimeoutError:
        return f"it is not ready after {_START_S:.0f} s"
    except (OSError, EOFError):
        return "it ended while it warmed up"
    finally:
        channel.settimeout(None)
