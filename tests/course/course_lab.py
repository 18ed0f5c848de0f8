"""The lab of own numbers as students get it, and as they hand it in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.authoring.render import NotebookCell, cell_id, render
from scalelab.authoring.source import cut_solution, parse_source

FOLDER = Path(__file__).parent / "own_numbers"
SLUG = "41_own_numbers"
POINTS = 6.0
SOURCE = parse_source((FOLDER / "source.py").read_text(encoding="utf-8"))


def build(audience: str = "student") -> bytes:
    """Return the lab's notebook, as `scalelab author build` makes it of a lab with all its headings."""
    made = []
    for cell in SOURCE.cells:
        text = cut_solution(SOURCE, cell) if cell.task and audience == "student" else cell.text
        graded = {
            "grade": bool(cell.check), "grade_id": f"check-{cell.check}" if cell.check else cell.task,
            "locked": bool(cell.check), "schema_version": 3, "solution": bool(cell.task), "task": False,
            **({"points": 2} if cell.check else {}),
        }  # fmt: skip
        metadata = {"nbgrader": graded} if cell.task or cell.check else {}
        made.append(NotebookCell(cell.kind, text, cell_id(SLUG, cell.number), metadata))
    return render(made)


def install(labs: Path) -> Path:
    """Put the lab into a folder of labs."""
    folder = labs / SLUG
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("source.py", "__pycache__"))
    (folder / "lab.ipynb").write_bytes(build())
    (folder / "README.md").write_text("# Own numbers\n", encoding="utf-8")
    return folder


SOLVED = {name: cell.text for name, cell in SOURCE.tasks.items()}


def handed_in(answers: Mapping[str, str]) -> bytes:
    """Return a submission; a task without an answer stays as it was released."""
    notebook: dict[str, Any] = json.loads(build())
    for cell in notebook["cells"]:
        task = cell["metadata"].get("nbgrader", {})
        if task.get("solution") and task["grade_id"] in answers:
            cell["source"] = answers[task["grade_id"]]
    return json.dumps(notebook).encode()
