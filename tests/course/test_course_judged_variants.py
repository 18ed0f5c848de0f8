"""The grader judges everybody by their own variant, which it computes and a student cannot choose."""

from __future__ import annotations

import pytest
from course_lab import POINTS, SLUG, SOLVED, handed_in

from scalelab.classroom import find_lab
from scalelab.classroom.rechecking import check_notebook
from scalelab.grader.handed import Handed
from scalelab.grader.judge import Judge
from scalelab.grader.lab import GradedLab
from scalelab.grading.variants import FILE, student_variant, variant_file

pytestmark = pytest.mark.slow
KEY = "a course's key"
PADDED = "def padded(count):\n    return -(-count // {block}) * {block}"


@pytest.fixture
def judge(lab_folder):
    with Judge(GradedLab.load(lab_folder), key=KEY) as judge:
        yield judge


def variant_of(student):
    return student_variant(KEY, student=student, lab=SLUG)


def copied_from(student):
    """Return answers with a student's constants written into them."""
    block = variant_of(student).integer("block", 100, 100_000)
    return {**SOLVED, "padded": PADDED.format(block=block)}


def test_students_are_judged_by_their_own_numbers(judge):
    for student in ("mira", "noor"):
        assert judge.grade(Handed(student, "x.ipynb", handed_in(SOLVED))).points == POINTS
    assert judge.grade(Handed("mira", "x.ipynb", handed_in(copied_from("mira")))).points == POINTS
    copied = judge.grade(Handed("mira", "x.ipynb", handed_in(copied_from("noor"))))
    assert copied.points == POINTS - 2
    assert [check["code"] for check in copied.checks if check["outcome"] == "failed"] == ["other-block"]


def test_a_neighbours_variant_file_does_not_help(judge):
    theirs = variant_file(variant_of("noor"), student="noor")
    copied = Handed("mira", "x.ipynb", handed_in(copied_from("noor")), files={FILE: theirs})
    assert judge.grade(copied).points == POINTS - 2
    honest = Handed("mira", "x.ipynb", handed_in(SOLVED), files={FILE: theirs})
    assert judge.grade(honest).points == POINTS


def test_the_learners_process_never_sees_the_key(judge):
    find = f"""
import os, pathlib, sys
seen = [*os.environ.values(), *sys.argv, *(path.read_text() for path in pathlib.Path(".").rglob("*.json"))]
assert len(seen) > 1
def padded(count):
    return -1 if any({KEY!r} in text for text in seen) else -(-count // block_bytes) * block_bytes
"""
    assert judge.grade(Handed("mira", "x.ipynb", handed_in(SOLVED | {"padded": find}))).points == POINTS


def test_an_untouched_notebook_gets_nothing(judge):
    row = judge.grade(Handed("mira", "x.ipynb", handed_in({})))
    assert (row.points, {check["outcome"] for check in row.checks}) == (0, {"not attempted"})


def test_a_student_with_the_hand_out_gets_the_graders_verdict_from_the_terminal(judge, lab_folder, tmp_path):
    for student, author, points in (("mira", "mira", POINTS), ("noor", "mira", POINTS - 2)):
        folder = tmp_path / student
        folder.mkdir()
        (folder / FILE).write_bytes(variant_file(variant_of(student), student=student))
        (folder / f"{SLUG}.ipynb").write_bytes(handed_in(copied_from(author)))
        report = check_notebook(find_lab(SLUG), folder / f"{SLUG}.ipynb")
        assert report.points == points, [str(result) for result in report.results]
        assert judge.grade(Handed(student, "x.ipynb", handed_in(copied_from(author)))).points == points
