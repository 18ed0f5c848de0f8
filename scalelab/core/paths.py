"""Where the files that ship with ScaleLab lie, and where runs write theirs."""

from __future__ import annotations

import os
from pathlib import Path

from scalelab.core.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """Return a shipped folder, ``datasets``, ``benchmarks`` or ``labs``: a checkout's or a package's."""
    inside = {"datasets": "datasets", "benchmarks": "labs/benchmarks", "labs": "labs"}
    assert name in inside, name
    override = os.environ.get(f"SCALELAB_{name.upper()}")
    if override:
        return Path(override)
    checkout = _PACKAGE.parent / inside[name]
    return checkout if checkout.is_dir() else _PACKAGE / "_files" / name


def runs_folder() -> Path:
    """Return the folder for results: ``$SCALELAB_RUNS``, or ``runs`` in the current folder."""
    folder = Path(os.environ.get("SCALELAB_RUNS", "runs")).resolve()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", hint="set SCALELAB_RUNS to a folder for results")
    return folder
