"""The tiny lab and its submissions: notebooks with chosen answers, as a student would hand them in."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAB = Path(__file__).parent / "tiny_lab"
POINTS = 12.0


def _answers() -> tuple[dict[str, str], dict[str, str]]:
    spec = importlib.util.spec_from_file_location("tiny_lab_answers", LAB / "answers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RIGHT, module.WRONG


RIGHT, WRONG = _answers()
TASKS = tuple(RIGHT)
HALF = {**RIGHT, **{name: WRONG[name] for name in TASKS[::2]}}
"""6 of 12 points"""


def release() -> dict[str, Any]:
    """Return the notebook that students get."""
    return json.loads((LAB / "lab.ipynb").read_bytes())


def notebook(
    answers: Mapping[str, str] = RIGHT, *, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
):
    """Return a submission's JSON; a task without an answer stays as it was released.

    Args:
        before: code of extra cells in front of the first task.
        after: code of extra cells at the end.
    """
    book = release()
    cells = []
    is_before = True
    for cell in book["cells"]:
        task = cell["metadata"].get("nbgrader", {})
        if task.get("solution"):
            cells += [code_cell(text) for text in before] if is_before else []
            is_before = False
            if task["grade_id"] in answers:
                cell = {**cell, "source": answers[task["grade_id"]].splitlines(keepends=True)}
        cells.append(cell)
    book["cells"] = cells + [code_cell(text) for text in after]
    return book


def code_cell(text: str) -> dict[str, Any]:
    """Return a plain code cell."""
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None}


def raw(answers: Mapping[str, str] = RIGHT, **extra: tuple[str, ...]) -> bytes:
    """Return a submission as the bytes of its file."""
    return json.dumps(notebook(answers, **extra)).encode()


def build(audience: str = "student") -> bytes:
    """Render source.py; ``python tests/grader/grader_tiny.py`` writes lab.ipynb after a change of it."""
    from scalelab.authoring.render import NotebookCell, cell_id, render
    from scalelab.authoring.source import cut_solution, parse_source

    source = parse_source((LAB / "source.py").read_text(encoding="utf-8"))
    made = []
    for cell in source.cells:
        text = cut_solution(source, cell) if cell.task and audience == "student" else cell.text
        graded = {
            "grade": bool(cell.check), "grade_id": f"check-{cell.check}" if cell.check else cell.task,
            "locked": bool(cell.check), "schema_version": 3, "solution": bool(cell.task), "task": False,
            **({"points": 2} if cell.check else {}),
        }  # fmt: skip
        metadata = {"nbgrader": graded} if cell.task or cell.check else {}
        made.append(NotebookCell(cell.kind, text, cell_id("tiny_lab", cell.number), metadata))
    return render(made)


if __name__ == "__main__":
    (LAB / "lab.ipynb").write_bytes(build())
