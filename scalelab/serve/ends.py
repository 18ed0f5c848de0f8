"""Why a process ended, in words: signals by name, and whether the system was out of memory."""

from __future__ import annotations

import signal
from pathlib import Path

STUCK = 75
"""exit code of a worker whose model did not come back in time"""
_CGROUP_FILES = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def count_oom_kills(files: tuple[str, ...] = _CGROUP_FILES) -> int | None:
    """Return how many processes the kernel killed here for want of memory; None where that cannot be read.

    Read from the control group of this machine or container (version 2, else 1); Linux only.
    """
    for file in files:
        try:
            lines = Path(file).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.strip().isdigit():
                return int(value)
    return None


def describe_end(code: int, *, oom_kills: int | None = None, reason: str = "") -> str:
    """Return how a process ended, from its exit code.

    Args:
        code: as `subprocess` gives it: below 0 the signal that ended it.
        oom_kills: how many processes the kernel killed for want of memory since it started; None: unknown.
        reason: why we ended it ourselves, if we did.
    """
    if reason:
        return reason
    if code == STUCK:
        return f"ended with exit code {code}: its model did not come back from one batch in time"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    said = f"ended by signal {-code} ({name})"
    if -code == 9:
        if oom_kills:
            return f"{said}: out of memory, the kernel killed it (cgroup: oom_kill)"
        if oom_kills is None:
            return f"{said}: out of memory? `dmesg` or the container's events tell"
        return f"{said}: somebody killed it, it was not for want of memory"
    return said
