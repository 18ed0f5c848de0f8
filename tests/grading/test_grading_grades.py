from __future__ import annotations

import pytest

from scalelab.core.errors import DataError
from scalelab.grading.checks import CheckResult, Outcome
from scalelab.grading.grades import TEXT_LIMIT, Grade, append_grade, check_row, read_grades, scan_grades


def row(student: str, **facts) -> Grade:
    return Grade(
        **{
            "student": student,
            "submission": f"{student}.ipynb",
            "sha256": "ab",
            "lab": "06_gradient_accumulation",
            "lab_sha256": "cd",
            "status": "graded",
            **facts,
        }
    )


def test_a_row_comes_back_as_it_was_written(tmp_path):
    found = CheckResult(
        "weights", Outcome.FAILED, 0.0, 2.0, "Weigh them.", "is 0.5", "equal", "no", "hint", 0.1, 5
    )
    grade = row("mira", checks=[check_row(found, is_hidden=True)], late=True, written={"why": "because"})
    append_grade(tmp_path / "results.jsonl", grade)
    assert read_grades(tmp_path / "results.jsonl") == [grade]


def test_a_check_in_a_row_tells_no_seed_and_no_time():
    found = CheckResult(
        "weights", Outcome.PASSED, 2.0, 2.0, "Weigh them.", seconds=0.1, seed=5, output="printed"
    )
    assert not {"seed", "seconds", "output"} & set(check_row(found))


def test_the_newest_row_of_a_student_counts(tmp_path):
    path = tmp_path / "results.jsonl"
    append_grade(path, row("zoe", points=1.0), row("mira", points=1.0))
    append_grade(path, row("zoe", points=2.0))
    assert [(grade.student, grade.points) for grade in read_grades(path)] == [("mira", 1.0), ("zoe", 2.0)]


def test_half_a_line_of_a_killed_run_is_passed_over_and_then_moved_aside(tmp_path):
    path = tmp_path / "results.jsonl"
    append_grade(path, row("zoe"))
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        assert read_grades(path) == [row("zoe")]
        append_grade(path, row("mira"))
        assert [grade.student for grade in scan_grades(path)] == ["zoe", "mira"]


def test_no_file_is_no_rows(tmp_path):
    assert read_grades(tmp_path / "results.jsonl") == []


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"nothing\n", b"\n"], ids=repr)
def test_a_line_that_is_no_row_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "results.jsonl"
    append_grade(path, row("zoe"))
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(DataError, match="line 2"):
        read_grades(path)


def test_rows_of_another_schema_are_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    append_grade(path, row("zoe", schema=2))
    with pytest.raises(DataError, match="schema 2"):
        read_grades(path)


def test_a_field_of_a_later_version_is_passed_over():
    line = row("zoe").to_json()[:-1] + b',"mood":"good"}'
    assert Grade.from_json(line) == row("zoe")


@pytest.mark.parametrize(
    "text",
    ["\ud800", "nul \0", "\x1b[31m", "x" * (TEXT_LIMIT + 5)],
    ids=["surrogate", "nul", "escape", "long"],
)
def test_texts_of_a_row_can_be_written_anywhere(text):
    reason = Grade.from_json(row("zoe", status="refused", reason=text).to_json()).reason
    assert not {chr(code) for code in range(32)} & set(reason)
    assert len(reason.encode()) < TEXT_LIMIT + 100


def test_words_of_every_script_stay_as_they_are():
    words = "ന്‍ क्‍ष \N{NO-BREAK SPACE} 😀\n\tz"
    assert Grade.from_json(row("zoe", written={"why": words}).to_json()).written == {"why": words}
