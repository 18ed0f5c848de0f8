"""Percent scripts to notebooks, the same bytes at every build."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.core.lazy import require
from scalelab.core.paths import shipped

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "scalelab:notebook")
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_MARKER = re.compile(r"^#\s*%%")


@dataclass(frozen=True)
class NotebookCell:
    """A cell as its notebook shows it."""

    kind: str
    """code, markdown or raw"""
    text: str
    id: str
    """at most 64 letters, digits, - or _; unique in the notebook"""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def cell_id(*parts: str | int) -> str:
    """Return an id that is the same for the same parts, always (jupytext draws new ones at each read)."""
    return uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts)).hex[:12]


def read_script(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return kind, text and metadata of every cell of a jupytext percent script."""
    notebook = require("jupytext", extra="author").reads(text, fmt="py:percent")
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def marker_lines(text: str) -> list[int]:
    """Return the numbers of the lines that open a cell."""
    return [number for number, line in enumerate(text.splitlines(), 1) if _MARKER.match(line)]


def render(cells: Sequence[NotebookCell]) -> bytes:
    """Return a notebook of format 4.5 without outputs or time stamps: a pure function of its cells."""
    nbformat = require("nbformat", extra="author")
    make = {
        "code": nbformat.v4.new_code_cell,
        "markdown": nbformat.v4.new_markdown_cell,
        "raw": nbformat.v4.new_raw_cell,
    }
    notebook = nbformat.v4.new_notebook(
        cells=[make[cell.kind](cell.text, id=cell.id, metadata=dict(cell.metadata)) for cell in cells],
        metadata={"kernelspec": _KERNEL, "language_info": {"name": "python"}},
    )
    notebook.nbformat_minor = 5
    text: str = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
    return (text.rstrip("\n") + "\n").encode()


def render_script(source: Path) -> bytes:
    """Render a percent script as a notebook; ids come from the file's name and the cell's place."""
    return render(
        [
            NotebookCell(kind, text, cell_id(source.stem, place), metadata)
            for place, (kind, text, metadata) in enumerate(read_script(source.read_text(encoding="utf-8")))
        ]
    )


def benchmark_sources() -> list[Path]:
    """Return the sources of all benchmark notebooks."""
    return sorted(shipped("benchmarks").glob("*.py"))


def write_if_changed(path: Path, content: bytes, *, only_check: bool = False) -> bool:
    """Write `content` unless `path` holds it already; return whether it did."""
    is_fresh = path.exists() and path.read_bytes() == content
    if not is_fresh and not only_check:
        path.write_bytes(content)
    return is_fresh
