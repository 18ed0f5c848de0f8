"""Marks by hand: out as a table, back with numbers; clear errors, and no mark is ever lost."""

from __future__ import annotations

import csv
from datetime import datetime, timezone
from pathlib import Path

import pytest
from gradebook_classes import graded, write_results

from scalelab.core.errors import ConfigError, DataError
from scalelab.gradebook import merge_marks, write_gradebook
from scalelab.gradebook.classbook import read_classbook
from scalelab.gradebook.marks import NAME, read_marks
from scalelab.gradebook.rubric import read_rubric
from scalelab.gradebook.written import write_written

RUBRIC = """
[[question]]
name = "residual"
text = "Why is the median below?"
criterion = [ { name = "the average", points = 2 }, { name = "the ratio", points = 1 } ]

[[question]]
name = "trade"
points = 4
"""
AVERAGE, RATIO = "the average (of 2)", "the ratio (of 1)"


def clock() -> datetime:
    return datetime(2026, 11, 26, tzinfo=timezone.utc)


@pytest.fixture
def out(tmp_path) -> Path:
    """Three students: two answered both questions, one none; with a rubric."""
    folder = tmp_path / "grades"
    both = {"residual": "S is an average.", "trade": "Memory for time."}
    write_results(folder, [graded("mira", written=both), graded("ravi", written=both), graded("007")])
    (folder / "rubric.toml").write_text(RUBRIC)
    write_written(read_classbook(folder), folder)
    return folder


def fill(
    out: Path, *marks: tuple[str, str, dict[str, str]], name: str = "filled.csv", delimiter: str = ","
) -> Path:
    """Fill cells of ``written.csv`` as a person would, into another file."""
    table = list(csv.DictReader((out / "written.csv").read_text(encoding="utf-8-sig").splitlines()))
    for student, task, cells in marks:
        next(row for row in table if (row["student"], row["task"]) == (student, task)).update(cells)
    path = out.parent / name
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(table)
    return path


def points(out: Path) -> dict[tuple[str, str], float]:
    return {key: marks[-1].points for key, marks in read_marks(out).items()}


def test_a_row_for_each_answer_and_a_column_for_each_criterion(out):
    table = list(csv.DictReader((out / "written.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [(row["student"], row["task"]) for row in table] == [
        ("mira", "residual"), ("ravi", "residual"), ("mira", "trade"), ("ravi", "trade"),
    ]  # fmt: skip
    assert (table[0]["answer"], table[0]["max"], table[0][AVERAGE], table[0]["mark"]) == (
        "S is an average.",
        "3",
        "",
        "",
    )
    assert table[2][AVERAGE] == "–"


def test_marks_and_sums_of_criteria_are_merged(out):
    path = fill(
        out,
        ("mira", "residual", {AVERAGE: "2", RATIO: "0,5", "comment": "good"}),
        ("ravi", "trade", {"mark": "3"}),
        delimiter=";",
    )  # fmt: skip
    merged = merge_marks(out, path, now=clock)
    assert (merged.new, merged.unmarked) == (2, 2)
    assert points(out) == {("mira", "residual"): 2.5, ("ravi", "trade"): 3.0}
    mark = read_marks(out)["mira", "residual"][-1]
    assert (mark.criteria, mark.comment, mark.marked_at) == (
        {"the average": 2.0, "the ratio": 0.5}, "good", "2026-11-26T00:00:00+00:00",
    )  # fmt: skip


def test_marked_totals_are_in_all_exports_and_on_the_page(out):
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "3.5", "comment": "What about time?"})), now=clock)
    report = write_gradebook(out)
    assert report.max_points == 17  # 13 of the checks and 4 of the one question that has a mark
    for name, column in (
        ("gradebook.csv", "total"),
        ("nbgrader.csv", "score"),
        ("moodle.csv", "06_gradient_accumulation"),
    ):
        table = list(csv.DictReader((out / name).read_text(encoding="utf-8-sig").splitlines()))
        assert [row[column] for row in table] == ["13", "16.5", "13"], name
    assert "16.5" in (out / "canvas.csv").read_text()
    page = (out / "feedback" / "mira.html").read_text()
    assert "16.5 of 17 points" in page
    assert "What about time?" in page
    assert any("3 written answers to mark" in note for note in report.notes)


