"""Read a learner's notebook, whatever saved it: only the code in it counts.

Metadata, outputs and ids are passed over, so what Colab or an extension adds does no harm; the old format 3
is read too. A file that is no notebook (any more) is refused with a sentence.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.classroom.catalog import FOLDER
from scalelab.core.errors import DataError
from scalelab.core.units import MIB, format_bytes
from scalelab.grading.lines import first_line

LARGEST_BYTES = 64 * MIB
_LAB = re.compile(r"""\bLab\(\s*["']?([0-9A-Za-z_]+)["']?""")


@dataclass(frozen=True)
class Cell:
    """A code cell."""

    number: int
    """place in the notebook, from 1, text cells counted"""
    source: str
    task: str = ""
    """the task it answers, as far as its metadata still says so"""


@dataclass(frozen=True)
class Notebook:
    """The code of a notebook."""

    path: Path
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    """what a learner should know about the file"""

    @property
    def lab(self) -> str:
        """The lab that it names in ``Lab("...")``; empty if it names none."""
        for cell in self.cells:
            found = _LAB.search(cell.source)
            if found:
                return found.group(1)
        return ""


def read_notebook(path: Path) -> Notebook:
    """Read the code cells of `path`.

    Raises:
        DataError: it is missing, empty, cut off, too large or no notebook.
    """
    raw = _read_json(path)
    if isinstance(raw, dict) and isinstance(raw.get("cells"), list):
        cells, source, notes = raw["cells"], "source", []
    elif isinstance(raw, dict) and isinstance(raw.get("worksheets"), list):
        sheets = [sheet for sheet in raw["worksheets"] if isinstance(sheet, dict)]
        cells, source = [cell for sheet in sheets for cell in sheet.get("cells", [])], "input"
        notes = [
            "saved in the notebook format 3 of 2014; open it in JupyterLab and save it to bring it up to date"
        ]
    else:
        raise DataError(f"{path} is JSON, but no notebook: it has no list of cells", hint=_way_back(path))
    code = [
        Cell(number, _text(cell.get(source, cell.get("source", ""))), _task(cell))
        for number, cell in enumerate(cells, start=1)
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]
    code = [cell for cell in code if cell.source.strip()]
    if not code:
        raise DataError(f"{path} has no code cell", hint=_way_back(path))
    return Notebook(path, tuple(code), (*notes, *_defined_twice(code)))


def _read_json(path: Path) -> Any:
    try:
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            kind = "a folder" if path.is_dir() else "not a file" if path.exists() else "not there"
            raise DataError(f"{path} is {kind}", hint="give the path of your notebook, or its folder")
        if size > LARGEST_BYTES:
            raise DataError(
                f"{path} has {format_bytes(size)}, no lab is so large",
                hint="clear its outputs (Edit > Clear Outputs of All Cells) and save it",
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="may you read it?") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text, so it is no notebook", hint=_way_back(path)) from None
    if not text.strip():
        raise DataError(f"{path} is empty", hint=_way_back(path))
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{path} is nested too deeply", hint=_way_back(path)) from None
    except ValueError as error:
        at_end = getattr(error, "pos", 0) >= len(text.rstrip()) - 1 or "Unterminated" in str(error)
        what = "is cut off: its end is missing" if at_end else f"is no notebook any more ({error})"
        raise DataError(f"{path} {what}", hint=_way_back(path)) from None


def _way_back(path: Path) -> str:
    saved = path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint{path.suffix}"
    if saved.is_file():
        return f"Jupyter kept an older state: copy {saved} over it"
    number = path.stem[:2] if FOLDER.fullmatch(path.stem) else "NN"
    return f"start over with `scalelab lab reset {number}`: it keeps this file as a backup"


def _text(source: object) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else str(source or "")


def _task(cell: dict[str, Any]) -> str:
    metadata = cell.get("metadata")
    grader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(grader, dict) or not grader.get("solution"):
        return ""
    return str(grader.get("grade_id", ""))


def _defined_twice(cells: Sequence[Cell]) -> list[str]:
    """Say which function or class is defined in two cells of the notebook: the later one wins."""
    places: dict[str, dict[int, str]] = {}
    for cell in cells:
        try:
            tree = ast.parse(cell.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # magics, or a cell that is broken
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                told = f"{cell.number} (`{first_line(cell.source)}`)"
                places.setdefault(node.name, {})[cell.number] = told
    return [
        f"{name} is defined in cells {' and '.join(told.values())}: the last one counts"
        for name, told in places.items()
        if len(told) > 1
    ]
