"""Benchmark notebooks from their jupytext sources, the same bytes at every build."""

from __future__ import annotations

import uuid
from pathlib import Path

from scalelab.core.lazy import require
from scalelab.core.paths import shipped

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "scalelab:notebook")
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def benchmark_sources() -> list[Path]:
    """Return the sources of all benchmark notebooks."""
    return sorted(shipped("benchmarks").glob("*.py"))


def build_notebook(source: Path) -> str:
    """Render a percent script as the text of a notebook: a pure function of its bytes and its name.

    Cell ids come from the file's name and the cell's place (jupytext draws new ones at each read); no
    outputs, no time stamps.
    """
    jupytext = require("jupytext", extra="author")
    nbformat = require("nbformat", extra="author")
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for place, cell in enumerate(notebook.cells):
        cell.id = uuid.uuid5(_NAMESPACE, f"{source.stem}/{place}").hex[:12]
    text: str = nbformat.writes(notebook, version=nbformat.NO_CONVERT)
    return text.rstrip("\n") + "\n"
