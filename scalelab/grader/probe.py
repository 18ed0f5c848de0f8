"""Which layers of the sandbox hold, found by trying from inside: a layer counts when the attempt failed."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scalelab.grader.frames import send_frame
from scalelab.grader.limits import Limits

_ELSEWHERE = (
    "192.0.2.1",
    9,
)  # a documentation address (RFC 5737): connecting a datagram socket sends nothing


def report(channel: socket.socket, shell: object, **outside: Any) -> None:
    """In a learner process: try every layer and send the names of those that held."""
    held = []
    for name, attempt in _ATTEMPTS.items():
        with contextlib.suppress(Exception):
            if attempt(outside):
                held.append(name)
    send_frame(channel, {"layers": held})


def _own_user(outside: Mapping[str, Any]) -> bool:
    return os.getuid() not in (0, outside["user"])


def _no_privileges(outside: Mapping[str, Any]) -> bool:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return status["NoNewPrivs"] == "1" and all(int(status[name], 16) == 0 for name in sets)


def _filtered(outside: Mapping[str, Any]) -> bool:
    from scalelab.grader import kernel

    try:
        kernel.unshare(kernel.NEWUTS | kernel.NEWUSER)
    except PermissionError:
        return "Seccomp:\t2" in Path("/proc/self/status").read_text()
    return False


def _own_process_space(outside: Mapping[str, Any]) -> bool:
    seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    return os.getppid() == 1 and seen == {1, os.getpid()}


def _no_network(outside: Mapping[str, Any]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        try:
            query.connect(_ELSEWHERE)
        except OSError:
            return [
                name for _, name in socket.if_nameindex() if name == "lo" or not name.startswith(_IDLE)
            ] == ["lo"]
    return False


_IDLE = (
    "tunl",
    "sit",
    "gre",
    "erspan",
    "ip_vti",
    "ip6",
)  # what some kernels put into every new network, switched off


def _read_only(outside: Mapping[str, Any]) -> bool:
    import scalelab

    return not any(
        _can_write(folder)
        for folder in (
            "/",
            "/etc",
            "/usr",
            sys.prefix,
            os.path.dirname(os.__file__),
            os.path.dirname(scalelab.__file__),
        )
    )


def _can_write(folder: str) -> bool:
    path = os.path.join(folder, f".scalelab-probe-{os.getpid()}")
    try:
        Path(path).touch()
    except OSError:
        return False
    os.unlink(path)
    return True


def _private_files(outside: Mapping[str, Any]) -> bool:
    room = os.statvfs(".")
    return (
        os.stat(".").st_dev != os.stat("/").st_dev
        and room.f_blocks * room.f_frsize <= outside["limits"]["disk_bytes"]
    )


def _no_sight(outside: Mapping[str, Any]) -> bool:
    return not os.path.exists(outside["secret"])


def _memory(outside: Mapping[str, Any]) -> bool:
    try:
        mmap.mmap(
            -1, outside["limits"]["memory_bytes"] + 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        ).close()
    except (OSError, MemoryError):
        return True
    return False


def _processes(outside: Mapping[str, Any]) -> bool:
    enough, threads = threading.Event(), []
    try:
        for _ in range(Limits(**outside["limits"]).tasks + 1):
            threads.append(threading.Thread(target=enough.wait))
            threads[-1].start()
    except RuntimeError:
        threads.pop()
        return True
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    return False


_ATTEMPTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "own user": _own_user,
    "no privileges": _no_privileges,
    "system calls filtered": _filtered,
    "own process space": _own_process_space,
    "no network": _no_network,
    "read-only system": _read_only,
    "private files": _private_files,
    "no sight of grades": _no_sight,
    "memory limit": _memory,
    "process limit": _processes,
}
LAYERS = tuple(_ATTEMPTS)
REQUIRED = tuple(name for name in LAYERS if name != "own user")
"""An ordinary user has no second user id to give; process space and files then part learner and judge."""
