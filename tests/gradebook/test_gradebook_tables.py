"""The tables: what is in them, byte for byte the same twice, in the forms that course systems read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from gradebook_classes import graded, make_class, not_graded, write_results

from scalelab.core.errors import DataError
from scalelab.gradebook.classbook import keep_settings, read_classbook
from scalelab.gradebook.exports import write_exports
from scalelab.gradebook.table_files import read_table, write_table
from scalelab.grading.waiting import write_waiting

NBGRADER = [
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
]  # fmt: skip
TABLES = ("gradebook.csv", "canvas.csv", "moodle.csv", "nbgrader.csv")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


def export(out: Path, roster: str = "", **settings: str) -> list[str]:
    """Write the tables; return the notes."""
    path = None
    if roster:
        path = out.parent / "class.csv"
        path.write_text(roster, encoding="utf-8")
    keep_settings(
        out, roster=path, rubric=None, title=settings.get("title", ""), column=settings.get("column", "")
    )
    book = read_classbook(out)
    return [*book.notes, *write_exports(book, out)]


def test_a_row_has_points_by_task_and_their_sum(tmp_path):
    write_results(tmp_path, [graded("mira", {"memory": "failed", "noise-scale": "crashed"})])
    export(tmp_path)
    (row,) = rows(tmp_path / "gradebook.csv")
    assert (row["weights"], row["accumulate"], row["memory"], row["noise-scale"]) == ("2", "4", "0", "0")
    assert (row["total"], row["max"], row["percent"], row["status"]) == ("7", "13", "53.85", "graded")


def test_a_student_without_a_grade_is_a_row_with_0_and_the_reason(tmp_path):
    write_results(tmp_path, [graded("mira"), not_graded("ravi", "timed out", "it ran for 60 s")])
    notes = export(tmp_path, "student,name\nmira,Mira Rao\nravi,Ravi\nlena,Lena\n")
    lena, mira, ravi = rows(tmp_path / "gradebook.csv")
    assert (ravi["total"], ravi["status"], ravi["reason"]) == ("0", "timed out", "it ran for 60 s")
    assert (lena["total"], lena["max"], lena["status"]) == ("0", "13", "no submission")
    assert (mira["total"], mira["name"]) == ("13", "Mira Rao")
    assert any("handed nothing in: lena" in note for note in notes)


def test_two_runs_of_one_class_are_equal_byte_for_byte(tmp_path):
    """Neither the order of grading nor its times are in a table."""
    first, second = make_class(30), make_class(30)
    write_results(tmp_path / "a", first)
    for number, grade in enumerate(reversed(second)):
        late = type(grade)(
            **{
                **vars(grade),
                "seconds": 9.9,
                "machine_load": 3.0,
                "graded_at": f"2027-01-01T00:{number:02d}:00",
            }
        )
        write_results(tmp_path / "b", [late])
    for name in ("a", "b"):
        export(tmp_path / name)
    for name in TABLES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_newest_row_counts(tmp_path):
    write_results(tmp_path, [graded("mira", {"weights": "failed"}), graded("mira")])
    export(tmp_path)
    assert [row["total"] for row in rows(tmp_path / "gradebook.csv")] == ["13"]


def test_late_is_a_column_only_where_there_is_a_due_date(tmp_path):
    write_results(tmp_path / "none", [graded("mira")])
    write_results(tmp_path / "due", [graded("mira", late=True), graded("ravi", late=False)])
    export(tmp_path / "none")
    export(tmp_path / "due")
    assert "late" not in rows(tmp_path / "none" / "gradebook.csv")[0]
    assert [row["late"] for row in rows(tmp_path / "due" / "gradebook.csv")] == ["yes", "no"]


def test_canvas_gets_its_own_columns_back(tmp_path):
    """As in its importer: Student, ID ... Section, then the assignment; the second line has the points."""
    write_results(tmp_path, [graded("mira01"), graded("stranger")])
    roster = (
        "Student,ID,SIS User ID,SIS Login ID,Section,Lab 6 (1234)\n    Points Possible,,,,,13\n"
        '"Rao, Mira",77,S1,mira01,A,\n"Berg, Lena",78,S2,lena01,B,\n'
    )
    notes = export(tmp_path, roster, column="Lab 6 (1234)")
    header, points, *students = lines(tmp_path / "canvas.csv")
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lab 6 (1234)"]
    assert points == ["    Points Possible", "", "", "", "", "13"]
    assert students == [
        ["Berg, Lena", "78", "S2", "lena01", "B", "0"],
        ["Rao, Mira", "77", "S1", "mira01", "A", "13"],
    ]
    assert any("stranger" in note for note in notes)


def test_a_hand_in_without_a_grade_is_not_taken_for_none(tmp_path):
    write_results(tmp_path, [graded("mira_7")])
    write_waiting(tmp_path, ["ravi_8"])
    notes = export(tmp_path, "student,name,canvas_id\nmira,Mira,7\nravi,Ravi,8\nlena,Lena,9\n")
    assert [row["student"] for row in rows(tmp_path / "gradebook.csv")] == ["lena", "mira_7"]
    assert notes[0] == "1 hand-in not graded yet, and so in no table (ravi): grade once more, without --only"
    assert any("handed nothing in: lena" in note for note in notes)
    write_waiting(tmp_path, [])
    export(tmp_path)
    assert [row["student"] for row in rows(tmp_path / "gradebook.csv")] == ["lena", "mira_7", "ravi"]


def test_nobody_is_told_about_canvas_who_did_not_name_its_assignment(tmp_path):
    write_results(tmp_path, [graded("mira")])
    assert not any("canvas" in note for note in export(tmp_path, title="Accumulation"))
    assert any("--roster" in note for note in export(tmp_path, column="Lab 6 (1234)"))


def test_canvas_is_told_to_need_a_number_of_the_assignment(tmp_path):
    write_results(tmp_path, [graded("mira")])
    roster = "student,name\nmira,Mira\n"
    assert any("--column" in note for note in export(tmp_path, roster))
    assert not any("--column" in note for note in export(tmp_path, roster, column="Lab 6 (9)"))


def test_nobody_called_points_possible_sets_the_points(tmp_path):
    """Canvas takes each row whose name holds these words for the assignment's points."""
    write_results(tmp_path, [graded("eve", {"weights": "failed"})])
    export(tmp_path, "student,name,login\neve,Points Possible,eve\n")
    names = [row[0] for row in lines(tmp_path / "canvas.csv")]
    assert names == ["Student", "    Points Possible", ""]


