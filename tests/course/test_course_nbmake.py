"""``pytest --nbmake`` on submissions: the grader's verdicts, and a gradebook that says what it is worth."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from course_lab import POINTS, SLUG, SOLVED, handed_in

from scalelab.grader.handed import Handed
from scalelab.grader.judge import Judge
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import run_grading
from scalelab.grading.grades import read_grades

pytest.importorskip("nbmake")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTEBOOKS = {
    "right": SOLVED,
    "wrong": {
        "late-share": "mean_late_ms = 3.0",
        "fault": 'fault = ("lost", 4)',
        "padded": "def padded(count):\n    return count",
    },
    "crashing": SOLVED
    | {"late-share": "mean_late_ms = 1 / 0", "padded": "def padded(count):\n    return count[0]"},
    "untouched": {},
}
WITH_PLUGIN = ("-p", "scalelab.course.nbmake_plugin", "--scalelab-gradebook", "grades")
LIMIT_S = 300


def run_pytest(folder: Path, *words: str, strict: bool = False) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "-c", os.devnull, "--rootdir", str(folder),
         "-p", "no:cacheprovider", *words, "submissions"],
        cwd=folder,
        env={**os.environ, "SCALELAB_STRICT": "1" if strict else ""},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )  # fmt: skip


@pytest.fixture
def submissions(tmp_path, lab_folder):
    folder = tmp_path / "submissions"
    folder.mkdir()
    for student, answers in NOTEBOOKS.items():
        (folder / f"{student}.ipynb").write_bytes(handed_in(answers))
    return folder


def verdicts(grade):
    return [(check["name"], check["outcome"], check["points"], check["code"]) for check in grade.checks]


def test_the_gradebook_of_an_nbmake_run_has_the_graders_verdicts(submissions, lab_folder, tmp_path):
    (submissions / "torn.ipynb").write_bytes(handed_in(SOLVED)[:300])
    (submissions / "exits.ipynb").write_bytes(handed_in({"fault": "import os\nos._exit(3)"}))
    before = {path.name: path.read_bytes() for path in submissions.iterdir()}
    done = run_pytest(tmp_path, *WITH_PLUGIN)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "5 failed, 1 passed" in done.stdout, done.stdout
    assert {path.name: path.read_bytes() for path in submissions.iterdir()} == before
    rows = {grade.student: grade for grade in read_grades(tmp_path / "grades" / "results.jsonl")}
    assert sorted(rows) == sorted([*NOTEBOOKS, "torn", "exits"])
    with Judge(GradedLab.load(lab_folder)) as judge:
        for student, row in rows.items():
            raw = (submissions / f"{student}.ipynb").read_bytes()
            judged = judge.grade(Handed(student, f"{student}.ipynb", raw))
            if student != "exits":  # the grader goes on without the cell that ends the process
                assert (row.status, row.reason) == (judged.status, judged.reason), student
                assert verdicts(row) == verdicts(judged), student
            assert (row.points, row.max_points) == (judged.points, judged.max_points), student
            assert row.isolation == ["none: ran in the learner's own kernel"]
    assert (rows["exits"].status, rows["right"].points) == ("crashed", POINTS)
    with (tmp_path / "grades" / "gradebook.csv").open(encoding="utf-8-sig") as file:
        table = {row["student"]: float(row["total"]) for row in csv.DictReader(file)}
    assert table == {student: row.points for student, row in rows.items()}


def test_a_strict_run_without_the_plugin_fails_where_a_check_does(submissions, tmp_path):
    done = run_pytest(tmp_path, strict=True)
    assert "3 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "grades").exists()


def test_each_of_several_labs_gets_a_gradebook_of_its_own(submissions, lab_folder, tmp_path):
    other = lab_folder.with_name("42_other")
    other.mkdir()
    for path in lab_folder.iterdir():
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace(SLUG, other.name).replace("= 41", "= 42")
            (other / path.name).write_text(text, encoding="utf-8")
    for path in submissions.iterdir():
        if path.stem != "right":
            path.unlink()
    second = submissions / "second.ipynb"
    second.write_bytes((submissions / "right.ipynb").read_bytes().replace(SLUG.encode(), other.name.encode()))
    done = run_pytest(tmp_path, *WITH_PLUGIN)
    for slug, student in ((SLUG, "right"), (other.name, "second")):
        (row,) = read_grades(tmp_path / "grades" / slug / "results.jsonl")
        assert (row.student, row.points) == (student, POINTS), done.stdout
        assert (tmp_path / "grades" / slug / "gradebook.csv").exists()


def test_rows_of_the_grader_are_not_replaced_and_rows_of_nbmake_are_judged_again(
    submissions, lab_folder, tmp_path
):
    for path in submissions.iterdir():
        if path.stem != "wrong":
            path.unlink()
    assert run_pytest(tmp_path, *WITH_PLUGIN).returncode == 1
    results = tmp_path / "grades" / "results.jsonl"
    assert run_grading(GradedLab.load(lab_folder), submissions, tmp_path / "grades").skipped == 0
    judged = results.read_bytes()
    done = run_pytest(tmp_path, *WITH_PLUGIN)
    assert done.returncode == 4
    assert "holds rows of scalelab grade (wrong, ...)" in done.stderr
    assert results.read_bytes() == judged


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-p", "no:nbmake"), "needs --nbmake"),
        (("--overwrite",), "does not go with --overwrite"),
    ],
)
def test_options_that_do_not_go_together_are_refused(submissions, tmp_path, words, told):
    command = [sys.executable, "-m", "pytest", *WITH_PLUGIN, *words, "-c", os.devnull, "submissions"]
    command += ["--nbmake"] if "no:nbmake" not in words else []
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 4
    assert told in done.stderr
