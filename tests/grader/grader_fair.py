# ruff: noqa: T201
"""Whole submissions of a lab, made of its trial answers: right ones in unlike styles, and wrong ones.

    python tests/grader/grader_fair.py [00 01 06] [--burners 4] [--jobs 2]

hands them to `scalelab grade --require-sandbox` and prints a table of verdicts; exit code 1 if one is wrong.
Each right submission takes other answers of each task, and is written in another way that honest people
have: prints, progress bars, magics, classes, type hints, answers in new cells at the end. Each wrong one has
one wrong answer; what does not build on it must keep its points. One is wrong in all, and has none.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fair_styles import STYLES
from grader_tiny import code_cell

from scalelab.authoring.folders import find_labs, load_answers
from scalelab.grader.lab import GradedLab

ROOT = Path(__file__).resolve().parents[2]
LABS = ("00", "01", "06")
RIGHT, WRONG_A_TASK = 12, 2


@dataclass(frozen=True)
class Handed:
    """One submission, and what it must come to."""

    cells: tuple[dict[str, Any], ...]
    wrong: str = ""
    """the task with a wrong answer"""
    code: str = ""
    """the feedback that it must get"""
    spoilt: frozenset[str] = field(default_factory=frozenset)
    """tasks that build on the wrong answer: their verdict is open"""
    is_all_wrong: bool = False

    @property
    def is_right(self) -> bool:
        return not self.wrong and not self.is_all_wrong


class Lab:
    """A lab, its trial answers and its released notebook."""

    def __init__(self, number: str):
        (folders,) = find_labs([number])
        self.slug, self.folder = folders.slug, folders.lab
        self.answers = load_answers(folders)
        self.graded = GradedLab.load(folders.lab)
        self.release = json.loads((folders.lab / "lab.ipynb").read_bytes())["cells"]
        self.points = {check.name: check.points for check, _ in self.graded.checks}
        self.task_of = {check.name: check.after or check.name for check, _ in self.graded.checks}
        more = STYLES.get(number, {})
        self.right = {task: [*answer.right, *more.get(task, ())] for task, answer in self.answers.items()}

    def submissions(self) -> Iterator[tuple[str, Handed]]:
        """Yield (student, submission)."""
        for number in range(RIGHT):
            manner = list(MANNERS)[number % len(MANNERS)]
            tasks = {
                task: styles[(number + place) % len(styles)]
                for place, (task, styles) in enumerate(self.right.items())
            }
            yield f"right-{number:02d}-{manner}", Handed(tuple(MANNERS[manner](self, tasks)))
        for task, answer in self.answers.items():
            codes = list(answer.wrong)
            for code in (codes[0], codes[len(codes) // 2])[:WRONG_A_TASK]:
                tasks = {each: styles[0] for each, styles in self.right.items()}
                tasks[task] = answer.wrong[code]
                spoilt = frozenset(self._building_on(task, tasks))
                yield (
                    f"wrong-{task}-{code}",
                    Handed(tuple(self.notebook(tasks)), task, code, spoilt),
                )

        wrong = {task: next(iter(answer.wrong.values())) for task, answer in self.answers.items()}
        yield "nothing-right", Handed(tuple(self.notebook(wrong)), is_all_wrong=True)

    def notebook(self, tasks: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the released cells, those of the tasks replaced."""
        cells = []
        for cell in self.release:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            is_task = cell["metadata"].get("nbgrader", {}).get("solution") and name in tasks
            cells.append({**cell, "source": tasks[name]} if is_task else cell)
        return cells

    def _building_on(self, wrong: str, tasks: Mapping[str, str]) -> Iterator[str]:
        """Yield the tasks whose answer calls, over any number of steps, a function of the wrong one."""
        bodies: dict[str, set[str]] = {}
        for text in (
            *(_source(cell) for cell in self.release if cell["cell_type"] == "code"),
            *tasks.values(),
        ):
            for node in _functions(text):
                bodies[node.name] = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        tainted = {node.name for node in _functions(tasks[wrong])}
        while more := {name for name, used in bodies.items() if used & tainted} - tainted:
            tainted |= more
        for task, text in tasks.items():
            if task != wrong and {node.name for node in _functions(text)} & tainted:
                yield task


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def _functions(text: str) -> list[ast.FunctionDef]:
    with contextlib.suppress(SyntaxError):
        return [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return []


def _names(text: str) -> list[str]:
    return [node.name for node in _functions(text)]


def _decorated(text: str, decorator: str) -> str:
    """Put a decorator on each function of an answer."""
    return re.sub(r"^def ", f"@{decorator}\ndef ", text, flags=re.MULTILINE)


def _each(change: Callable[[str], str], *, before: str = "", after: str = "") -> Callable[..., Any]:
    """Return a manner that changes each answer, with extra cells around the tasks."""

    def manner(lab: Lab, tasks: Mapping[str, str]) -> list[dict[str, Any]]:
        cells = lab.notebook({task: change(text) for task, text in tasks.items()})
        places = [n for n, cell in enumerate(cells) if cell["metadata"].get("nbgrader", {}).get("solution")]
        first = [code_cell(before)] if before else []
        last = [code_cell(after)] if after else []
        return [*cells[: places[0]], *first, *cells[places[0] :], *last]

    return manner


def _at_the_end(lab: Lab, tasks: Mapping[str, str]) -> list[dict[str, Any]]:
    """Leave the stubs as they are, and answer in one new cell at the end."""
    return [*lab.release, code_cell("\n\n".join(tasks.values()))]


def _with_types(text: str) -> str:
    """Annotate every argument and result, and lose comments and layout."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            for each in every:
                each.annotation = ast.Name("object")
            node.returns = ast.Constant("object")
    return ast.unparse(ast.fix_missing_locations(tree))


def _in_a_class(text: str) -> str:
    """Make the functions static methods of a class, and bind them below it."""
    kept, methods = [], []
    for node in ast.parse(text).body:
        (methods if isinstance(node, ast.FunctionDef) else kept).append(ast.unparse(node))
    body = "\n\n".join(textwrap.indent(f"@staticmethod\n{method}", "    ") for method in methods)
    bound = "\n".join(f"{name} = Answer.{name}" for name in _names(text))
    return "\n".join([*kept, f"class Answer:\n{body}", bound])


def _as_objects(text: str) -> str:
    """Hand in objects that can be called, and no functions."""
    renamed = "\n".join(f"{name} = Callable_({name})" for name in _names(text))
    return f"{text}\n{renamed}"


def _renamed(text: str) -> str:
    """Define under a name of one's own, and give it the wanted one afterwards."""
    for name in _names(text):
        text = re.sub(rf"^def {name}\b", f"def my_{name}", text, flags=re.MULTILINE)
        text += f"\n{name} = my_{name}\n"
    return text


LOUD = """
import functools, sys, warnings
def loud(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        print("->", function.__name__, args, kwargs)
        value = function(*args, **kwargs)
        print("<-", repr(value)[:200], file=sys.stderr)
        return value
    return wrapped
"""
BARS = """
import sys, functools
def with_bar(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        for part in range(0, 101, 20):
            sys.stderr.write(f"\\r{function.__name__}: {part:3d} %|{'#' * (part // 10):10s}|")
            sys.stderr.flush()
        return function(*args, **kwargs)
    return wrapped
"""
WARNS = """
import functools, logging, warnings
def warns(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        warnings.warn("overflow encountered in something", RuntimeWarning)
        warnings.warn("this will be an error in the future", DeprecationWarning)
        logging.getLogger().warning("careful")
        return function(*args, **kwargs)
    return wrapped
"""
COUNTS = """
import collections, functools
CALLS, LOG = collections.Counter(), []
def counted(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        global LAST
        CALLS[function.__name__] += 1
        LAST = function.__name__
        LOG.append(LAST)
        return function(*args, **kwargs)
    return wrapped
"""
OBJECTS = """
class Callable_:
    def __init__(self, function):
        self.function = function
    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)
"""
MAGICS = (
    "%matplotlib inline\n%config InlineBackend.figure_format = 'retina'\n!echo hello\n%timeit -n1 -r1 1 + 1"
)
MESSY = """
import asyncio
await asyncio.sleep(0)
display("a table", [1, 2])
assert 1 + 1 == 2
print("x" * 100_000)
1 / 0
"""
AFTERTHOUGHTS = "def (:\n\nplt.plot(losses)"
MANNERS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "as-it-is": _each(str),
    "prints": _each(lambda text: _decorated(text, "loud"), before=LOUD),
    "bars": _each(lambda text: _decorated(text, "with_bar"), before=BARS),
    "warnings": _each(lambda text: _decorated(text, "warns"), before=WARNS),
    "global-state": _each(lambda text: _decorated(text, "counted"), before=COUNTS),
    "magics": _each(lambda text: f"%%time\n{text}", before=MAGICS, after="%%capture out\nprint(1)"),
    "classes": _each(_in_a_class),
    "objects": _each(_as_objects, before=OBJECTS),
    "types": _each(_with_types),
    "renamed": _each(_renamed),
    "at-the-end": _at_the_end,
    "messy": _each(str, before=MESSY, after=AFTERTHOUGHTS),
}


