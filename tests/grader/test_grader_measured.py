"""What learners made is measured by the judge: apart from their code, in pairs, by a clock of its own."""

from __future__ import annotations

import json

import grader_tiny as tiny
import pytest

from scalelab.grader.handed import Handed
from scalelab.grader.judge import Judge
from scalelab.grader.lab import GradedLab
from scalelab.grader.limits import Limits
from scalelab.grading import Answers, load_checks, run_check
from scalelab.grading.grades import Grade

pytestmark = pytest.mark.slow

CHECKS = """
import numpy as np

from scalelab.grading import check, expect, expect_ratio

HINTS = ("a", "b", "c")


@check("small", points=2, hints=HINTS, measured=True, limit_s=20)
def small(answers):
    "Write weights that are multiplied four times as fast as 400 by 400 ones."
    weights = answers.artefact("weights.bin")
    found = answers.apart("race", weights=weights, reference=np.ones((400, 400)).tobytes())
    expect(not found["trouble"], found["trouble"], code="unreadable")
    expect(not found["learners_were_here"], "the process is not clean", code="not-clean")
    expect_ratio(found["reference_s"], found["found_s"], at_least=4, what="your matrix", code="too-slow")
"""
INSIDE = """
import builtins
import os

import numpy as np

from scalelab.core.stats import compare_paired


def race(answers, *, weights, reference):
    if weights.startswith(b"crash"):
        os._exit(11)
    if weights.startswith(b"hang"):
        while True:
            pass
    side = int((len(weights) / 8) ** 0.5)
    if side * side * 8 != len(weights) or not side:
        return {"trouble": f"{len(weights)} bytes are no square matrix"}
    mine = np.frombuffer(weights).reshape(side, side)
    theirs = np.frombuffer(reference).reshape(400, 400)
    race = {"pairs": 6, "min_block_s": 0.01, "warmup_s": 0.01}
    ratio = compare_paired(lambda: theirs @ theirs, lambda: mine @ mine, **race)
    here = hasattr(builtins, "was_here") or os.path.exists("weights.bin") or "was_here" in answers
    return {
        "trouble": "", "learners_were_here": here,
        "reference_s": list(ratio.a_s), "found_s": list(ratio.b_s),
    }
"""
WRITES = """
import builtins, time
import numpy as np
builtins.was_here = was_here = True
time.perf_counter = lambda: 0.0
open("weights.bin", "wb").write({content})
"""


def book(content: str) -> bytes:
    cells = [tiny.code_cell("import numpy as np"), tiny.code_cell(WRITES.format(content=content))]
    return json.dumps({"cells": cells}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab_of_artefacts")
    (folder / "checks.py").write_text(CHECKS)
    (folder / "inside.py").write_text(INSIDE)
    released = [tiny.code_cell("import numpy as np"), tiny.code_cell("weights = ...")]
    released[1]["metadata"] = {"nbgrader": {"solution": True, "grade_id": "small"}}
    (folder / "lab.ipynb").write_text(json.dumps({"cells": released}))
    return folder


@pytest.fixture(scope="module")
def judge(folder):
    with Judge(GradedLab.load(folder), limits=Limits(cell_s=5, submission_s=60)) as judge:
        yield judge


def grade(judge: Judge, content: str) -> tuple[str, str, Grade]:
    row = judge.grade(Handed("mira", "mira.ipynb", book(content)))
    (check,) = row.checks
    return check["outcome"], check["code"], row


def test_an_artefact_is_measured_where_its_makers_code_never_ran(judge):
    outcome, _, row = grade(judge, "np.ones((40, 40)).tobytes()")
    assert outcome == "passed", row.checks


def test_a_slow_artefact_fails_whatever_its_makers_clock_says(judge):
    assert grade(judge, "np.ones((400, 400)).tobytes()")[:2] == ("failed", "too-slow")


def test_a_damaged_artefact_fails_with_the_reason_that_the_lab_gives(judge):
    assert grade(judge, "b'12345'")[:2] == ("failed", "unreadable")


def test_an_artefact_that_breaks_its_reader_costs_its_own_points_only(judge):
    assert grade(judge, "b'crash'")[0] == "crashed"
    assert grade(judge, "np.ones((40, 40)).tobytes()")[0] == "passed"


def test_no_artefact_is_not_attempted(judge):
    row = judge.grade(Handed("mira", "mira.ipynb", json.dumps({"cells": [tiny.code_cell("x = 1")]}).encode()))
    assert row.checks[0]["outcome"] == "not attempted"
    assert "weights.bin" in row.checks[0]["message"]


def test_in_a_notebook_the_same_check_measures_in_place(folder, tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones((5, 6)).tobytes())
    result = run_check(load_checks(folder)["small"], Answers({}))
    assert (result.outcome.value, result.code) == ("failed", "unreadable")


def test_a_model_that_is_none_is_refused_by_the_runtime_and_not_by_the_judge(tmp_path):
    pytest.importorskip("onnxruntime")
    checks = """
from scalelab.grading import check, expect

@check("model", points=1, hints=("a", "b", "c"), limit_s=60)
def model(answers):
    "Export a model."
    told = answers.apart("open_model", model=answers.artefact("model.onnx"))
    expect(told == "", f"the model cannot be opened: {told}", code="no-model")
"""
    inside = """
def open_model(answers, *, model):
    import onnxruntime
    try:
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:
        return type(error).__name__
    return ""
"""
    (tmp_path / "checks.py").write_text(checks)
    (tmp_path / "inside.py").write_text(inside)
    (tmp_path / "lab.ipynb").write_text(json.dumps({"cells": [tiny.code_cell("import onnxruntime")]}))
    writes = tiny.code_cell("open('model.onnx', 'wb').write(b'\\x08\\xff' * 1000)")
    with Judge(GradedLab.load(tmp_path)) as judge:
        row = judge.grade(Handed("mira", "mira.ipynb", json.dumps({"cells": [writes]}).encode()))
    assert (row.checks[0]["outcome"], row.checks[0]["code"]) == ("failed", "no-model"), row