def test_moodle_gets_user_fields_grade_and_feedback(tmp_path):
    write_results(tmp_path, [graded("mira", {"memory": "failed"}), graded("stranger")])
    export(
        tmp_path,
        "Username,ID number,Email address,First name,Last name\nmira,S1,m@uni.in,Mira,Rao\n",
        title="Lab 6",
    )
    (row,) = rows(tmp_path / "moodle.csv")  # a user that Moodle does not know would stop the whole import
    assert row["Username"] == "mira"
    assert (row["ID number"], row["Email address"], row["Lab 6"]) == ("S1", "m@uni.in", "10")
    assert "4 of 5 checks" in row["Lab 6 (Feedback)"]


def test_nbgrader_gets_the_columns_of_its_own_export(tmp_path):
    write_results(tmp_path, [graded("mira", submitted_at="2026-11-02T12:00:00+05:30")])
    export(tmp_path, "id,first_name,last_name,email\nmira,Mira,Rao,m@uni.in\n")
    (row,) = rows(tmp_path / "nbgrader.csv")
    assert list(row) == [*NBGRADER, "id"]
    assert (row["id"], row["last_name"], row["score"], row["max_score"]) == ("mira", "Rao", "13", "13")


def test_results_of_two_labs_are_no_class(tmp_path):
    write_results(tmp_path, [graded("mira"), graded("ravi", lab="07_other")])
    with pytest.raises(DataError, match="06_gradient_accumulation and 07_other"):
        read_classbook(tmp_path)


def test_no_results_say_what_to_run(tmp_path):
    with pytest.raises(DataError) as told:
        read_classbook(tmp_path)
    assert "scalelab grade" in told.value.hint


def test_rows_of_two_versions_of_a_lab_are_said(tmp_path):
    write_results(tmp_path, [graded("mira"), graded("ravi", lab_sha256="2" * 64)])
    assert any("different versions" in note for note in read_classbook(tmp_path).notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_however_it_was_saved(tmp_path, encoding, separator):
    text = (
        separator.join(["student", "comment"])
        + "\r\n"
        + separator.join(["mira", '"très, bien; ""ja"""'])
        + "\r\n"
    )
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    (row,) = read_table(tmp_path / "t.csv").rows
    assert row.cells == {"student": "mira", "comment": 'très, bien; "ja"'}


def test_excel_gets_a_byte_order_mark_only_where_it_needs_one(tmp_path):
    write_table(tmp_path / "a.csv", ["student"], [["mira"]], for_excel=True)
    write_table(tmp_path / "b.csv", ["student"], [["मीरा"]], for_excel=True)
    write_table(tmp_path / "c.csv", ["student"], [["मीरा"]])
    begins = [(tmp_path / name).read_bytes()[:3] == b"\xef\xbb\xbf" for name in ("a.csv", "b.csv", "c.csv")]
    assert begins == [False, True, False]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("student,student\na,b\n", "'student' twice"),
        ("student,mark\nmira,2,very good\n", "line 2"),
    ],
)
def test_a_broken_table_says_where(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_table(tmp_path / "t.csv")


def test_settings_are_kept_beside_the_results(tmp_path):
    write_results(tmp_path, [graded("mira")])
    export(tmp_path, "student,name\nmira,Mira\n", title="Lab six", column="Lab 6 (1)")
    book = read_classbook(tmp_path)
    assert (book.title, book.column, book.has_roster) == ("Lab six", "Lab 6 (1)", True)
    assert json.loads((tmp_path / "gradebook.json").read_text())["title"] == "Lab six"