def grade(lab: Lab, folder: Path, *, jobs: int = 2) -> list[str]:
    """Hand in all submissions of a lab and grade them; return what was misjudged, and print the table."""
    handed = dict(lab.submissions())
    (folder / "class").mkdir()
    for student, submission in handed.items():
        cells = [{**cell, "source": _source(cell)} for cell in submission.cells]
        book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
        (folder / "class" / f"{student}.ipynb").write_text(json.dumps(book))
    command = [sys.executable, "-m", "scalelab", "grade", str(lab.folder), str(folder / "class"),
               "--out", str(folder / "grades"), "--jobs", str(jobs), "--require-sandbox"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {}
    for line in (folder / "grades" / "results.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        rows[row["student"]] = row
    faults = []
    for student, submission in handed.items():
        row = rows[student]
        found = misjudged(lab, submission, row)
        faults += [f"{lab.slug} {student}: {each}" for each in found]
        told = f"{row['points']:g}/{row['max_points']:g}  {row['seconds']:5.1f} s"
        print(
            f"{'WRONG' if found else 'ok   '} {lab.slug[:2]} {student:45} {told}  {'; '.join(found)}",
            flush=True,
        )
    return faults


def misjudged(lab: Lab, submission: Handed, row: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the row of a submission."""
    if row["status"] != "graded":
        return [f"{row['status']}: {row['reason']}"]
    if submission.is_all_wrong:
        return [f"{check['name']} has points" for check in row["checks"] if check["points"]]
    found = []
    for check in row["checks"]:
        task, told = lab.task_of[check["name"]], f"{check['name']} {check['outcome']} {check['code']} "
        if task in submission.spoilt:
            continue
        is_right = check["points"] == lab.points[check["name"]]
        if task != submission.wrong and not is_right:
            found.append(told + check["message"])
        elif task == submission.wrong and check["points"]:
            found.append(told + "has points")
        elif check["name"] == submission.wrong and (check["outcome"], check["code"]) != (
            "failed",
            submission.code,
        ):
            found.append(told + f"wanted {submission.code}: {check['message']}")
    return found


@contextlib.contextmanager
def burners(count: int) -> Iterator[None]:
    """Keep this many processes busy meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def main() -> int:
    """Grade the labs' submissions and print the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", default=LABS)
    parser.add_argument("--burners", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    faults = []
    with burners(given.burners):
        for number in given.labs:
            with tempfile.TemporaryDirectory(prefix="fair-") as place:
                faults += grade(Lab(number), Path(place), jobs=given.jobs)
    print(f"{len(faults)} misjudged beside {given.burners} burners")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
