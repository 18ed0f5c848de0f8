"""What a check may have beside the learner's code: functions of ``inside.py``, files that its cells wrote."""

from __future__ import annotations

import linecache
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalelab.core.errors import LabFileError, did_you_mean
from scalelab.core.units import format_bytes

INSIDE = "inside.py"


def inside_file(folder: Path | None) -> Path | None:
    """Return the ``inside.py`` for checks in `folder`: beside them, or that of the lab of hidden checks.

    Hidden checks lie in ``solutions/NN_slug``; what runs beside a learner's code is in ``labs/NN_slug``.
    """
    if folder is None:
        return None
    for place in (folder, folder.parent.parent / "labs" / folder.name):
        if (place / INSIDE).is_file():
            return place / INSIDE
    return None


def load_inside(folder: Path | None, function: str) -> Callable[..., Any]:
    """Return a function of the ``inside.py`` that belongs to the checks in `folder`.

    Raises:
        LabFileError: there is no such file or function.
    """
    path = inside_file(folder)
    if path is None:
        raise LabFileError(f"{INSIDE} is missing in {folder}", hint=f"define {function}(answers, ...) there")
    stamp = path.stat().st_mtime_ns
    if path not in _loaded or _loaded[path][0] != stamp:
        _loaded[path] = (stamp, run_inside(path.read_text(encoding="utf-8"), file=str(path)))
    return find_function(_loaded[path][1], function, file=str(path))


def run_inside(source: str, *, file: str = f"<{INSIDE}>") -> dict[str, Any]:
    """Execute the text of an ``inside.py`` and return its names."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "inside", "__file__": file, "__checks__": []}
    exec(compile(source, file, "exec"), names)
    return names


def find_function(names: dict[str, Any], function: str, *, file: str = INSIDE) -> Callable[..., Any]:
    """Return the function of that name.

    Raises:
        LabFileError: there is none.
    """
    found = names.get(function)
    if not callable(found) or function.startswith("_"):
        public = [name for name, value in names.items() if callable(value) and not name.startswith("_")]
        raise LabFileError(f"{file} has no function {function!r}", hint=did_you_mean(function, public))
    return found


_loaded: dict[Path, tuple[int, dict[str, Any]]] = {}


def read_artefact(path: str, max_bytes: int) -> tuple[bytes, str]:
    """Return the content of a file of the working folder, or why there is none to be had."""
    missing = f"there is no file `{path}` yet: run the cell that writes it"
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        return b"", missing
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return b"", f"`{path}` is no file"
    with os.fdopen(handle, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        return b"", f"`{path}` is larger than {format_bytes(max_bytes)}"
    return content, ""
