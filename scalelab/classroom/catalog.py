"""The labs that ship with ScaleLab: what each is called, costs in time, and asks."""

from __future__ import annotations

import re
import sys
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, LabFileError, did_you_mean
from scalelab.core.paths import shipped

FOLDER = re.compile(r"\d\d_[a-z0-9_]+")


@dataclass(frozen=True)
class LabInfo:
    """What ``lab.toml`` says of a lab."""

    slug: str
    """``06_gradient_accumulation``: also the name of its folder"""
    number: int
    title: str
    chapter: str
    minutes: int
    """what a learner needs [min]"""
    ram_mib: int
    disk_mib: int
    extras: tuple[str, ...]
    """optional parts of scalelab that it needs: ``("torch",)``"""
    points: float
    question: str
    aha: str
    folder: Path

    @property
    def notebook(self) -> Path:
        """The notebook as the course gives it out."""
        return self.folder / "lab.ipynb"


def list_labs() -> list[LabInfo]:
    """Return the labs in the order of the course."""
    root = shipped("labs")
    if not root.is_dir():
        return []
    folders = sorted(path for path in root.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir())
    return [load_info(folder) for folder in folders if (folder / "lab.toml").is_file()]


def find_lab(name: str | int) -> LabInfo:
    """Return the lab called `name`: its slug, its number (``6``, ``"06"``) or what follows the number.

    Raises:
        ConfigError: there is no such lab; the hint has the closest.
    """
    wanted = str(name).strip().rstrip("/")
    root = shipped("labs")
    if FOLDER.fullmatch(wanted) and (root / wanted / "lab.toml").is_file():
        return load_info(root / wanted)
    labs = list_labs()
    for lab in labs:
        is_number = wanted.isdecimal() and int(wanted) == lab.number
        if is_number or wanted == lab.slug[3:]:
            return lab
    if not labs:
        raise ConfigError(f"there is no lab {wanted!r}: {root} holds none", hint="install scalelab again")
    raise ConfigError(
        f"there is no lab {wanted!r}", hint=did_you_mean(wanted.lower(), [lab.slug for lab in labs])
    )


def load_info(folder: Path) -> LabInfo:
    """Read a lab's ``lab.toml``.

    Raises:
        LabFileError: the file is not what it should be.
    """
    path = folder / "lab.toml"
    raw = _read_toml(path)
    raw.pop("grading", None)  # limits, for the grader alone
    known = {field.name: field for field in fields(LabInfo) if field.name != "folder"}
    missing = [name for name, field in known.items() if field.default is MISSING and name not in raw]
    if missing or set(raw) - set(known):
        odd = f"{missing[0]!r} is missing" if missing else f"{sorted(set(raw) - set(known))[0]!r} is unknown"
        raise LabFileError(f"{path}: {odd}", hint=f"a lab has {', '.join(known)}")
    if raw["slug"] != folder.name:
        raise LabFileError(f"{path} has the slug {raw['slug']!r}", hint=f"it must be {folder.name!r}")
    return LabInfo(**{**raw, "extras": tuple(raw["extras"]), "folder": folder})


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise LabFileError(f"{path} is missing", hint="install scalelab again") from None
    except (ValueError, OSError) as error:
        raise LabFileError(f"{path} cannot be read: {error}", hint="tell the lab's authors") from None
