"""What a process may take: limits of the kernel, set in the learner process before any cell runs.

They hold for each process; the sum over all that a submission starts is the supervisor's to watch. Not
cgroups: there are two versions of them, few users may write either, and a killed grader would leave their
folders behind.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from scalelab.grader.limits import Limits

_PAGE = os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096
_EXITING = 4  # PF_EXITING of the kernel
_SIGNALS = 1024


def set_limits(limits: Limits, *, process_count: int) -> None:
    """Set hard limits of the kernel, on top of what this process has already: its memory is the warm one's.

    Args:
        process_count: how many processes and threads the user of this process may have, as the kernel counts.
    """
    import resource

    wanted = {
        "RLIMIT_CORE": 1,  # not 0, which a core that is piped to a program overlooks (core(5))
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": process_count,
        "RLIMIT_CPU": math.ceil(limits.submission_s) * (os.cpu_count() or 1),  # the clock's understudy
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": _SIGNALS,
    }
    if sys.platform == "linux":
        address_space, data = _mapped()
        wanted["RLIMIT_DATA"] = data + limits.memory_bytes
        wanted["RLIMIT_AS"] = address_space + 4 * limits.memory_bytes  # for stacks and arenas
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError):
            resource.setrlimit(kind, (value, value))


def be_first_to_go() -> None:
    """Where the whole machine runs out of memory, let the kernel end this process before any other."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def memory_of(pids: list[int], *, enough: int) -> int:
    """Return the memory of some processes [bytes], pages that they share counted once where that matters.

    The quick sum counts shared pages in each; only where it passes `enough` are the proportional shares read.
    """
    resident = sum(_resident(pid) for pid in pids)
    return resident if resident <= enough else sum(_share(pid) for pid in pids)


def resident_here() -> int:
    """Return the resident memory of this process [bytes]; 0 where it cannot be told."""
    return _resident(os.getpid())


def write_files(folder: str, files: Mapping[str, bytes]) -> None:
    """Write the files that come with a submission below `folder`."""
    for name, data in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_files(source: str, target: str) -> None:
    """Give a learner process its own copy of what the set-up cells wrote."""
    with os.scandir(source) as entries:
        if next(entries, None) is not None:
            shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)


def need_readable(user: int, paths: Iterable[str]) -> None:
    """Make sure that another user can read files and folders: a copy of this process imports more.

    Raises:
        PermissionError: naming the first that it cannot read.
    """
    asked, answered = os.pipe()
    pid = os.fork()  # a change of user, even for a while, would undo what ends us with our parent
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            hidden = next((path for path in sorted(paths) if not _is_readable(path)), "")
            os.write(answered, hidden.encode() or b"/")
        os._exit(0)
    os.close(answered)
    with os.fdopen(asked, "rb") as answer:
        hidden = answer.read().decode()
    os.waitpid(pid, 0)
    if hidden != "/":
        raise PermissionError(
            f"the user of the learner processes, {user}, cannot read {hidden}: "
            "let others read it (chmod o+rX), or grade as an ordinary user"
        )


def _is_readable(path: str) -> bool:
    return not os.path.isabs(path) or os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0))


def is_ending(pid: int) -> bool:
    """Tell whether a process has begun to end by itself: its sockets close before it can be waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] == "Z" or bool(int(fields[6]) & _EXITING)


def count_processes_of_user() -> int:
    """Return the processes and threads of this user on the whole machine, as a limit may count them."""
    import psutil

    mine = os.getuid()
    found = psutil.process_iter(["uids", "num_threads"])
    return sum(
        process.info["num_threads"] or 1
        for process in found
        if mine == getattr(process.info["uids"], "real", None)
    )


def count_processes_here() -> int:
    """Return the processes and threads of this process space."""
    found = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                found += len(os.listdir(f"/proc/{name}/task"))
    return found


def thread_count() -> int:
    """Return how many threads this process has."""
    if sys.platform == "linux":
        return len(os.listdir("/proc/self/task"))
    import psutil

    return int(psutil.Process().num_threads())


def _mapped() -> tuple[int, int]:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[0]) * _PAGE, int(fields[5]) * _PAGE


def _resident(pid: int) -> int:
    if sys.platform != "linux":
        import psutil

        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _share(pid: int) -> int:
    if sys.platform != "linux":
        return _resident(pid)
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # gone, or hidden by its owner: then no page counts as shared
        return _resident(pid)
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
