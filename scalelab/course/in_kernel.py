"""What the nbmake plugin puts around a learner's cells: nothing is measured, and at the end all checks run.

This runs in the learner's own kernel, which can change whatever it likes; rows that come of it say so.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalelab.classroom import Lab, find_lab
from scalelab.classroom.ledger import Ledger
from scalelab.core.lazy import require
from scalelab.grader.cells import CodeCell
from scalelab.grading import Answers, CheckResult, Outcome, load_checks, run_check
from scalelab.grading.expectations import in_words
from scalelab.grading.grades import check_row
from scalelab.grading.variants import own_variant

OPENING = "import scalelab.course.in_kernel; scalelab.course.in_kernel.open_notebook()"
CLOSING = "import scalelab.course.in_kernel; scalelab.course.in_kernel.judge({lab!r}, {out!r})"


def open_notebook() -> None:
    """Let cells that measure be passed over, as in the grader, and remember cells that end in an error."""
    Lab.measures = False
    _shell().events.register("post_run_cell", _remember)


def judge(lab: str, out: str) -> None:
    """Run the lab's visible checks on the notebook as it is now; write rows of checks and written answers."""
    info = find_lab(lab)
    answers = Answers(_shell().user_ns)
    answers.variant = own_variant(info.slug)
    results = [run_check(check, answers) for check in load_checks(info.folder).values()]
    checks = [check_row(_explained(result)) for result in results]
    written: dict[str, Any] = {
        event.name: str(event.facts.get("text", ""))
        for event in Ledger().read(lab=info.slug, kind="explanation")
    }
    Path(out).write_text(json.dumps({"checks": checks, "written": written}), encoding="utf-8")


_troubles: list[tuple[CodeCell, str]] = []
"""cells that ended in an error, with its words"""


def _remember(result: Any) -> None:
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        _troubles.append((CodeCell(0, result.info.raw_cell), in_words(error)))


def _explained(result: CheckResult) -> CheckResult:
    """Say which error is behind an answer that is not there, as the grader says it."""
    if result.outcome is Outcome.NOT_ATTEMPTED and "there is no" in result.message:
        for cell, told in _troubles:
            for name in cell.names:
                if f"`{name}`" in result.message:
                    message = f"the cell that defines `{name}` ended in {told}"
                    return replace(result, outcome=Outcome.CRASHED, message=message, code="cell-ended")
    return result


def _shell() -> Any:
    return require("IPython", extra="grade").get_ipython()
