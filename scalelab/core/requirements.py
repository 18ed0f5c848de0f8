"""What the road needs of a machine, and whether it is there: the facts behind ``scalelab doctor``."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from scalelab.core.lazy import how_to_install
from scalelab.core.machine import free_port, installed_version, usable_cores, usable_memory
from scalelab.core.units import GIB, format_bytes

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
DEMO_DISK_BYTES = GIB
DEMO_MEMORY_BYTES = int(2.5 * GIB)
BROKER = "broker"
"""name of the check that a rung with ``needs_broker`` waits for"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    found: str
    remedy: str = ""
    """the command or step that mends it; empty if all is well"""
    is_needed: bool = True
    """without it the demo cannot run; else it is only good to have"""


@dataclass(frozen=True)
class Rung:
    """A step of the road and the extras that it draws on."""

    name: str
    extras: tuple[str, ...]
    needs_broker: bool = False


@dataclass(frozen=True)
class Readiness:
    """Whether a rung or an extra can be used here."""

    name: str
    is_ready: bool
    missing: tuple[str, ...] = ()
    """distributions (or checks) that are not there"""
    remedy: str = ""


RUNGS = (
    Rung("prototype", ("torch",)),
    Rung("accumulation", ("torch",)),
    Rung("DDP", ("torch",)),
    Rung("ONNX", ("torch", "onnx")),
    Rung("int8", ("torch", "onnx")),
    Rung("naive app", ("serve", "load")),
    Rung("decoupled service", ("serve", "load"), needs_broker=True),
    Rung("ladder", ("torch", "onnx")),
)
"""in the order of the road"""


def check_python(version: Sequence[int] = sys.version_info) -> Check:
    """Tell whether this interpreter is one that ScaleLab runs on."""
    text = ".".join(str(part) for part in version[:3])
    is_ok = OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON
    low, high = (".".join(map(str, ends)) for ends in (OLDEST_PYTHON, NEWEST_PYTHON))
    return Check("Python", is_ok, text, "" if is_ok else f"use Python {low} to {high}")


def check_installed() -> Check:
    """Tell whether scalelab is installed: without its metadata nobody knows what its extras ask for."""
    version = installed_version("scalelab")
    if version is None:
        return Check("scalelab", False, "runs from a folder that is not installed", how_to_install(["bench"]))
    return Check("scalelab", True, version)


def check_machine(runs: Path) -> list[Check]:
    """Look at cores, load, memory, disk (of the folder for results) and a loopback port."""
    import psutil

    cores = usable_cores()
    available = min(psutil.virtual_memory().available, usable_memory())
    existing = next(path for path in (runs, *runs.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    return [
        check_load(cores, os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0),
        _at_least("memory", available, DEMO_MEMORY_BYTES, "available", "close other programs"),
        _at_least("disk", free, DEMO_DISK_BYTES, "free for results", "free some space, or set SCALELAB_RUNS"),
        check_loopback(),
    ]


def check_load(cores: int, load: float) -> Check:
    """Tell whether the machine is quiet enough for timings that mean something."""
    found = f"{cores} core{'s' if cores != 1 else ''}, {load:.1f} of them busy"
    remedy = (
        "one core is shared by server and load: numbers will be low" if cores < 2
        else "wait until other work has ended: timings would be noisy" if load > cores / 2
        else ""
    )  # fmt: skip
    return Check("cores", not remedy, found, remedy, is_needed=False)


def check_loopback() -> Check:
    """Tell whether a port of 127.0.0.1 can be opened."""
    try:
        free_port()
    except OSError as error:
        return Check("ports", False, f"127.0.0.1 refuses: {error.strerror}", "allow loopback connections")
    return Check("ports", True, "127.0.0.1 has free ones")


def check_program(name: str, candidates: Iterable[str], *, use: str, remedy: str) -> Check:
    """Tell whether one of the `candidates` is on the path; for programs that are only good to have."""
    found = next((path for path in map(shutil.which, candidates) if path), None)
    return Check(
        name, found is not None, found or f"not found ({use})", "" if found else remedy, is_needed=False
    )


def known_extras() -> list[str]:
    """Return the extras of the installed scalelab, in the order in which it declares them."""
    try:
        return metadata.metadata("scalelab").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []


def missing_packages(extra: str) -> tuple[str, ...]:
    """Return the distributions that `extra` asks for and that are not installed, by name.

    Reads the metadata of the installed scalelab; extras that refer to other extras are followed. A version
    that is too old is pip's business (``pip check``), not seen here.
    """
    names = (_distribution(line) for line in _requirements(extra, set()))
    return tuple(sorted({name for name in names if installed_version(name) is None}))


def extra_readiness(extra: str) -> Readiness:
    """Tell whether all of an extra is installed, and what brings the rest."""
    missing = missing_packages(extra)
    return Readiness(extra, not missing, missing, how_to_install([extra]) if missing else "")


def rung_readiness(rung: Rung, checks: Sequence[Check]) -> Readiness:
    """Tell whether a rung can run here: its extras are installed and, if it needs one, there is a broker."""
    lacking = [extra for extra in rung.extras if missing_packages(extra)]
    missing = tuple(sorted({name for extra in lacking for name in missing_packages(extra)}))
    broken = [check for check in checks if rung.needs_broker and check.name == BROKER and not check.is_ok]
    remedy = how_to_install(lacking) if lacking else broken[0].remedy if broken else ""
    return Readiness(
        rung.name, not (missing or broken), (*missing, *(check.name for check in broken)), remedy
    )


def _at_least(name: str, have: int, need: int, what: str, remedy: str) -> Check:
    found = f"{format_bytes(have)} {what}"
    if have >= need:
        return Check(name, True, found)
    return Check(name, False, f"{found}, the demo needs {format_bytes(need)}", remedy)


def _requirements(extra: str, seen: set[str]) -> list[str]:
    """Return the requirement lines of an extra, those of the extras it refers to included."""
    seen.add(extra)
    lines: list[str] = []
    for line in _declared():
        marker = line.partition(";")[2]
        if not re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", marker):
            continue
        if _for_other_systems(marker):
            continue
        if _distribution(line) == "scalelab":
            inner = re.search(r"\[(.*?)\]", line)
            assert inner, line
            for name in inner[1].replace(" ", "").split(","):
                lines += _requirements(name, seen) if name not in seen else []
        else:
            lines.append(line)
    return lines


def _declared() -> list[str]:
    try:
        return metadata.requires("scalelab") or []
    except metadata.PackageNotFoundError:
        return []


def _for_other_systems(marker: str) -> bool:
    """Tell whether the marker leaves this system out; our own metadata use no other form of it."""
    unwanted = re.search(r"""sys_platform != ['"](\w+)['"]""", marker)
    return unwanted is not None and unwanted[1] == sys.platform


def _distribution(line: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", line)
    assert name, line
    return name[0]
