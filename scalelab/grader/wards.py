"""What surrounds a learner process on any system: limits, an own user, and the supervisor's watch.

A ward knows how to fork a supervisor, how to take everything from the learner process that it must not have,
how to watch it, and how to end it with all that it started. There are two kinds: `namespace_ward` (Linux) and
`group_ward` (any Unix).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from scalelab.grader import confine, kernel
from scalelab.grader.limits import Limits
from scalelab.grader.warming import ENVIRONMENT

_TICK_S = 0.05


class Ward:
    """What both kinds share: limits, the learner's user, and the supervisor's watch."""

    def __init__(self, limits: Limits, visible: list[str], folder: str, first_user: int | None):
        self.limits = limits
        self.visible = visible
        self.folder = folder
        self.setup_folder = folder
        self.first_user = first_user
        self.user: int | None = None
        self.process_count = limits.tasks
        self.base_memory = 0

    def seal(self) -> None:
        """Close the ward: the warm process is ready.

        Raises:
            PermissionError: the learner's user could not read the modules that are loaded.
        """
        if sys.platform == "linux":
            kernel.own_shared_memory()
        self.base_memory = confine.resident_here()
        if self.first_user is not None:
            modules = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
            confine.need_readable(self.first_user, {*filter(None, modules), *self.visible})

    def fork(self, number: int) -> int:
        """Fork the supervisor of the `number`-th learner process."""
        raise NotImplementedError

    def enter_room(self) -> None:
        """In the supervisor: make what the learner process will have for its own."""
        raise NotImplementedError

    def leave_room(self) -> None:
        """In the supervisor, at its end: leave nothing."""

    def leave(self) -> None:
        """In the warm process, at its end: leave nothing."""

    def members(self) -> list[int]:
        """Return the learner process and all that it started."""
        raise NotImplementedError

    def end(self) -> None:
        """Kill all members."""
        raise NotImplementedError

    def become_learner(self, files: Mapping[str, bytes]) -> None:
        """In the learner process: give up all rights, for good."""
        raise NotImplementedError

    def watch(self, pid: int, line: socket.socket) -> dict[str, Any]:
        """Wait for the end of the learner process, or bring it about; return how it ended and what it took.

        It ends by itself, at a limit on time, memory or processes, or when the judge lets go of the line or
        the warm process is gone.
        """
        started = time.monotonic()
        peak, why, code, usage = 0, "", None, None
        wakers = [line, *_ending_of(pid)]
        warm_process = os.getppid()
        while True:
            awake, _, _ = select.select(wakers, [], [], _TICK_S)
            code, usage = bury(pid)
            if code is not None:
                break
            members = self.members()
            peak = max(peak, confine.memory_of(members, enough=self.allowed_memory))
            if not why:
                seconds = time.monotonic() - started
                is_let_go = line in awake or os.getppid() != warm_process
                if is_let_go and not confine.is_ending(pid):
                    why = "killed"
                elif peak > self.allowed_memory:
                    why = "memory"
                elif seconds > self.limits.submission_s:
                    why = "time"
                elif len(members) > self.limits.tasks:  # the kernel has no such limit for root
                    why = "processes"
            if why:
                self.end()
                wakers = wakers[-1:] if len(wakers) > 1 else []
        self.end()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        by_itself = "ok" if code == 0 else f"exit {code}" if code > 0 else f"signal {-code}"
        return {
            "how": why if why and code == -signal.SIGKILL else by_itself,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_memory_bytes": max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)),
            "wall_s": time.monotonic() - started,
        }

    @property
    def allowed_memory(self) -> int:
        """What all members together may hold: the limit on top of what they were born with [bytes]."""
        return self.base_memory + self.limits.memory_bytes

    def _settle(self, files: Mapping[str, bytes], homes: Mapping[str, str]) -> None:
        os.environ.clear()
        os.environ.update({**ENVIRONMENT, **homes})
        os.umask(0o077)
        confine.be_first_to_go()
        os.chdir(self.folder)
        confine.copy_files(self.setup_folder, self.folder)
        confine.write_files(self.folder, files)
        confine.set_limits(self.limits, process_count=self.process_count)

    def _change_user(self) -> None:
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)


def _ending_of(pid: int) -> list[Any]:
    """Return what becomes readable at the end of a process, where the system has such a thing."""
    try:
        return [os.pidfd_open(pid)]
    except (AttributeError, OSError):
        return []


def bury(pid: int = 0) -> tuple[int | None, Any]:
    """Collect all children that have ended; return exit code and usage of `pid` once it has."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, status, usage = os.wait4(-1, os.WNOHANG)
            if ended == pid:
                return os.waitstatus_to_exitcode(status), usage
            if ended == 0:
                break
    return None, None
