"""Check a notebook from outside: its cells run in a child process with a limit, the verdicts come back."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.classroom.catalog import LabInfo
from scalelab.classroom.notebooks import read_notebook
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.processes import Finished, run
from scalelab.core.units import format_seconds
from scalelab.grading import CheckResult, Outcome

TIMEOUT_S = 600.0
CELL_LIMIT_S = 120.0


@dataclass(frozen=True)
class NotebookReport:
    """What came of checking a notebook."""

    path: Path
    results: tuple[CheckResult, ...]
    """one per check of the lab, in its order"""
    notes: tuple[str, ...]
    """cells that raised, names that are defined twice, an old format"""

    @property
    def points(self) -> float:
        """The points that were earned."""
        return sum(result.points for result in self.results)

    @property
    def max_points(self) -> float:
        """The points that there are."""
        return sum(result.max_points for result in self.results)

    @property
    def next_task(self) -> CheckResult | None:
        """The first task that is not passed; None when all are."""
        return next((result for result in self.results if not result.is_passed), None)


def check_notebook(
    info: LabInfo,
    path: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    cell_limit_s: float = CELL_LIMIT_S,
    on_poll: Callable[[], None] | None = None,
) -> NotebookReport:
    """Run the notebook's cells in order and return the verdict of every check of the lab.

    What is measured is not measured again: `lab.measure` returns the value that the learner's notebook
    recorded last, and cells that need one that was never measured are passed over.

    Raises:
        DataError: the file is no notebook.
        ConfigError: it belongs to another lab.
        RunFailed: the child could not begin.
    """
    notebook = read_notebook(path)
    if notebook.lab and notebook.lab not in {info.slug, str(info.number), f"{info.number:02d}"}:
        raise ConfigError(
            f"{path} is a notebook of lab {notebook.lab!r}, not of {info.slug!r}",
            hint=f"scalelab lab check {notebook.lab} {path}",
        )
    with tempfile.TemporaryDirectory(prefix="scalelab-") as folder:
        out = Path(folder) / "told.jsonl"
        ended, finished = "", None
        try:
            finished = run(
                [
                    sys.executable, "-m", "scalelab.classroom.child", str(path.resolve()),
                    "--lab", info.slug, "--out", str(out), "--cell-limit-s", str(cell_limit_s),
                ],
                timeout_s=timeout_s, cwd=path.resolve().parent, env=_ENVIRONMENT, on_poll=on_poll,
            )  # fmt: skip
        except RunFailed:
            ended = f"the notebook did not end in {format_seconds(timeout_s)}"
        told = _read(out)
    return _report(notebook.path, notebook.notes, told, ended, finished)


_ENVIRONMENT = {
    "SCALELAB_STRICT": "",
    "SCALELAB_PLAIN": "1",
    "MPLBACKEND": "agg",
    "PLOTLY_RENDERER": "plotly_mimetype",  # its default outside a kernel opens a browser
    "PYTHONUNBUFFERED": "1",
}


def _read(out: Path) -> list[dict[str, Any]]:
    """Read what the child told; a line that it was killed in is left out."""
    told = []
    for line in out.read_text(encoding="utf-8").splitlines() if out.exists() else []:
        try:
            told.append(json.loads(line))
        except ValueError:
            break
    return told


def _report(
    path: Path, notes: tuple[str, ...], told: list[dict[str, Any]], ended: str, finished: Finished | None
) -> NotebookReport:
    checks = next((each["checks"] for each in told if each["kind"] == "checks"), None)
    if checks is None:
        last = finished.output.strip().splitlines()[-1:] if finished else []
        raise RunFailed(
            f"{path} could not be checked: {' '.join(last) or ended}", hint="run `scalelab doctor`"
        )
    if not ended and told[-1]["kind"] != "end":
        code = finished.returncode if finished else "?"
        ended = f"your notebook ended Python itself (exit code {code})"
    cell = next((each for each in reversed(told) if each["kind"] == "cell"), None)
    if ended and cell and cell["number"]:
        ended += f", in {_place(cell)}"
    results = {each["name"]: _result(each) for each in told if each["kind"] == "result"}
    errors = [f"{_place(each)}: {each['message']}" for each in told if each["kind"] == "error"]
    errors += [each["message"] for each in told if each["kind"] == "note"]
    lost = [
        CheckResult(
            check["name"], Outcome.CRASHED, 0.0, check["points"], check["goal"], ended, "over-limit"
        )
        for check in checks
        if check["name"] not in results
    ]  # fmt: skip
    results |= {result.name: result for result in lost}
    ordered = tuple(results[check["name"]] for check in checks)
    return NotebookReport(path, ordered, (*notes, *errors, *([ended] if ended else [])))


def _place(told: dict[str, Any]) -> str:
    return f"cell {told['number']} (`{told['begin']}`)"


def _result(told: dict[str, Any]) -> CheckResult:
    facts = {name: value for name, value in told.items() if name != "kind"}
    return CheckResult(**{**facts, "outcome": Outcome(told["outcome"])})
