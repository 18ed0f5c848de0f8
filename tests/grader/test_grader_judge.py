"""The judge: whatever is handed in becomes one row, with the points that the answers earn."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import grader_tiny as tiny
import psutil
import pytest
from test_grader_cells import (
    delete_checks,
    duplicate_checks,
    more_points,
    mutate,
    no_metadata,
    raw_checks,
    swap_ids,
)

from scalelab.core.errors import ConfigError
from scalelab.grader.handed import Handed
from scalelab.grader.judge import Judge
from scalelab.grader.lab import GradedLab
from scalelab.grader.limits import Limits
from scalelab.grading.grades import Grade

pytestmark = pytest.mark.slow
LIMITS = Limits(cell_s=2.0, submission_s=20.0)
ENDLESS = """
import signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
LEAVES = """
import builtins, numpy
builtins.left = numpy.left = 1
open("left.txt", "w").write("x")
"""
FINDS = """
import builtins, numpy, os
assert not hasattr(builtins, "left") and not hasattr(numpy, "left")
assert not os.path.exists("left.txt")
"""


@pytest.fixture(scope="module")
def judge():
    pytest.importorskip("torch")
    with Judge(GradedLab.load(tiny.LAB), limits=LIMITS, key="secret") as judge:
        yield judge


def grade(judge: Judge, raw: bytes, **facts) -> Grade:
    return judge.grade(Handed("mira", "mira.ipynb", raw, sha256="ab", **facts))


def outcomes(row: Grade) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in row.checks}


def message(row: Grade, name: str) -> str:
    (found,) = [check["message"] for check in row.checks if check["name"] == name]
    return found


@pytest.mark.parametrize(
    ("answers", "points", "wanted"),
    [
        (tiny.RIGHT, 12, {"passed"}),
        (tiny.WRONG, 0, {"failed"}),
        ({}, 0, {"not attempted"}),
        (tiny.HALF, 6, {"passed", "failed"}),
    ],
    ids=["right", "wrong", "untouched", "half"],
)
def test_answers_earn_what_they_are_worth(judge, answers, points, wanted):
    row = grade(judge, tiny.raw(answers))
    assert (row.status, row.points, row.max_points) == ("graded", points, 12), row
    assert set(outcomes(row).values()) == wanted
    assert row.notes == []


def test_a_row_says_all_that_a_gradebook_needs(judge):
    row = grade(
        judge, tiny.raw(after=('lab.explain("ring", "its own part")',)), attempts=("old.ipynb",), late=True
    )
    assert (row.student, row.submission, row.sha256, row.lab) == ("mira", "mira.ipynb", "ab", "tiny_lab")
    assert row.lab_sha256 == judge.lab.sha256
    assert [check["is_hidden"] for check in row.checks] == [False] * 6 + [True] * 5
    assert row.written == {"ring": "its own part"}
    assert row.introspection == []
    assert set(row.fingerprints) == set(tiny.TASKS)
    assert (row.attempts, row.late) == (["old.ipynb"], True)
    assert row.isolation
    assert row.seconds > 0
    assert Grade.from_json(row.to_json()) == row


def test_a_row_says_where_code_digs_in_pythons_workings(judge):
    row = grade(judge, tiny.raw(before=("import sys\nouter = sys._getframe().f_back",)))
    assert row.introspection == ["cell 6, line 2: _getframe", "cell 6, line 2: f_back"]
    assert row.points == 12


def test_the_same_submission_gets_the_same_words_again(judge):
    first, second = (grade(judge, tiny.raw(tiny.HALF)) for _ in range(2))
    assert first.checks == second.checks


def test_another_student_gets_other_inputs(judge):
    raw = tiny.raw(tiny.WRONG)
    other = judge.grade(Handed("zoe", "zoe.ipynb", raw))
    assert message(grade(judge, raw), "softmax") != message(other, "softmax")


@pytest.mark.parametrize(
    "change",
    [swap_ids, duplicate_checks, delete_checks, raw_checks, more_points, no_metadata],
    ids=lambda f: f.__name__,
)
def test_metadata_and_check_cells_change_no_points(judge, change):
    for answers, points in ((tiny.RIGHT, 12), (tiny.WRONG, 0)):
        book = tiny.notebook(answers)
        change(book)
        assert grade(judge, json.dumps(book).encode()).points == points


@pytest.mark.parametrize("raw", [b"", b"[1]", b"{", b'{"cells": 5}', b"PK\x03\x04"], ids=repr)
def test_what_is_no_notebook_is_a_row_without_points(judge, raw):
    row = grade(judge, raw)
    assert (row.status, row.points, row.max_points, row.checks) == ("refused", 0, 12, [])
    assert row.reason


