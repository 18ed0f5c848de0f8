"""A lab's checks are read from its folder; what is wrong with them is said to the author."""

from __future__ import annotations

import pytest

from scalelab.core.errors import ConfigError, LabFileError
from scalelab.grading import check, draw_seed, load_checks

GOOD = '''
from scalelab.grading import check

@check("second", points=2, hints=("a", "b", "c"))
def judge_second(answers):
    """Second."""

@check("first", points=1, hints=("a", "b", "c"))
def judge_first(answers):
    """First.

    More words.
    """
'''


def folder_with(tmp_path, text):
    (tmp_path / "checks.py").write_text(text)
    return tmp_path


def test_checks_come_in_the_order_of_the_file(tmp_path):
    checks = load_checks(folder_with(tmp_path, GOOD))
    assert list(checks) == ["second", "first"]
    assert checks["first"].goal == "First."


BROKEN = {
    "missing": (None, "is missing"),
    "empty": ("", "defines no check"),
    "syntax": ("def (", "does not run: SyntaxError"),
    "import": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "twice": (GOOD.replace("second", "first"), "two checks named 'first'"),
    "hints": (GOOD.replace('("a", "b", "c")', '("a", "b")'), "exactly 3"),
    "one-string": (GOOD.replace('("a", "b", "c")', '("abc")'), "exactly 3"),
    "points": (GOOD.replace("points=2", "points=0"), "gives 0 points"),
    "docstring": (GOOD.replace('"""Second."""', "pass"), "has no docstring"),
    "name": (GOOD.replace('"second"', '"The Second"'), "is not a name"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_checks_that_are_written_wrongly_are_refused(tmp_path, case):
    text, message = BROKEN[case]
    if text is not None:
        folder_with(tmp_path, text)
    with pytest.raises(LabFileError) as caught:
        load_checks(tmp_path)
    assert message in str(caught.value)


def test_loading_leaves_no_file_behind(tmp_path):
    load_checks(folder_with(tmp_path, GOOD))
    assert [path.name for path in tmp_path.iterdir()] == ["checks.py"]


def test_a_check_is_still_a_function_over_answers():
    seen = []

    @check("x", points=1, hints=("a", "b", "c"))
    def judge(answers):
        """X."""
        seen.append(answers)

    judge("answers")
    assert seen == ["answers"]


@pytest.fixture
def course(monkeypatch):
    for name in ("SCALELAB_SEED", "SCALELAB_COURSE_KEY", "SCALELAB_STUDENT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


def test_without_a_course_every_run_has_a_fresh_seed(course):
    assert len({draw_seed(lab="a", check="b") for _ in range(20)}) == 20


def test_in_a_course_the_seed_follows_from_key_student_lab_check_and_attempt(course):
    course("SCALELAB_COURSE_KEY", "key")
    course("SCALELAB_STUDENT", "asha")
    one = {"lab": "06", "check": "weights", "attempt": 1}
    seed = draw_seed(**one)
    assert seed == draw_seed(**one)
    others = [draw_seed(**{**one, **change}) for change in ({"lab": "07"}, {"check": "x"}, {"attempt": 2})]
    course("SCALELAB_STUDENT", "ravi")
    others.append(draw_seed(**one))
    course("SCALELAB_COURSE_KEY", "other")
    assert len({seed, draw_seed(**one), *others}) == 6


def test_a_course_needs_to_know_the_student(course):
    course("SCALELAB_COURSE_KEY", "key")
    with pytest.raises(ConfigError, match="SCALELAB_STUDENT"):
        draw_seed()


def test_a_given_seed_repeats_a_run(course):
    course("SCALELAB_COURSE_KEY", "key")
    course("SCALELAB_SEED", "42")
    assert draw_seed(check="any") == 42
    course("SCALELAB_SEED", "x1")
    with pytest.raises(ConfigError, match="'x1'"):
        draw_seed()
