"""The strong ward: Linux namespaces, no capabilities, a filter of system calls."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from scalelab.grader import confine, kernel, namespaces, syscalls
from scalelab.grader.limits import Limits
from scalelab.grader.wards import Ward


class NamespaceWard(Ward):
    """The supervisor is pid 1 of a process space, and its end is the end of all in it."""

    def __init__(self, limits: Limits, python: list[str], visible: list[str], other_processes: int):
        namespaces.enter([*python, *visible], setup_bytes=limits.disk_bytes)
        super().__init__(limits, visible, namespaces.WORK, namespaces.first_user())
        self.setup_folder = namespaces.SETUP
        self.other_processes = other_processes
        self.process_space = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self, number: int) -> int:
        """Fork the first process of a new process space."""
        others = self.other_processes + 1 + confine.count_processes_here()
        kernel.unshare(kernel.NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                kernel.setns(self.process_space, kernel.NEWPID)
        if pid != 0:
            return pid
        if self.first_user is not None:
            self.user = self.first_user + number % namespaces.USERS
        else:  # the only user here: the kernel counts all of the grader's processes as one user's
            self.process_count = others + 1 + self.limits.tasks
        return pid

    def enter_room(self) -> None:
        """Make network, mounts and working folder of its own."""
        namespaces.enter_room(self.limits.disk_bytes, self.user)

    def members(self) -> list[int]:
        """Return all of the process space but its first."""
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]

    def end(self) -> None:
        """Kill all of the process space but its first, at one stroke."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)

    def watch(self, pid: int, line: socket.socket) -> dict[str, Any]:
        """Watch as every ward does, unseen: what the supervisor holds is not for the learner process."""
        kernel.set_dumpable(False)
        return super().watch(pid, line)

    def become_learner(self, files: Mapping[str, bytes]) -> None:
        """Give up user, capabilities, and the calls that none needs."""
        kernel.drop_bounding_set()
        self._change_user()
        kernel.set_dumpable(True)
        self._settle(files, namespaces.HOMES)
        kernel.drop_capabilities()
        syscalls.refuse_calls()