def test_a_problem_of_the_file_is_a_row(judge):
    row = judge.grade(Handed("mira", "mira.ipynb", problem="it is a pipe"))
    assert (row.status, row.reason) == ("refused", "it is a pipe")


def test_a_refused_submission_needs_no_warm_process():
    with Judge(GradedLab.load(tiny.LAB)) as judge:
        assert grade(judge, b"[]").status == "refused"
        assert judge._warm is None


def test_a_cell_in_error_costs_its_own_task_only_and_is_named(judge):
    answers = {**tiny.RIGHT, "softmax": "def softmax(x):\n    return x +"}
    row = grade(judge, tiny.raw(answers, before=("1 / 0",)))
    assert row.points == 10
    begin = "cell 7 (`def softmax(x):`), which defines `softmax`, ended in SyntaxError"
    assert message(row, "softmax").startswith(begin)
    assert outcomes(row)["softmax"] == "crashed"
    assert outcomes(row)["softmax-large"] in ("crashed", "failed")
    assert row.notes[0] == "cell 6 (`1 / 0`) ended in ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    "ending", ["import os; os._exit(0)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_a_cell_that_ends_the_process_is_left_out_and_said(judge, ending):
    row = grade(judge, tiny.raw(before=(ending,)))
    assert row.points == 12
    assert row.notes[0].startswith(f"cell 6 (`{ending[:47]}")
    assert "ended the whole process" in row.notes[0]


def test_a_cell_that_never_ends_is_stopped_and_the_others_run(judge):
    row = grade(judge, tiny.raw(before=("while True: pass",)))
    assert row.points == 12
    assert row.notes == ["cell 6 (`while True: pass`) was stopped after 2 s"]


def test_a_cell_that_cannot_be_stopped_is_left_out(judge):
    row = grade(judge, tiny.raw(before=(ENDLESS,)))
    assert row.points == 12
    assert "cell 6" in row.notes[0]


def test_cells_that_end_the_process_again_and_again_make_the_row_time_out(judge):
    row = grade(judge, tiny.raw(before=("import os; os._exit(3)",) * 5))
    assert (row.status, row.points) == ("timed out", 0)
    assert "again and again" in row.reason


def test_a_function_that_ends_the_process_costs_its_own_task_only(judge):
    answers = {**tiny.RIGHT, "bubble_fraction": "def bubble_fraction(p, m):\n    import os; os._exit(0)"}
    row = grade(judge, tiny.raw(answers))
    assert row.points == 10
    assert outcomes(row)["bubble_fraction"] == outcomes(row)["bubble-corners"] == "crashed"


def test_a_swapped_stub_name_is_not_attempted(judge):
    answers = {**tiny.RIGHT, "bubble_fraction": "def bubble(p, m):\n    return (p - 1) / (m + p - 1)"}
    assert outcomes(grade(judge, tiny.raw(answers)))["bubble_fraction"] == "not attempted"


def test_a_file_handed_in_beside_the_notebook_is_there(judge):
    answers = {**tiny.RIGHT, "bubble_fraction": "exec(open('data/mine.py').read())"}
    code = tiny.RIGHT["bubble_fraction"].encode()
    assert grade(judge, tiny.raw(answers), files={"data/mine.py": code}).points == 12


def test_no_state_goes_from_one_submission_to_the_next(judge):
    assert grade(judge, tiny.raw(after=(LEAVES,))).notes == []
    assert grade(judge, tiny.raw(after=(FINDS,))).notes == []


def test_released_cells_after_the_last_task_run_only_for_whoever_needs_them(tmp_path):
    for name in ("checks.py", "inside.py"):
        (tmp_path / name).write_bytes((tiny.LAB / name).read_bytes())
    book = tiny.release()
    book["cells"].append(tiny.code_cell("half = 0.5\nopen('ran.txt', 'w').write('x')"))
    (tmp_path / "lab.ipynb").write_text(json.dumps(book))
    needing = {
        **tiny.RIGHT,
        "bubble_fraction": "def bubble_fraction(p, m):\n    return 2 * half * (p - 1) / (m + p - 1)",
    }
    seen = 'import os\nlab.explain("ran", str(os.path.exists("ran.txt")))'
    with Judge(GradedLab.load(tmp_path), limits=LIMITS) as judge:
        for answers, ran in ((tiny.RIGHT, "False"), (needing, "True")):
            book = tiny.notebook(answers)
            book["cells"] += [
                tiny.code_cell("half = 0.5\nopen('ran.txt', 'w').write('x')"),
                tiny.code_cell(seen),
            ]
            row = grade(judge, json.dumps(book).encode())
            assert (row.points, row.written) == (7, {"ran": ran})


