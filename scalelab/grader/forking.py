"""The judge's side of a warm process that forks (`zygote`): Linux and other Unix systems."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.grader import namespaces
from scalelab.grader.ending import Ending
from scalelab.grader.frames import receive_frame, send_frame
from scalelab.grader.spawning import own_folder
from scalelab.grader.warming import bare_environment

_START_S = 900.0  # set-up cells may train something
_NO_WORD = "it ended without a word"
_END_S = 10.0
_BOOT = """
import json, os, sys
sys.path[0:1] = json.loads(sys.argv[2])
from scalelab.grader.zygote import main
main(int(sys.argv[1]))
os._exit(0)  # whatever the set-up cells have left running
"""


class NotHere(Exception):
    """This machine does not allow this kind of ward."""


class ForkingHost:
    """A warm process in a ward, and the line over which it is asked for forks.

    Args:
        plan: what `zygote` reads at its start.
        ward: "namespaces" or "group".

    Raises:
        NotHere: the machine does not allow the ward.
        ConfigError: an import or a set-up cell fails.
    """

    def __init__(self, plan: Mapping[str, Any], ward: str):
        plan = dict(plan, ward=ward)
        self._folder = ""
        if ward == "namespaces":
            plan["python"] = namespaces.python_paths(plan["preload"])
            plan["other_processes"] = namespaces.counted_outside()
        else:
            plan["folder"] = self._folder = own_folder()
        self._control, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                [sys.executable, "-E", "-c", _BOOT, str(theirs.fileno()), json.dumps(plan["import_paths"])],
                pass_fds=[theirs.fileno()],
                cwd="/",
                env=bare_environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            theirs.close()
            try:
                answer = self._start(plan)
            except BaseException:
                self.close()
                raise
            if answer is None:
                said.seek(0)
                answer = {"broken": said.read()[-2000:].decode(errors="replace").strip() or _NO_WORD}
        if "failed" in answer:
            self.close()
            raise NotHere(answer["failed"])
        if "broken" in answer:
            self.close()
            raise ConfigError(f"the warm process cannot start: {answer['broken']}", hint="mend what it names")

    @property
    def pid(self) -> int:
        """The process that all others are below."""
        return self._process.pid

    def start(
        self, entry: str, files: Mapping[str, bytes], arguments: Mapping[str, Any]
    ) -> tuple[socket.socket, Callable[[], Ending]]:
        """Fork a learner process; return its channel, and what ends it.

        Raises:
            RunFailed: the warm process is gone.
        """
        line, their_line = socket.socketpair()
        channel, their_channel = socket.socketpair()
        with their_line, their_channel:
            try:
                socket.send_fds(self._control, [b"x"], [their_line.fileno(), their_channel.fileno()])
            except OSError:
                line.close()
                channel.close()
                raise RunFailed("the warm process is gone", hint="start a new one") from None
        sizes = {name: len(data) for name, data in files.items()}
        with contextlib.suppress(OSError):  # how it ended will say why
            send_frame(line, {"entry": entry, "arguments": arguments, "files": sizes})
            for data in files.values():
                line.sendall(data)
        return channel, lambda: _let_go(line)

    def close(self) -> None:
        """End the warm process and all learner processes."""
        self._control.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        self._control.settimeout(_START_S)
        try:
            send_frame(self._control, plan)
            answer = receive_frame(self._control)
        except TimeoutError:
            return {"broken": f"it is not ready after {_START_S:.0f} s"}
        except (OSError, EOFError):
            return None
        self._control.settimeout(None)
        return answer


def _let_go(line: socket.socket) -> Ending:
    ending = Ending("lost")
    with line, contextlib.suppress(OSError, EOFError):
        line.settimeout(_END_S)
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_WR)
        try:
            told = receive_frame(line)
        except ConnectionResetError:  # it hung up before it had read all of ours; its word comes after
            told = receive_frame(line)
        ending = Ending(**told)
        line.recv(1)  # until the supervisor is gone
    return ending
