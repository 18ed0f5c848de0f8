"""Execute a learner's notebook away from their kernel and report every check: ``python -m`` this module.

A process of its own, so that whatever the notebook does (end Python, eat memory, never end) is only its own
end. Each line it writes to ``--out`` is one JSON object: the checks there are, the cell that begins, a cell
that raised, a result.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scalelab.classroom.lab import Lab, MeasuredElsewhere
from scalelab.classroom.notebooks import Cell, read_notebook
from scalelab.core.lazy import require
from scalelab.core.processes import die_with_parent
from scalelab.grading import CheckResult
from scalelab.grading.expectations import in_words
from scalelab.grading.limits import OverLimit, time_limit
from scalelab.grading.lines import first_line


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--lab", "slug", required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--cell-limit-s", default=120.0)
def main(notebook: Path, slug: str, out: Path, cell_limit_s: float) -> None:
    """Run all cells of NOTEBOOK, then the checks that none of them asked for."""
    die_with_parent()
    shell = _shell()
    with out.open("a", encoding="utf-8") as lines:

        def tell(kind: str, **facts: Any) -> None:
            lines.write(json.dumps({"kind": kind, **facts}) + "\n")
            lines.flush()

        seen: set[str] = set()

        def on_result(result: CheckResult) -> None:
            seen.add(result.name)
            tell("result", **{**asdict(result), "outcome": result.outcome.value})

        Lab.on_result, Lab.measures = staticmethod(on_result), False
        lab = Lab(slug, shell.user_ns)
        tell(
            "checks",
            checks=[
                {"name": check.name, "goal": check.goal, "points": check.points}
                for check in lab.checks.values()
            ],
        )
        cells = read_notebook(notebook).cells
        is_marked = any(cell.task for cell in cells)
        for cell in cells:
            tell("cell", number=cell.number, begin=first_line(cell.source))
            is_task = bool(cell.task) if is_marked else _defines_something(cell)
            error = _run(shell, cell, cell_limit_s, is_task=is_task)
            if error:
                tell("error", number=cell.number, begin=first_line(cell.source), message=error)
        tell("cell", number=0, begin="")
        for name in lab.checks:
            if name not in seen:
                lab.check(name)
        labs = [lab, *(value for value in shell.user_ns.values() if isinstance(value, Lab))]
        for problem in {each.ledger.problem for each in labs} - {""}:
            tell("note", message=problem)
        tell("end")
    sys.stdout.flush()
    os._exit(0)  # threads that the notebook left must not keep us


def _shell() -> Any:
    """Return an IPython shell, so that cells may use what a notebook's may: magics, await, display."""
    require("IPython", extra="lab")
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config, colors="NoColor")
    sys.path.insert(0, "")
    return shell


def _run(shell: Any, cell: Cell, limit_s: float, *, is_task: bool) -> str:
    """Run a cell; return the sentence of its error, or an empty one.

    Nothing is measured here, and stubs are no answers yet: cells that show or explain what they would give
    may break, and that is no news.
    """
    try:
        with time_limit(limit_s):
            done = shell.run_cell(cell.source, store_history=True)
    except OverLimit:
        return f"did not end in {limit_s:g} s"
    error = done.error_before_exec or done.error_in_exec
    if error is None:
        return ""
    if isinstance(error, NotImplementedError | MeasuredElsewhere):
        Lab.passed_over = True
        return ""
    if Lab.passed_over and not is_task and not isinstance(error, SyntaxError):
        return ""
    if isinstance(error, OverLimit):
        return f"did not end in {limit_s:g} s"
    line = getattr(error, "lineno", None)
    at = f" (line {line})" if line else ""
    text = getattr(error, "msg", None) or getattr(error, "message", None)
    return (f"{type(error).__name__}: {' '.join(str(text).split())}" if text else in_words(error)) + at


def _defines_something(cell: Cell) -> bool:
    """Guess that a cell is a task, in a notebook that has lost its metadata."""
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:  # a magic
        return False
    defines = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return any(isinstance(node, defines) for node in tree.body)


if __name__ == "__main__":
    main()
