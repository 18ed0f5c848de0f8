"""The data files that ship with ScaleLab: what they are, and that they are what they were."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import DataError, did_you_mean
from scalelab.core.paths import shipped

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = "manifest.toml"


@dataclass(frozen=True)
class DataFile:
    """One row of the manifest."""

    name: str
    bytes: int
    sha256: str
    holds: str
    source: str
    licence: str
    licence_note: str = ""


def read_manifest() -> dict[str, DataFile]:
    """Return what the manifest says of each file, by file name.

    Raises:
        DataError: the manifest is missing, or is not the TOML that we ship.
    """
    path = shipped("datasets") / MANIFEST
    try:
        rows = tomllib.loads(_read(path).decode())["files"]
        return {name: DataFile(name=name, **row) for name, row in rows.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not the manifest that ships with ScaleLab: {error}", hint=_mend(path)
        ) from None


def read_verified(name: str) -> bytes:
    """Return the content of a data file, after checking its size and sha256 against the manifest.

    The bytes that were checked are the bytes returned: nothing is read twice.

    Raises:
        DataError: the file is missing, cut short, or has other content; the message has expected and found.
    """
    manifest = read_manifest()
    if name not in manifest:
        raise DataError(f"the manifest has no file {name!r}", hint=did_you_mean(name, manifest))
    wanted = manifest[name]
    path = shipped("datasets") / name
    content = _read(path)
    if len(content) != wanted.bytes:
        raise DataError(f"{path} has {len(content):,} bytes, expected {wanted.bytes:,}", hint=_mend(path))
    found = hashlib.sha256(content).hexdigest()
    if found != wanted.sha256:
        raise DataError(
            f"{path} has other content: sha256 {found[:16]}..., expected {wanted.sha256[:16]}...",
            hint=_mend(path),
        )
    return content


def verify_all() -> list[DataFile]:
    """Check every file of the manifest; return the rows.

    Raises:
        DataError: the first file that is not what it should be.
    """
    files = list(read_manifest().values())
    for file in files:
        read_verified(file.name)
    return files


def read_card() -> str:
    """Return the data card: use, origin and known limits of the data.

    Raises:
        DataError: it cannot be read.
    """
    return _read(shipped("datasets") / "README.md").decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing", hint=_mend(path)) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=_mend(path)) from None


def _mend(path: Path) -> str:
    """Say which command brings the file back."""
    if os.environ.get("SCALELAB_DATASETS"):
        return f"SCALELAB_DATASETS points to {path.parent}: unset it, or copy the files there again"
    if (path.parent.parent / "pyproject.toml").exists():
        return f'in {path.parent.parent}: git checkout -- "datasets/{path.name}"'
    return "pip install --force-reinstall --no-deps scalelab"
