"""Run a lab's checks on untouched, right, wrong and crashing answers, in a process of its own.

``python -m scalelab.authoring.trials SLUG LAB_FOLDER SOLUTION_FOLDER OUT.json`` writes one row a trial. It
runs what authors wrote as answers, endless loops and exits too: only a child process with limits calls it.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalelab.authoring.folders import LabFolders, load_answers
from scalelab.authoring.source import LabSource, SourceCell, cut_solution, parse_code, parse_source
from scalelab.grading import Check, Task, load_checks, run_check

SEEDS = (1, 2, 3)
"""inputs that each answer is tried on; one only where a check takes longer than `SLOW_S`"""
SLOW_S = 1.0
MEASURED_RUNS = 3
"""times that an inconclusive measurement is repeated"""


@dataclass(frozen=True)
class Trial:
    """One answer under one check."""

    task: str
    """whose answer was tried; empty where all tasks were of one kind"""
    kind: str
    """unsolved, solved, without, right, wrong or crashing"""
    label: str
    """which of its kind: the number of the right one, the code of the wrong one"""
    check: str
    is_hidden: bool
    outcome: str
    code: str
    points: float
    max_points: float
    message: str
    seed: int


def run_trials(folders: LabFolders) -> list[Trial]:
    """Try every check on every kind of answer; a cell that raises is left behind, as in a notebook.

    Raises:
        LabFileError: a file of the lab is missing or broken.
    """
    source = parse_source(folders.read("source.py"), folders.shown_source)
    answers = load_answers(folders)
    visible = load_checks(folders.lab)
    hidden = load_checks(folders.solution, file="hidden_checks.py")
    every = [(check, False) for check in visible.values()] + [(check, True) for check in hidden.values()]
    trials: list[Trial] = []
    for task, kind, label, texts in _variants(source, answers):
        print(f"{kind} {task} {label}", flush=True)  # noqa: T201  the last line says what broke the process
        namespace, raised = _run_cells(source, answers, texts, with_context=kind != "unsolved")
        for check, is_hidden in every:
            if not is_hidden and task and check.name != task and kind != "right":
                continue
            labels = {"task": task, "kind": kind, "label": label, "is_hidden": is_hidden}
            if kind == "crashing" and task in raised:  # it crashes where it stands: no name is left to check
                trials.append(_row(check, "crashed", raised[task], **labels))
            else:
                trials += _try(check, namespace, "; ".join(raised.values()), **labels)
    return trials


def _variants(
    source: LabSource, answers: Mapping[str, Task]
) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Yield task, kind, label and the text of every task cell; tasks other than the one tried are solved."""
    stubs = {name: cut_solution(source, cell) for name, cell in source.tasks.items()}
    solved = {name: cell.text for name, cell in source.tasks.items()}
    yield "", "unsolved", "", stubs
    yield "", "solved", "", solved
    for name, task in answers.items():
        yield name, "without", "", {**solved, name: stubs[name]}
        for number, text in enumerate(task.right, 1):
            yield name, "right", str(number), {**solved, name: text}
        for code, text in task.wrong.items():
            yield name, "wrong", code, {**solved, name: text}
        yield name, "crashing", "", {**solved, name: task.crashing}


def _run_cells(
    source: LabSource, answers: Mapping[str, Task], texts: Mapping[str, str], *, with_context: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the names that the cells leave behind, and what each cell raised, by its task or number."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    raised: dict[str, str] = {}
    for cell in source.cells:
        if cell.task:
            pieces = [answers[cell.task].context] if with_context and cell.task in answers else []
            pieces.append(texts[cell.task])
        elif cell.kind == "code" and not cell.check and (with_context or not cell.is_solution_only):
            pieces = _definitions(source, cell)
        else:
            continue
        for piece in pieces:
            try:
                exec(compile(piece, f"<cell {cell.number}>", "exec"), namespace)
            except (Exception, SystemExit) as error:
                if isinstance(error, NameError) and not cell.task:
                    continue  # made of what a cell would have computed: left out like that
                what = f"{type(error).__name__}: {error}"
                raised[cell.task or str(cell.number)] = f"cell {cell.number} raised {what}"
    return namespace, raised


def _definitions(source: LabSource, cell: SourceCell) -> list[str]:
    """Return the statements that define without doing anything: imports, functions, classes, constants."""

    def is_definition(node: ast.stmt) -> bool:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            return not any(isinstance(part, ast.Call) for part in ast.walk(node))
        return isinstance(
            node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        )

    return [ast.unparse(node) for node in parse_code(source, cell, cell.text).body if is_definition(node)]


def _try(check: Check, namespace: dict[str, Any], raised: str, **labels: Any) -> Iterator[Trial]:
    for seed in SEEDS:
        for _ in range(MEASURED_RUNS if check.measured else 1):
            result = run_check(check, namespace, seed=seed)
            if result.outcome.value != "inconclusive":
                break
        message = result.message + (f" ({raised})" if raised and not result.is_passed else "")
        yield _row(check, result.outcome.value, message, result.code, result.points, seed, **labels)
        if result.seconds > SLOW_S or check.measured:
            break


def _row(
    check: Check,
    outcome: str,
    message: str,
    code: str = "",
    points: float = 0.0,
    seed: int = 0,
    **labels: Any,
) -> Trial:
    return Trial(
        check=check.name,
        outcome=outcome,
        code=code,
        points=points,
        max_points=check.points,
        message=message,
        seed=seed,
        **labels,
    )


if __name__ == "__main__":
    slug, lab, solution, out = sys.argv[1:]
    rows = [asdict(trial) for trial in run_trials(LabFolders(slug, Path(lab), Path(solution)))]
    Path(out).write_text(json.dumps(rows), encoding="utf-8")
