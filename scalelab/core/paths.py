"""Where the files that ship with ScaleLab lie, and where runs write theirs."""

from __future__ import annotations

import os
import tempfile
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
    """Return the folder for results: ``$SCALELAB_RUNS``, else ``runs`` in the checkout or the current folder.

    Anywhere inside a checkout it is the checkout's: a notebook runs in its own folder, and must find what
    the command line made from the top.
    """
    home = _PACKAGE.parent
    in_checkout = (home / "pyproject.toml").exists() and Path.cwd().is_relative_to(home)
    folder = Path(os.environ.get("SCALELAB_RUNS") or (home / "runs" if in_checkout else "runs")).resolve()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", hint="set SCALELAB_RUNS to a folder for results")
    return folder


def make_folder(path: Path) -> Path:
    """Make sure, before the work and not after it, that files can be written to the folder `path`; return it.

    Raises:
        ConfigError: it is a file, lies under one, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigError(
            f"nothing can be written to the folder {path}: {error.strerror}",
            hint="choose another one: by --out, or set SCALELAB_RUNS",
        ) from None
    return path
