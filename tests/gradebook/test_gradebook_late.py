"""What being late costs: off the points wherever they stand, and said."""

from __future__ import annotations

import csv

import pytest

from scalelab.core.errors import DataError
from scalelab.gradebook import read_classbook, write_gradebook
from scalelab.gradebook.late import FILE, Late, read_late, write_late
from scalelab.grading.grades import Grade, append_grade

DUE = "2026-11-30T23:59:00+05:30"


@pytest.fixture
def out(tmp_path):
    texts = dict.fromkeys(("message", "code", "meaning", "hint"), "")
    check = {"name": "a", "points": 8, "max_points": 8, "goal": "A.", "outcome": "passed", "is_hidden": False}
    check |= texts
    for student in ("=mira", "noor"):
        facts = {"sha256": "0", "lab": "01_x", "lab_sha256": "0", "status": "graded"}
        row = Grade(student, "x.ipynb", **facts, points=8.0, max_points=8.0, checks=[check])
        append_grade(tmp_path / "results.jsonl", row)
    return tmp_path


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_being_late_costs_its_share_in_every_table_and_on_the_page(out):
    write_late(out, [Late("=mira", "2026-12-01T10:00:00+00:00", DUE, 1, 25.0)])
    write_gradebook(out)
    assert [entry.points for entry in read_classbook(out).entries] == [6.0, 8.0]
    mira, noor = table(out / "gradebook.csv")
    assert (mira["a"], mira["total"], mira["percent"], mira["late_percent_off"]) == ("8", "6", "75.00", "25")
    assert (noor["total"], noor["late_percent_off"]) == ("8", "0")
    row = table(out / "nbgrader.csv")[0]
    assert (row["raw_score"], row["late_submission_penalty"], row["score"]) == ("8", "2", "6")
    page = next(path for path in (out / "feedback").iterdir() if "mira" in path.name).read_text("utf-8")
    assert "Handed in late: 25 % of 8 points are off." in page
    assert "Well done" not in page


def test_without_late_hand_ins_nothing_is_said_of_them(out):
    write_late(out, [])
    write_gradebook(out)
    assert "late_percent_off" not in table(out / "gradebook.csv")[0]
    assert read_late(out) == {}
    (out / FILE).unlink()
    assert read_late(out) == {}


@pytest.mark.parametrize("share", ["lots", "-1", "101", "nan"])
def test_a_share_that_is_none_is_named_with_its_line(out, share):
    (out / FILE).write_text(f"student,percent_off\nmira,10\nnoor,{share}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3: percent_off"):
        write_gradebook(out)
