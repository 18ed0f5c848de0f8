"""An environment of their own for the peers, below runs/: nothing of theirs enters ours."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from peers.systems import SYSTEMS, System
from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.paths import runs_folder

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PEERS = ("mosec", "litserve", "bentoml", "celery", "fastapi")
_EVERYBODYS = ("numpy", "onnxruntime", "uvicorn", "fastapi")


def peers_python(peers: Sequence[str], *, say: Callable[[str], None] = print) -> tuple[Path, dict[str, str]]:
    """Return the Python of the peers' environment and, for each peer that it lacks, why.

    What is there in the pinned version is kept; each peer is installed by itself, so that one that fails is
    missing alone.
    """
    folder = runs_folder() / "peers" / "venv"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    absent = {}
    for names in (_EVERYBODYS, *([peer] for peer in peers if peer not in _EVERYBODYS)):
        wanted = [line for line in lines if re.match(r"[\w-]+", line)[0] in names]  # type: ignore[index]
        stamp = folder / f"installed-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
        if stamp.exists():
            continue
        say(f"installing {', '.join(names)} into {folder}")
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            stamp.touch()
        elif names is _EVERYBODYS:
            absent.update(dict.fromkeys(peers, f"{', '.join(names)}: {_last_error(done.stderr)}"))
            break
        else:
            absent[names[0]] = _last_error(done.stderr)
    return python, absent


def _last_error(output: str) -> str:
    errors = [line for line in output.splitlines() if "ERROR" in line]
    return (errors or output.strip().splitlines() or ["pip failed"])[-1][:300]


def choose(systems: str, peers: str) -> tuple[list[System], Path, dict[str, str]]:
    """Return the systems that a comma-separated list names, the peers' Python, and why others are missing.

    Raises:
        ConfigError: a name that is unknown.
    """
    named = [name.strip() for name in systems.split(",") if name.strip()]
    for name in named:
        if name not in SYSTEMS:
            raise ConfigError(f"there is no system {name!r}", hint=did_you_mean(name, SYSTEMS))
    allowed = set(PEERS) if peers == "all" else {name.strip() for name in peers.split(",")} - {"none", ""}
    for name in allowed - set(PEERS):
        raise ConfigError(f"there is no peer {name!r}", hint=did_you_mean(name, PEERS))
    wanted = [SYSTEMS[name] for name in named]
    needed = sorted({system.package for system in wanted if system.package in allowed})
    python, failed = peers_python(needed) if needed else (Path(sys.executable), {})
    absent = {
        system.name: failed.get(system.package, f"{system.package} was not asked for (peers = {peers!r})")
        for system in wanted
        if system.package and (system.package in failed or system.package not in allowed)
    }
    return [system for system in wanted if system.name not in absent], python, absent
