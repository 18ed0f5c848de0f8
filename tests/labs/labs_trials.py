"""A lab under test: its source, checks and trial answers, and the names of its solved notebook."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
from typing import Any

from scalelab.authoring.folders import find_labs, load_answers
from scalelab.authoring.source import cut_solution, parse_source
from scalelab.grading import CheckResult, attempt, load_checks


class LabUnderTest:
    """Everything of one lab, read once."""

    def __init__(self, number: str):
        self.folders = find_labs([number])[0]
        self.source = parse_source(self.folders.read("source.py"))
        self.answers = load_answers(self.folders)
        self.checks = load_checks(self.folders.lab)
        self.tasks = sorted(self.checks)
        self.wrong = [(task, code) for task in self.tasks for code in self.answers[task].wrong]

    def definitions(self) -> dict[str, Any]:
        """Return the names that the solution notebook defines, without what its cells do."""
        names: dict[str, Any] = {"__name__": "__main__"}
        for cell in self.source.cells:
            if cell.kind != "code" or cell.check:
                continue
            for node in ast.parse(cell.text).body:
                kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
                does_nothing = isinstance(node, ast.Assign) and not any(
                    isinstance(part, ast.Call) for part in ast.walk(node)
                )
                if isinstance(node, kinds) or does_nothing:
                    with contextlib.suppress(NameError):  # a value of what a cell computes
                        exec(compile(ast.unparse(node), f"<cell {cell.number}>", "exec"), names)
        return names

    def run_cell(self, holding: str, names: dict[str, Any]) -> None:
        """Run the one cell that holds a piece of text, up to the line that asks the lab."""
        (cell,) = [each for each in self.source.cells if each.kind == "code" and holding in each.text]
        statements = ast.parse(cell.text).body
        body = list(
            itertools.takewhile(lambda node: not re.search(r"\blab\.", ast.unparse(node)), statements)
        )
        exec(compile(ast.Module(body, []), f"<cell {cell.number}>", "exec"), names)

    def try_answer(self, task: str, source: str, names: dict[str, Any], *, seed: int = 5) -> CheckResult:
        """Check one answer in a fresh copy of the notebook's names."""
        before = {name: dict(value) if type(value) is dict else value for name, value in names.items()}
        exec(self.answers[task].context, before)
        return attempt(self.checks[task], source, context=before, seed=seed)

    def stub(self, task: str) -> str:
        """Return the task's cell as a student gets it."""
        return cut_solution(self.source, self.source.tasks[task])

    def functions(self, task: str) -> list[str]:
        """Return the names that a task asks for."""
        tree = ast.parse(self.source.tasks[task].text)
        return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