def test_a_broken_check_is_a_row_that_does_not_blame_the_student(tmp_path):
    text = (tiny.LAB / "checks.py").read_text()
    checks = text.replace("    for _ in range(5):", "    undefined_name\n    for _ in range(5):")
    (tmp_path / "checks.py").write_text(checks)
    for name in ("lab.ipynb", "inside.py"):
        (tmp_path / name).write_bytes((tiny.LAB / name).read_bytes())
    with Judge(GradedLab.load(tmp_path), limits=LIMITS) as judge:
        row = grade(judge, tiny.raw())
    assert row.status == "crashed"
    assert "bubble_fraction" in row.reason
    assert "not the student's fault" in row.reason


def test_a_lab_whose_set_up_fails_concerns_everybody(tmp_path):
    book = tiny.release()
    place = next(
        place for place, cell in enumerate(book["cells"]) if "manual_seed" in "".join(cell["source"])
    )
    book["cells"][place]["source"] = "1 / 0"
    (tmp_path / "lab.ipynb").write_text(json.dumps(book))
    (tmp_path / "checks.py").write_bytes((tiny.LAB / "checks.py").read_bytes())
    with Judge(GradedLab.load(tmp_path)) as judge, pytest.raises(ConfigError, match="ZeroDivisionError"):
        grade(judge, tiny.raw())


def test_a_warm_process_that_was_killed_is_started_anew(judge):
    assert grade(judge, tiny.raw()).points == 12
    warm = [
        each for each in psutil.Process().children() if "scalelab.grader.zygote" in " ".join(each.cmdline())
    ]
    assert warm
    for process in warm:
        process.kill()
    psutil.wait_procs(warm, timeout=10)
    rows = [grade(judge, tiny.raw()) for _ in range(2)]
    assert rows[-1].points == 12
    assert {row.status for row in rows} <= {"crashed", "graded"}


def test_an_inconclusive_measurement_is_repeated_and_then_said(tmp_path):
    (tmp_path / "checks.py").write_text(NOISY)
    (tmp_path / "lab.ipynb").write_bytes((tiny.LAB / "lab.ipynb").read_bytes())
    with Judge(GradedLab.load(tmp_path), limits=LIMITS) as judge:
        row = grade(judge, tiny.raw())
    assert outcomes(row) == {"quiet-at-last": "passed", "noisy": "inconclusive"}
    assert row.points == 1


NOISY = """
from scalelab.grading import check, inconclusive

HINTS = ("a", "b", "c")
runs = []


@check("quiet-at-last", points=1, hints=HINTS, measured=True)
def quiet_at_last(answers):
    "Be measured twice."
    answers["softmax"]
    runs.append(1)
    if len(runs) < 2:
        inconclusive("noise")


@check("noisy", points=1, hints=HINTS, measured=True)
def noisy(answers):
    "Never be quiet."
    answers["softmax"]
    inconclusive("noise")
"""


def test_mutated_notebooks_are_a_row_each(judge):
    statuses = set()
    for seed in range(0, 500, 25):
        row = grade(judge, mutate(tiny.raw(), random.Random(seed)))
        statuses.add(row.status)
        assert Grade.from_json(row.to_json()) == replace(row)
        assert row.max_points == 12
        assert 0 <= row.points <= 12
    assert "graded" in statuses


def test_an_error_in_a_cell_as_it_was_given_out_is_not_the_students(tmp_path):
    broken = "open('model that a measurement would have written')"
    book = tiny.release()
    place = next(place for place, cell in enumerate(book["cells"]) if "explain" in "".join(cell["source"]))
    book["cells"].insert(place, tiny.code_cell(f"slow_pairwise = slow_pairwise\n{broken}"))
    (tmp_path / "lab.ipynb").write_text(json.dumps(book))
    for name in ("checks.py", "inside.py"):
        (tmp_path / name).write_bytes((tiny.LAB / name).read_bytes())
    with Judge(GradedLab.load(tmp_path), limits=LIMITS) as judge:
        assert grade(judge, json.dumps(book).encode()).notes == []
        book["cells"][place]["source"] = broken
        assert "ended in FileNotFoundError" in grade(judge, json.dumps(book).encode()).notes[0]