def test_merging_twice_adds_nothing(out):
    path = fill(out, ("mira", "trade", {"mark": "3"}))
    merge_marks(out, path, now=clock)
    before = (out / NAME).read_bytes()
    assert merge_marks(out, path, now=clock).same == 1
    assert (out / NAME).read_bytes() == before


def test_a_changed_mark_is_said_and_the_old_one_stays_in_the_file(out):
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "3"})), now=clock)
    merged = merge_marks(out, fill(out, ("mira", "trade", {"mark": "4"})), now=clock)
    assert merged.changed == ("mira, trade: 3 -> 4",)
    assert [mark.points for mark in read_marks(out)["mira", "trade"]] == [3.0, 4.0]


def test_an_empty_cell_takes_no_mark_away(out):
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "3"})), now=clock)
    merge_marks(out, fill(out, ("ravi", "trade", {"mark": "1"})), now=clock)
    assert points(out) == {("mira", "trade"): 3.0, ("ravi", "trade"): 1.0}


def test_an_older_table_does_not_put_older_marks_back(out):
    """Two people mark: one changes a mark, the other sends in a table from before."""
    old = fill(out, ("mira", "trade", {"mark": "3"}), name="old.csv")
    merge_marks(out, old, now=clock)
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "4"})), now=clock)
    assert merge_marks(out, old, now=clock).outdated == ("mira, trade: 4 -> 3",)
    assert points(out)["mira", "trade"] == 4.0
    merge_marks(out, old, overwrite=True, now=clock)
    assert points(out)["mira", "trade"] == 3.0


@pytest.mark.parametrize(
    ("student", "task", "cells", "told"),
    [
        ("mira", "trade", {"student": "mirra"}, "student 'mirra' is unknown: did you mean 'mira'?"),
        ("mira", "trade", {"task": "trad"}, "task 'trad' is unknown: did you mean 'trade'?"),
        ("mira", "trade", {"mark": "5"}, "mark 5 is above the maximum of 4"),
        ("mira", "trade", {"mark": "three"}, "mark 'three' is not a number"),
        ("mira", "trade", {"mark": "nan"}, "is not a number from 0 up"),
        ("mira", "trade", {"mark": "-1"}, "is not a number from 0 up"),
        ("mira", "trade", {"mark": "3", "max": "5"}, "max is 5 here and 4 elsewhere"),
        ("mira", "trade", {"comment": "nice"}, "a comment without a mark"),
        ("mira", "residual", {AVERAGE: "2"}, "'the ratio' is empty"),
        ("mira", "residual", {AVERAGE: "2", RATIO: "3"}, "'the ratio' has 3, above its maximum of 1"),
        ("mira", "residual", {AVERAGE: "2", RATIO: "1", "mark": "2"}, "not the sum of the criteria, 3"),
        ("mira", "trade", {"student": "ravi", "mark": "1"}, "ravi and trade are in line"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_merged(out, student, task, cells, told):
    good = ("ravi", "trade", {"mark": "2"})
    with pytest.raises(DataError) as error:
        merge_marks(out, fill(out, good, (student, task, cells)), now=clock)
    assert told in error.value.message
    assert "line " in error.value.message
    assert not (out / NAME).exists()


def test_an_unmerged_table_is_not_written_over(out):
    filled = fill(out, ("mira", "trade", {"mark": "3"})).read_bytes()
    (out / "written.csv").write_bytes(filled)
    report = write_gradebook(out)
    assert (out / "written.csv").read_bytes() == filled
    assert any("scalelab gradebook marks" in note for note in report.notes)
    merge_marks(out, out / "written.csv", now=clock)
    write_gradebook(out)
    assert (out / "written.csv").read_bytes() != filled


def test_a_table_with_a_wrong_mark_in_it_is_not_written_over(out):
    filled = fill(out, ("mira", "trade", {"mark": "33"})).read_bytes()
    (out / "written.csv").write_bytes(filled)
    assert any("above the maximum" in note for note in write_gradebook(out).notes)
    assert (out / "written.csv").read_bytes() == filled


def test_a_new_answer_waits_for_a_mark_while_the_old_one_counts(out):
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "3"})), now=clock)
    before = fill(out, ("mira", "trade", {"mark": "3"}), name="before.csv")
    write_results(out, [graded("mira", written={"trade": "Time for memory."})])
    report = write_gradebook(out)
    assert any("changed since" in note and "mira" in note for note in report.notes)
    assert any("3 written answers to mark" in note for note in report.notes)  # two of ravi, this one
    assert "still to be read" in (out / "feedback" / "mira.html").read_text()
    row = next(
        row for row in csv.DictReader((out / "written.csv").read_text(encoding="utf-8-sig").splitlines())
        if row["student"] == "mira" and row["task"] == "trade"
    )  # fmt: skip
    assert row["mark"] == ""
    assert "was marked 3" in row["note"]
    assert merge_marks(out, before, now=clock).same == 1  # for the answer that it was given for
    assert any("changed since" in note for note in write_gradebook(out).notes)
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "3"})), now=clock)
    assert not any("changed since" in note for note in write_gradebook(out).notes)


