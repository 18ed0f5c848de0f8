"""Every law of the trials, broken by one row."""

from __future__ import annotations

import dataclasses

import pytest

from scalelab.authoring.judge import judge_answers, judge_trials
from scalelab.authoring.trials import Trial
from scalelab.grading import Task


def row(kind, outcome, *, task="t", label="", check="t", code="", is_hidden=False):
    points = 2.0 if outcome == "passed" else 0.0
    return Trial(task, kind, label, check, is_hidden, outcome, code, points, 2.0, "", 1)


GOOD = [
    row("unsolved", "not attempted", task=""),
    row("solved", "passed", task=""),
    row("without", "not attempted"),
    row("right", "passed", label="1"),
    row("wrong", "failed", label="inverted", code="inverted"),
    row("crashing", "crashed"),
]
HIDDEN = [dataclasses.replace(trial, check="h", is_hidden=True) for trial in GOOD]


def problems(trials):
    return list(judge_trials(trials, slug="42_tiny"))


def test_a_lab_that_keeps_every_law_has_no_problem():
    assert problems(GOOD + HIDDEN) == []


@pytest.mark.parametrize(
    ("place", "outcome", "code", "said"),
    [
        (0, "failed", "inverted", "an untouched notebook ends as 'failed'"),
        (0, "passed", "", "an untouched notebook ends as 'passed' and 2 points"),
        (0, "crashed", "", "an untouched notebook ends as 'crashed'"),
        (1, "failed", "inverted", "the solution ends as 'failed' with code 'inverted'"),
        (1, "inconclusive", "too-noisy", "the solution ends as 'inconclusive'"),
        (3, "failed", "inverted", "right answer 1 of task 't' ends as 'failed'"),
        (4, "passed", "", "wrong answer 'inverted' ends as 'passed'"),
        (4, "failed", "other-rate", "wrong answer 'inverted' ends as 'failed' with code 'other-rate'"),
        (4, "inconclusive", "too-noisy", "wrong answer 'inverted' ends as 'inconclusive'"),
        (5, "failed", "unusable", "the crashing answer of task 't' ends as 'failed'"),
    ],
)
def test_one_broken_law_is_one_sentence_with_the_file(place, outcome, code, said):
    broken = list(GOOD)
    before = broken[place]
    broken[place] = row(before.kind, outcome, task=before.task, label=before.label, code=code)
    (problem,) = problems(broken)
    assert problem.startswith("labs/42_tiny/checks.py: check 't': ")
    assert said in problem


@pytest.mark.parametrize("place", [0, 1, 3, 5])
def test_hidden_checks_keep_the_same_laws(place):
    broken = list(HIDDEN)
    outcome = "passed" if place in {0, 5} else "failed"
    before = broken[place]
    broken[place] = row(before.kind, outcome, task=before.task, check="h", is_hidden=True)
    (problem,) = problems(GOOD + broken)
    assert problem.startswith("solutions/42_tiny/hidden_checks.py: check 'h': ")


def test_a_hidden_check_that_no_wrong_answer_fails_is_named():
    toothless = [
        dataclasses.replace(trial, outcome="passed") if trial.kind == "wrong" else trial for trial in HIDDEN
    ]
    (problem,) = problems(GOOD + toothless)
    assert "passes on every wrong answer" in problem


def test_a_hidden_check_that_no_task_feeds_is_named():
    (problem,) = problems(GOOD + [trial for trial in HIDDEN if trial.kind != "without"])
    assert "asks for no task's answer" in problem


def test_a_wrong_answer_of_another_task_may_pass_a_hidden_check():
    assert problems([*GOOD, *HIDDEN, row("wrong", "passed", task="other", check="h", is_hidden=True)]) == []


def test_answers_need_two_styles_and_three_mistakes():
    task = Task(
        right=["x = 1", "x  =  1  # the same"], wrong={"a": "x = 2", "b": "x = 3"}, crashing="x = 1 / 0"
    )
    told = list(judge_answers({"t": task}, {"t": 2}, slug="42_tiny"))
    assert len(told) == 2
    assert "1 styles of right answers, needs 2" in told[0]
    assert "2 different wrong answers, needs 3" in told[1]


def test_answers_and_checks_are_of_the_same_tasks():
    task = Task(right=["x = 1", "x = 2 - 1"], wrong={"a": "x = 2", "b": "x = 3", "c": "x = 4"}, crashing="x")
    told = list(judge_answers({"s": task}, {"t": 2}, slug="42_tiny"))
    assert told == [
        "solutions/42_tiny/answers.py: no answers for task 't'",
        "solutions/42_tiny/answers.py: task 's' has no check",
    ]
