"""A gradebook out of ``pytest --nbmake``.

``pytest -p scalelab.course.nbmake_plugin --nbmake submissions/ --scalelab-gradebook grades/``
runs every notebook to its end, whatever its cells raise, and then all visible checks of its lab, in the
learner's own kernel. That is convenient and protects nothing: every row says so. A notebook passes as a test
if all its checks pass.

It is loaded by ``-p``, not by an entry point: for a package that has one, pytest rewrites the asserts of all
its modules, in everybody's runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from scalelab.classroom import LabInfo, find_lab
from scalelab.classroom.notebooks import read_notebook
from scalelab.core.errors import ScalelabError
from scalelab.core.lazy import require
from scalelab.core.paths import make_folder
from scalelab.course.in_kernel import CLOSING, OPENING
from scalelab.gradebook import write_gradebook
from scalelab.grader.cells import Refused, read_submission
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import RESULTS
from scalelab.grader.submissions import Submission, discover
from scalelab.grading.checks import Outcome
from scalelab.grading.grades import Grade, append_grade, read_grades

ISOLATION = ["none: ran in the learner's own kernel"]
_HARMLESS = {Outcome.PASSED.value, Outcome.INCONCLUSIVE.value}
_ENVIRONMENT = {
    "SCALELAB_STRICT": "",  # a check that fails must not end the notebook
    "SCALELAB_PLAIN": "1",
    "MPLBACKEND": "agg",
    "PLOTLY_RENDERER": "plotly_mimetype",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that switches all this on."""
    group = parser.getgroup("scalelab", "grading notebooks of ScaleLab's labs with nbmake")
    group.addoption(
        "--scalelab-gradebook",
        metavar="OUT",
        default="",
        help="with --nbmake: run all cells and visible checks, write results and gradebook into OUT",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin, if the option is given."""
    out = config.getoption("--scalelab-gradebook")
    if not out:
        return
    if not config.getoption("nbmake", default=False):
        raise pytest.UsageError("--scalelab-gradebook needs --nbmake: pytest --nbmake FOLDER ...")
    if config.getoption("overwrite", default=False):
        raise pytest.UsageError("--scalelab-gradebook does not go with --overwrite: it adds cells of its own")
    config.pluginmanager.register(NbmakeGradebook(Path(out)), "scalelab-gradebook")


class NbmakeGradebook:
    """Turns each notebook that nbmake runs into a row."""

    def __init__(self, out: Path):
        self._out = out
        self._submissions: dict[Path, Submission] = {}
        self._labs: dict[Path, LabInfo] = {}
        self._told: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Find out whose notebooks these are, and of which labs."""
        paths = [item.path.resolve() for item in session.items if getattr(item, "nbmake", False)]
        for argument in session.config.args:
            base = Path(argument.partition("::")[0]).resolve()
            root = base if base.is_dir() else base.parent
            if any(path.is_relative_to(base) for path in paths):
                for submission in discover(base):
                    self._submissions[root / submission.path] = submission
        for path in paths:
            try:
                self._labs[path] = find_lab(read_notebook(path).lab)
            except ScalelabError:
                continue  # damaged, or of no lab
        if len(known := {info.slug: info for info in self._labs.values()}) == 1:
            for path in paths:  # a damaged one is then of this lab too
                self._labs.setdefault(path, *known.values())
        for info in known.values():
            self._refuse_better(self._folder(info))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Run a notebook and append its row."""
        path = item.path.resolve()
        submission, info = self._submissions.get(path), self._labs.get(path)
        if submission is None or info is None:
            if getattr(item, "nbmake", False):
                why = "names no lab" if info is None else "is not the notebook of its student that counts"
                self._told.append(f"{item.nodeid} {why}, so it has no row")
            return (yield)
        started, error = time.perf_counter(), None
        with tempfile.TemporaryDirectory(prefix="scalelab-") as folder:
            out = Path(folder) / "judged.json"
            try:
                with _surroundings(folder), _all_cells(info.slug, out):
                    yield
            except Exception as raised:
                error = raised
            grade = _grade(submission, path, info, out, error, time.perf_counter() - started)
        append_grade(self._folder(info) / RESULTS, grade)
        lost = [check for check in grade.checks if check["outcome"] not in _HARMLESS]
        lines = [f"{each['name']}: {each['outcome']}  {each['message']}" for each in lost]
        if grade.reason or lines:
            raise _failure([grade.reason] if grade.reason else lines)
        return None

    def _refuse_better(self, folder: Path) -> None:
        """Leave rows of the grader alone: those that come of this run are worth less."""
        try:
            make_folder(folder)
            judged = [
                grade.student for grade in read_grades(folder / RESULTS) if grade.isolation != ISOLATION
            ]
        except ScalelabError as error:
            raise pytest.UsageError(str(error)) from None
        if judged:
            raise pytest.UsageError(
                f"{folder} holds rows of scalelab grade ({judged[0]}, ...): choose another OUT"
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the gradebook of each lab."""
        if hasattr(session.config, "workerinput"):  # one of several workers: their head does it
            return
        for folder in sorted({self._folder(info) for info in self._labs.values()}):
            if not (folder / RESULTS).exists():
                continue
            try:
                written = write_gradebook(folder)
            except ScalelabError as error:
                self._told.append(str(error))
            else:
                self._told += [f"{folder / 'gradebook.csv'}: {written.students} students", *written.notes]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the gradebook is."""
        for line in self._told:
            terminalreporter.write_line(f"scalelab: {line}")

    def _folder(self, info: LabInfo) -> Path:
        """Return the folder of a lab's results: a gradebook is of one lab."""
        is_only = len({each.slug for each in self._labs.values()}) == 1
        return self._out if is_only else self._out / info.slug


def _surroundings(folder: str) -> Any:
    """Let kernels begin with a ledger of their own; it is thrown away."""
    return mock.patch.dict(os.environ, {**_ENVIRONMENT, "SCALELAB_HOME": folder})


def _all_cells(lab: str, out: Path) -> Any:
    """Let nbmake read notebooks so that no error ends them, with our cells around the learner's."""
    nbformat = require("nbformat", extra="grade")
    read = nbformat.read

    def read_tolerantly(*args: Any, **kwargs: Any) -> Any:
        notebook = read(*args, **kwargs)
        notebook.metadata["execution"] = {"allow_errors": True}
        cell = nbformat.v4.new_code_cell
        notebook.cells = [cell(OPENING), *notebook.cells, cell(CLOSING.format(lab=lab, out=str(out)))]
        return notebook

    return mock.patch.object(nbformat, "read", read_tolerantly)


def _grade(
    submission: Submission, path: Path, info: LabInfo, out: Path, error: Exception | None, seconds: float
) -> Grade:
    lab, raw = GradedLab.load(info.folder), path.read_bytes()
    facts: dict[str, Any] = {"status": "graded"}
    if out.exists():
        facts |= json.loads(out.read_text(encoding="utf-8"))
        facts["points"] = float(sum(check["points"] for check in facts["checks"]))
    else:
        facts["reason"] = _why(error)
        facts["status"] = "timed out" if "timed out" in facts["reason"].lower() else "crashed"
        try:
            read_submission(raw)
        except Refused as refused:
            facts = {"status": "refused", "reason": refused.reason}
    visible = [check for check, is_hidden in lab.checks if not is_hidden]
    hidden = len(lab.checks) - len(visible)
    return Grade(
        student=submission.student,
        submission=submission.path,
        sha256=hashlib.sha256(raw).hexdigest(),
        lab=info.slug,
        lab_sha256=f"{lab.sha256}, by nbmake",  # so that the grader never takes this row for one of its own
        max_points=float(sum(check.points for check in visible)),
        notes=[*submission.notes, *([f"{hidden} hidden checks are not run by nbmake"] if hidden else [])],
        attempts=list(submission.attempts),
        isolation=ISOLATION,
        seconds=round(seconds, 3),
        graded_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **facts,
    )


def _why(error: Exception | None) -> str:
    """Return what ended the notebook before its checks, in a line."""
    if error is None:
        return "the notebook ended before its checks were run"
    result = getattr(error, "args", [None])[0]
    told = getattr(getattr(result, "error", None), "summary", "") or str(error) or type(error).__name__
    return " ".join(str(told).split())[:300]


def _failure(lines: list[str]) -> Exception:
    """Return what nbmake shows as a notebook's own failure."""
    items = require("nbmake.pytest_items", extra="grade")
    results = require("nbmake.nb_result", extra="grade")
    error = results.NotebookError(summary=lines[0], trace="\n".join(lines), failing_cell_index=-1)
    return items.NotebookFailedException(results.NotebookResult(nb=None, error=error))