def test_zeros_that_a_spreadsheet_dropped_are_found_again(out):
    path = out.parent / "typed.csv"
    path.write_text("student,task,mark\n7,trade,2\n")
    merge_marks(out, path, now=clock)
    assert points(out) == {("007", "trade"): 2.0}


def test_without_a_rubric_the_table_says_the_maximum(tmp_path):
    write_results(tmp_path, [graded("mira", written={"why": "Because."})])
    path = tmp_path / "typed.csv"
    path.write_text("student,task,mark\nmira,why,2\n")
    with pytest.raises(DataError, match="no maximum"):
        merge_marks(tmp_path, path)
    path.write_text("student,task,mark,max\nmira,why,2,5\n")
    merge_marks(tmp_path, path, now=clock)
    assert read_classbook(tmp_path).max_points == 18


def test_half_a_line_at_the_end_loses_no_mark_before_it(out):
    merge_marks(out, fill(out, ("mira", "trade", {"mark": "3"})), now=clock)
    with (out / NAME).open("ab") as file:
        file.write(b'{"student": "ravi"')
    assert points(out) == {("mira", "trade"): 3.0}
    merge_marks(out, fill(out, ("ravi", "trade", {"mark": "1"})), now=clock)
    assert points(out) == {("mira", "trade"): 3.0, ("ravi", "trade"): 1.0}


def test_a_broken_line_is_named_and_nothing_is_written(out):
    (out / NAME).write_text('{"student": "mira"}\n')
    with pytest.raises(DataError, match=r"marks.jsonl, line 1 is no mark"):
        write_gradebook(out)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no question"),
        ("[[question]]\npoints = 2\n", "has no name"),
        ("[[question]]\nname = 'a'\n", "points = None"),
        ("[[question]]\nname = 'a'\npoints = -1\n", "points = -1"),
        ("[[question]]\nname = 'a'\npoints = 1\n" * 2, "'a' twice"),
        ("[[question]]\nname = 'a'\npoint = 1\n", "has 'point'"),
        (
            "[[question]]\nname = 'a'\npoints = 1\ncriterion = [{name = 'b', points = 1}]\n",
            "points and criteria",
        ),
        ("[[question", "mend|line"),
    ],
)
def test_a_rubric_that_cannot_be_used_says_why(tmp_path, text, told):
    (tmp_path / "rubric.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_rubric(tmp_path / "rubric.toml")
