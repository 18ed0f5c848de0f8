"""nbgrader itself takes our labs: its release is ours, and its points are ours.

Lab 06 has six tasks, torch, and cells that measure; what is graded is what a student hands in.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.authoring import build_for_nbgrader, find_labs
from scalelab.authoring.folders import load_answers
from scalelab.classroom import find_lab
from scalelab.classroom.rechecking import check_notebook
from scalelab.gradebook import write_gradebook
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import run_grading
from scalelab.grading.grades import Grade, append_grade, read_grades

pytest.importorskip("nbgrader")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SLUG = "06_gradient_accumulation"
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "course"
c.ClearSolutions.code_stub = {"python": "# your code here\\nraise NotImplementedError"}
c.Exchange.root = "exchange"
"""
HALF = {"weights", "accumulate", "step"}
"""tasks that the third student has right"""
LIMIT_S = 600


def nbgrader(course: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        env={
            **os.environ,
            # nbgrader calls alembic by its name
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "SCALELAB_HOME": str(course / "home"),
            "HOME": str(course),
            "SCALELAB_STRICT": "",
        },
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def code(notebook: dict) -> list[tuple[str, str, str]]:
    return [(cell["id"], cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of nbgrader's with our lab, released by nbgrader."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    build_for_nbgrader(find_labs([SLUG])[0], folder / "source")
    nbgrader(folder, "generate_assignment", SLUG)
    return folder


@pytest.fixture(scope="module")
def graded(course):
    """What nbgrader gives each of four submissions, by student; and the notebooks that were handed in."""
    trials = load_answers(find_labs([SLUG])[0])
    chosen = {
        "right": {name: task.right[0] for name, task in trials.items()},
        "wrong": {name: next(iter(task.wrong.values())) for name, task in trials.items()},
        "half": {name: trials[name].right[-1] for name in HALF},
        "untouched": {},
    }
    handed_in = {}
    for student, answers in chosen.items():
        notebook = read(course / "release" / SLUG / "lab.ipynb")
        for cell in notebook["cells"]:
            graded = cell["metadata"].get("nbgrader", {})
            if graded.get("solution") and graded["grade_id"] in answers:
                cell["source"] = answers[graded["grade_id"]].strip("\n")
        handed_in[student] = course / "submitted" / student / SLUG / "lab.ipynb"
        handed_in[student].parent.mkdir(parents=True)
        handed_in[student].write_text(json.dumps(notebook), encoding="utf-8")
    nbgrader(course, "autograde", SLUG, "--create")
    nbgrader(course, "export")
    rows = {row["student_id"]: row for row in read_table(course / "grades.csv")}
    assert sorted(rows) == sorted(chosen)
    return rows, handed_in


def test_what_nbgrader_releases_is_what_we_release(course):
    ours, theirs = read(find_lab(SLUG).notebook), read(course / "release" / SLUG / "lab.ipynb")
    assert code(theirs) == code(ours)
    for mine, other in zip(ours["cells"], theirs["cells"], strict=True):
        graded = dict(other["metadata"].get("nbgrader", {}))
        assert graded.pop("checksum", None) is not None or not graded
        graded.pop("cell_type", None)
        assert graded == mine["metadata"].get("nbgrader", {})


def test_nbgrader_gives_the_points_that_our_check_gives(graded, monkeypatch, tmp_path):
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path))
    rows, handed_in = graded
    report = check_notebook(find_lab(SLUG), handed_in["half"])
    assert points_of(rows["half"]) == (report.points, report.max_points)
    assert 0 < report.points < find_lab(SLUG).points


def test_nbgrader_gives_the_points_that_our_grader_gives_for_the_same_tree(course, graded):
    rows, handed_in = graded
    lab = GradedLab.load(find_lab(SLUG).folder)
    assert run_grading(lab, course, course / "ours").by_status == {"graded": len(handed_in)}
    grades = {grade.student: grade for grade in read_grades(course / "ours" / "results.jsonl")}
    assert sorted(grades) == sorted(handed_in)
    for student, grade in grades.items():
        shown = [check for check in grade.checks if not check["is_hidden"]]  # nbgrader has no others
        ours = sum(check["points"] for check in shown), sum(check["max_points"] for check in shown)
        assert points_of(rows[student]) == ours, student
    assert points_of(rows["right"])[0] == find_lab(SLUG).points
    assert points_of(rows["wrong"])[0] == points_of(rows["untouched"])[0] == 0


def test_our_table_for_nbgrader_has_the_columns_of_its_export_and_its_students(course, graded):
    rows, handed_in = graded
    append_grade(course / "table" / "results.jsonl", *map(row_of, ["new-one", *handed_in]))
    write_gradebook(course / "table")
    ours = read_table(course / "table" / "nbgrader.csv")
    assert list(ours[0]) == [*next(iter(rows.values())), "id"]
    nbgrader(course, "db", "student", "import", "table/nbgrader.csv")
    listed = nbgrader(course, "db", "student", "list")
    assert all(student in listed for student in ["new-one", *handed_in])


def points_of(row: dict[str, str]) -> tuple[float, float]:
    return float(row["score"]), float(row["max_score"])


def row_of(student: str) -> Grade:
    return Grade(student, f"{student}.ipynb", sha256="0", lab=SLUG, lab_sha256="0", status="graded")
