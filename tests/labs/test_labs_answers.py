"""Every lab's checks over every trial answer: right in many styles, wrong, crashing, a stub, nonsense."""

from __future__ import annotations

import functools
import re

import pytest
from labs_trials import LabUnderTest

from scalelab.core.paths import shipped

for package in ("jupytext", "torch", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)

NUMBERS = sorted(path.parent.name[:2] for path in shipped("labs").glob("*/lab.toml"))
LABS = {number: LabUnderTest(number) for number in NUMBERS}
AT_LEAST = {"00": (2, 3), "01": (2, 3), "06": (2, 3), "07": (2, 7)}
"""right and wrong answers of each task, where it is not (3, 3) or more"""
WORDS = {"00": 20, "01": 20}
"""characters that a meaning and a message have at least, where it is not 15"""
SLOW = {
    ("09", "drill"),
    ("11", "export"),
    ("13", "locustfile"),
}  # a trained reader reads hundreds of photos; an export takes seconds, and so does a start of locust
EXPORTER_WARNS = [
    pytest.mark.filterwarnings(f"ignore::{kind}")  # torch's, about its own parts
    for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")
]


def trials(*, each=None):
    """Return parameters (number, task), or one for each of what `each` names of a task, with marks."""
    return [
        pytest.param(
            number,
            task,
            *more,
            marks=[
                *([pytest.mark.slow, pytest.mark.timeout(300)] if (number, task) in SLOW else []),
                *(EXPORTER_WARNS if number == "11" else []),
            ],
            id="-".join((number, task, *more)),
        )
        for number, lab in LABS.items()
        for task in lab.tasks
        for more in ([()] if each is None else [(code,) for code in each(lab.answers[task])])
    ]


@functools.cache
def names_of(number):
    """Return the names of a solved notebook; nobody changes them."""
    return LABS[number].definitions()


def seeds(number, one):
    """Return the seeds of a trial: lab 00's checks judge draws, so they are tried on eight."""
    return range(8) if number == "00" else [one]


def test_there_are_labs():
    assert len(NUMBERS) >= 8


@pytest.mark.parametrize("number", NUMBERS)
def test_there_are_answers_of_every_kind(number):
    lab, (right, wrong) = LABS[number], AT_LEAST.get(number, (3, 8 if number > "08" else 3))
    assert sorted(lab.answers) == lab.tasks
    assert len(lab.tasks) == (5 if number == "11" else 6)
    said = re.search(r"^points = (\d+)$", (lab.folders.lab / "lab.toml").read_text("utf-8"), re.MULTILINE)
    assert sum(check.points for check in lab.checks.values()) == int(said[1])
    assert all(len(task.right) >= right and len(task.wrong) >= wrong for task in lab.answers.values())


@pytest.mark.parametrize(("number", "task"), trials())
def test_right_answers_in_any_style_pass(number, task):
    for place, source in enumerate(LABS[number].answers[task].right):
        for seed in seeds(number, place):
            result = LABS[number].try_answer(task, source, names_of(number), seed=seed)
            assert result.is_passed, f"{result}\n{source}"


@pytest.mark.parametrize(("number", "task", "code"), trials(each=lambda task: task.wrong))
def test_each_wrong_answer_gets_its_own_feedback(number, task, code):
    for seed in seeds(number, 5):
        result = LABS[number].try_answer(
            task, LABS[number].answers[task].wrong[code], names_of(number), seed=seed
        )
        assert (result.outcome.value, result.code) == ("failed", code), str(result)
    assert len(result.meaning) > WORDS.get(number, 15), "it does not say what misconception this looks like"


@pytest.mark.parametrize(("number", "task"), trials())
def test_crashing_answers_are_reported_as_crashes(number, task):
    result = LABS[number].try_answer(task, LABS[number].answers[task].crashing, names_of(number))
    assert result.outcome.value == "crashed", str(result)


@pytest.mark.parametrize(("number", "task"), trials())
def test_a_stub_is_not_attempted(number, task):
    result = LABS[number].try_answer(task, LABS[number].stub(task), names_of(number))
    assert result.outcome.value == "not attempted", str(result)


@pytest.mark.parametrize("body", ["return None", "yield 1", "return float('nan')", "return 'x', 'y'"])
@pytest.mark.parametrize(("number", "task"), trials())
def test_values_that_are_no_answer_fail_in_words(number, task, body):
    source = "\n".join(f"def {name}(*values):\n    {body}" for name in LABS[number].functions(task))
    result = LABS[number].try_answer(task, source, names_of(number))
    assert result.outcome.value == "failed", str(result)
    assert len(result.message) > WORDS.get(number, 15)
