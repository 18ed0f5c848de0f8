"""Learner processes for tests: forked from one warm process, without a sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from scalelab.grader.remote import RemoteAnswers
from scalelab.grader.wire import Channel

_WARM = """
import json, os, signal, socket, sys
from scalelab.grader import learner
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
shell = learner.prepare(json.loads(sys.argv[2]))
control = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, handles, _, _ = socket.recv_fds(control, 1, 1)
    if not message:
        break
    if os.fork() == 0:
        control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        learner.serve(socket.socket(fileno=handles[0]), shell)
        os._exit(0)
    os.close(handles[0])
"""


class Forks:
    """A warm process; `learner` gives the judge's end of a fork of it."""

    def __init__(self, *setup_cells: str) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WARM, str(theirs.fileno()), json.dumps(setup_cells)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()

    @contextlib.contextmanager
    def channel(self) -> Iterator[Channel]:
        """Fork a learner process and hold its channel."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"x"], [theirs.fileno()])
        channel = Channel(ours)
        try:
            yield channel
        finally:
            channel.close()

    @contextlib.contextmanager
    def learner(self, *cells: str, inside: str = "") -> Iterator[RemoteAnswers]:
        """Fork a learner process that has run some cells."""
        with self.channel() as channel:
            answers = RemoteAnswers(channel, inside_source=inside)
            answers.run(cells, cell_s=60, deadline=time.monotonic() + 120)
            yield answers
