"""Variants: everybody's lab can be solved, nearly everybody's answers differ, and a neighbour's are wrong."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest
from course_lab import FOLDER, SLUG, SOURCE

from scalelab.core.errors import ConfigError, DataError
from scalelab.grading import Answers, load_checks, run_check
from scalelab.grading.variants import FILE, Variant, own_variant, student_variant, variant_file

KEY = "a key of a course, as random as any"
STUDENTS = [f"student-{number:04d}" for number in range(1000)]
CODE = compile(
    "\n".join(cell.text for cell in SOURCE.cells if cell.kind == "code" and not cell.check).replace(
        "from scalelab import Lab\n\nlab = Lab(", "(lambda slug: None)("
    ),
    "<lab>",
    "exec",
)


def solve(variant: Variant) -> dict:
    """Run the notebook with its solutions."""
    names = {"__name__": "__main__", "lab": SimpleNamespace(variant=variant)}
    exec(CODE, names)
    return names


@pytest.fixture(scope="module")
def solved():
    """The reference's notebook of a thousand students."""
    variants = [student_variant(KEY, student=student, lab=SLUG) for student in STUDENTS]
    return [(variant, solve(variant)) for variant in variants]


@pytest.fixture(scope="module")
def checks():
    return load_checks(FOLDER)


def judge(check, names, variant):
    answers = Answers(names)
    answers.variant = variant
    return run_check(check, answers, seed=7)


def test_the_reference_solves_the_lab_of_a_thousand_students(solved, checks):
    results = [judge(check, names, variant) for variant, names in solved for check in checks.values()]
    assert len(results) == 3000
    assert all(result.is_passed for result in results), [str(r) for r in results if not r.is_passed][:3]


def test_99_of_100_answers_are_a_students_own(solved):
    asked = {
        "mean_late_ms": [round(names["mean_late_ms"], 6) for _, names in solved],
        "fault": [names["fault"] for _, names in solved],
        "padded": [names["padded"](1) for _, names in solved],
    }
    for name, answers in asked.items():
        assert len(set(answers)) >= 0.99 * len(answers), name
    assert {kind for kind, _ in asked["fault"]} == {"lost", "doubled", "swapped"}


@pytest.mark.parametrize(
    ("task", "code"), [("late-share", "other-mean"), ("fault", "other-"), ("padded", "other-block")]
)
def test_a_neighbours_answer_fails(solved, checks, task, code):
    results = [
        judge(checks[task], neighbours, variant)
        for (variant, _), (_, neighbours) in itertools.pairwise(solved)
    ]
    assert sum(result.is_passed for result in results) <= 0.01 * len(results)
    assert all(result.code.startswith(code) for result in results if not result.is_passed)


def test_equal_names_give_equal_draws_and_others_do_not():
    variant = student_variant(KEY, student="mira", lab=SLUG)
    again = student_variant(KEY, student="mira", lab=SLUG)
    assert variant.rng("x").normal(size=3).tolist() == again.rng("x").normal(size=3).tolist()
    assert variant.integer("size", 0, 10**9) == again.integer("size", 0, 10**9)
    others = [
        student_variant(KEY, student="mira", lab="42_other"),
        student_variant(KEY, student="noor", lab=SLUG),
        student_variant("another key", student="mira", lab=SLUG),
    ]
    drawn = {each.integer("size", 0, 10**9) for each in (variant, *others)}
    assert len(drawn) == 4
    assert len({each.secret for each in (variant, *others)}) == 4


def test_numbers_stay_in_their_range_and_reach_both_ends():
    drawn = {Variant(str(seed)).integer("die", 1, 6) for seed in range(300)}
    assert drawn == {1, 2, 3, 4, 5, 6}
    assert {Variant(str(seed)).choice("one", ("a", "b")) for seed in range(50)} == {"a", "b"}
    with pytest.raises(ConfigError, match="from 6 to 1"):
        Variant().integer("die", 6, 1)
    with pytest.raises(ConfigError, match="no option"):
        Variant().choice("one", ())


def test_a_students_file_gives_the_variant_that_the_course_computes(tmp_path):
    variant = student_variant(KEY, student="mira", lab=SLUG)
    (tmp_path / FILE).write_bytes(variant_file(variant, student="mira"))
    assert own_variant(SLUG, tmp_path) == variant
    assert KEY.encode() not in (tmp_path / FILE).read_bytes()
    with pytest.raises(ConfigError, match="this is 42_other"):
        own_variant("42_other", tmp_path)


def test_without_a_file_everybody_has_the_same_variant(tmp_path):
    assert own_variant(SLUG, tmp_path) == Variant(lab=SLUG)


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"lab": 3, "secret": "x"}', json.dumps({"lab": SLUG})])
def test_a_damaged_file_is_said(tmp_path, damaged):
    (tmp_path / FILE).write_text(damaged, encoding="utf-8")
    with pytest.raises(DataError, match=r"variant\.json cannot be read"):
        own_variant(SLUG, tmp_path)


def test_a_check_in_a_notebook_reads_the_file_beside_it(tmp_path, monkeypatch, checks):
    variant = student_variant(KEY, student="mira", lab="own_numbers")  # the folder that the checks lie in
    (tmp_path / FILE).write_bytes(variant_file(variant, student="mira"))
    monkeypatch.chdir(tmp_path)
    assert run_check(checks["padded"], solve(variant), seed=1).is_passed
    assert not run_check(checks["padded"], solve(Variant(lab="own_numbers")), seed=1).is_passed
