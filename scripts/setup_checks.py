"""Is there a fitting Python, and the disk and memory that ScaleLab needs? Used by setup.py alone."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)
GIB = 1024**3
FIRST_DISK_BYTES = 4 * GIB  # a full .venv with the CPU build of torch is 1.7 GiB, pip's cache another 0.7
CUDA_DISK_BYTES = 9 * GIB  # torch's ordinary Linux wheel draws the CUDA libraries in
NEXT_DISK_BYTES = 1 * GIB
MEMORY_BYTES = 2 * GIB
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
AGAIN = "then run the same command again: it goes on where it stopped"


class CannotGoOn(Exception):
    """The set-up cannot go on: a message and the next step."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.message, self.hint = message, hint


def find_python(wanted: str) -> tuple:
    """Return (command, version) of an interpreter that can make the environment.

    The running one if it fits, else the newest that fits; `wanted` and nothing else if it is given.
    """
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise CannotGoOn(
            "this is an Intel Mac (or an Intel Python): PyTorch makes no builds for it any more",
            "on an Apple-silicon Mac install an arm64 Python; otherwise use Colab or another machine",
        )
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    seen, without_venv = [], []
    for name in [wanted] if wanted else [sys.executable, *names, *windows_pythons(), "python3", "python"]:
        facts = look_at(name)
        if facts is None:
            continue
        path, version, bits, has_venv = facts
        seen.append(f"{path} is Python {version_text(version)}" + ("" if bits == 64 else f" ({bits}-bit)"))
        if OLDEST <= tuple(version) <= NEWEST and bits == 64:
            if has_venv:
                return path, tuple(version)
            without_venv.append((path, version_text(version)))
    if without_venv:
        path, version = without_venv[0]
        raise CannotGoOn(
            f"{path} cannot make virtual environments (its module ensurepip is missing)",
            f"on Debian or Ubuntu: sudo apt-get install python{version}-venv; {AGAIN}",
        )
    raise CannotGoOn(
        f"ScaleLab needs a 64-bit Python {version_text(OLDEST)} to {version_text(NEWEST)}; found: "
        + ("; ".join(dict.fromkeys(seen)) or f"{wanted or sys.executable} cannot be run"),
        f"{how_to_get_python()}; {AGAIN}",
    )


def look_at(name: str) -> "tuple | None":
    """Return (path, version, bits, can make environments) of an interpreter, or None if it cannot be run."""
    command = name.split("|") if "|" in name else [shutil.which(name) or name]
    asks = (
        "import sys, json, importlib.util as u; print(json.dumps([sys.executable, sys.version_info[:2], "
        "64 if sys.maxsize > 2**32 else 32, all(map(u.find_spec, ('venv', 'ensurepip')))]))"
    )
    try:
        out = subprocess.run(
            [*command, "-c", asks], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30
        )
        return tuple(json.loads(out.stdout.decode())) if out.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def windows_pythons() -> list:
    """Return what to ask the launcher of Windows for."""
    return [f"py|-3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)] if os.name == "nt" else []


def how_to_get_python() -> str:
    """Return the command that installs a fitting Python on this system."""
    if os.name == "nt":
        return "get one: winget install Python.Python.3.12"
    if sys.platform == "darwin":
        return "get one: brew install python@3.12 (or python.org)"
    return "get one: sudo apt-get install python3 python3-venv, or `uv python install 3.12`"


def check_room(venv: Path, has_torch: bool) -> None:
    """Make sure that there are the disk and memory that the set-up and the demo need."""
    cuda = sys.platform == "linux" and not os.environ.get("SCALELAB_TORCH_INDEX")
    needed = NEXT_DISK_BYTES if has_torch else CUDA_DISK_BYTES if cuda else FIRST_DISK_BYTES
    there = next(path for path in (venv, *venv.resolve().parents) if path.exists())
    free = shutil.disk_usage(str(there)).free
    if free < needed:
        hint = f"free some space, {AGAIN}"
        if needed == CUDA_DISK_BYTES:
            hint += f"; without an NVIDIA GPU, SCALELAB_TORCH_INDEX={CPU_INDEX} needs only 4 GiB"
        raise CannotGoOn(
            f"{there} has {free / GIB:.1f} GiB free, the set-up needs {needed / GIB:.0f} GiB", hint
        )
    memory = total_memory()
    if memory and memory < MEMORY_BYTES:
        raise CannotGoOn(
            f"this machine (or container) has {memory / GIB:.1f} GiB of memory, "
            f"ScaleLab needs {MEMORY_BYTES / GIB:.0f} GiB",
            "use a larger machine or raise the container's limit; Colab works too (README.md)",
        )


def total_memory() -> int:
    """Return the memory of the machine, or a container's limit below it [bytes]; 0 if unknown."""
    try:
        if os.name == "nt":
            return windows_memory()
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return total


def windows_memory() -> int:
    """Return the physical memory of a Windows machine [bytes]."""
    import ctypes

    status = (ctypes.c_ulonglong * 8)()  # MEMORYSTATUSEX: two 32-bit fields, then seven of 64 bits
    status[0] = ctypes.sizeof(status)
    return int(status[1]) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0


def version_text(version: tuple) -> str:
    """Return ``3.10`` for (3, 10)."""
    return ".".join(str(part) for part in version)
