"""One process of the stack: how it is started, whether it is well, and when it is started again."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core.processes import start, stop_tree, tree_memory
from scalelab.core.units import format_bytes
from scalelab.serve.ends import count_oom_kills, describe_end
from scalelab.serve.pulse import PULSE_VARIABLE, PulseWatch

_QUICK_S = 10.0
"""a process that ends so soon after its start is started ever more slowly"""
_PATIENCE_S = 30.0
"""silence alone is no proof on a busy machine, or where a disk stands still; a process that is stopped is"""


class Member:
    """A process that should run, and how it fares. Gateway and workers have a pulse, workers a name too."""

    def __init__(
        self,
        command: list[str],
        env: Mapping[str, str],
        log: Path,
        *,
        has_pulse: bool = False,
        is_worker: bool = False,
    ):
        self.command, self.log = command, log
        self.known_as = ""
        """its name for the broker, new at each start"""
        self.pulse: PulseWatch | None = None
        self.ready_s: float | None = None
        """from its start until it could serve"""
        self.retry_at_s = 0.0
        self._failures = 0
        self._reason = ""
        self.env, self._has_pulse, self.is_worker = dict(env), has_pulse, is_worker

    def start(self, now_s: float) -> None:
        """Start the process, once more if need be."""
        argv, env = self.command, self.env
        number = next(_NUMBERS)
        if self.is_worker:  # anew each time: the broker must not take it for the dead one
            self.known_as = f"{self.log.stem}-{os.getpid()}-{number}"
            argv = [*argv, self.known_as]
        if self._has_pulse:
            self.forget_pulse()
            self.pulse = PulseWatch(self.log.with_name(f"{self.log.stem}-{number}.pulse"))
            env = {**env, PULSE_VARIABLE: str(self.pulse.path)}
        with self.log.open("ab") as output:
            self._log_begin = output.tell()
            self.process: subprocess.Popen[bytes] = start(argv, env=env, output=output)
        self._oom_kills = count_oom_kills()
        self._started_s, self.ready_s, self.retry_at_s, self._reason = now_s, None, 0.0, ""

    def note_ready(self, now_s: float) -> None:
        """Keep the time that the start took, once."""
        if self.ready_s is None:
            self.ready_s = now_s - self._started_s

    def facts(self) -> dict[str, Any]:
        """Return what is known of it: the seconds of its start, and a worker's own words (its model)."""
        said = (self.pulse.facts() if self.pulse else None) or {}
        return {"ready_s": round(self.ready_s or 0.0, 3), **said}

    def ailment(self, now_s: float, *, ttl_s: float, memory_bytes: int, start_s: float) -> str:
        """Return why this process must be ended; an empty string if it is well.

        Args:
            ttl_s: a worker that is silent for so long, and is stopped, is frozen.
            memory_bytes: the limit on its memory; 0 for none.
            start_s: how long a start may take.
        """
        if self.pulse is None or self._reason or self.process.poll() is not None:
            return ""
        if self.ready_s is None:
            late = now_s - self._started_s > start_s
            return f"was not ready after {start_s:g} s" if late else ""
        silent_s = self.pulse.silent_s(now_s)
        if silent_s > max(_PATIENCE_S, ttl_s) or (silent_s > ttl_s and _is_stopped(self.process.pid)):
            return f"froze: no sign of life for {silent_s:.1f} s"
        if memory_bytes and self.is_worker and (used := tree_memory(self.process.pid)) > memory_bytes:
            return f"used {format_bytes(used)} of memory, its limit is {format_bytes(memory_bytes)}"
        return ""

    def kill(self, reason: str) -> None:
        """End it at once; the reason is told as the way it ended."""
        self._reason = f"was ended: it {reason}"
        stop_tree(self.process.pid, grace_s=0)

    def note_end(self, now_s: float) -> str:
        """Plan the next start after an end, and return how it ended: an empty string if that was said before.

        Ever more slowly, if it ends soon again: a worker that cannot start must not eat a core. One that had
        served is waited for less: what ended it was a task, and others wait.
        """
        if self.retry_at_s:
            return ""
        quick = now_s - self._started_s < _QUICK_S
        self._failures = self._failures + 1 if quick else 0
        longest_s = 5.0 if self.ready_s is None else 0.4
        self.retry_at_s = now_s + min(longest_s, 0.1 * 2**self._failures)
        return self.how_it_ended()

    def how_it_ended(self) -> str:
        """Return how the process ended, in words."""
        now, before = count_oom_kills(), self._oom_kills
        kills = None if now is None or before is None else now - before
        return describe_end(self.process.poll() or 0, oom_kills=kills, reason=self._reason)

    def forget_pulse(self) -> None:
        """Remove the file of a process that has ended."""
        if self.pulse is not None:
            self.pulse.path.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """Return the last lines that it wrote since its start."""
        written = self.log.read_bytes()[self._log_begin :].decode(errors="replace")
        return "\n".join(written.strip().splitlines()[-8:])


_NUMBERS = itertools.count(1)


def _is_stopped(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))
    except psutil.Error:
        return False
