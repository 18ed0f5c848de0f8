"""No false verdict: right answers in unlike styles, plausible wrong ones, also beside four burners."""

from __future__ import annotations

import pytest
from grader_fair import burners
from grader_styles import RIGHT_STYLES, WRONG_STYLES
from grader_tiny import LAB, TASKS, raw

from scalelab.grader.handed import Handed
from scalelab.grader.judge import Judge
from scalelab.grader.lab import GradedLab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHECKS = {
    "softmax": ("softmax", "softmax-large"),
    "accumulate_gradients": ("accumulate_gradients", "accumulate-uneven"),
    "quantize_int8": ("quantize_int8", "quantize-float32"),
    "ring_allreduce": ("ring_allreduce", "ring-uneven"),
    "bubble_fraction": ("bubble_fraction", "bubble-corners"),
    "fast_pairwise": ("fast_pairwise",),
}
STYLES = 4
BURNERS = 4


@pytest.fixture(scope="module", params=[0, BURNERS], ids=["quiet", "beside burners"])
def judged(request):
    """Points by (kind, style, task), each submission with one style of every task."""
    found = {}
    with burners(request.param), Judge(GradedLab.load(LAB), key="k") as judge:
        for style in range(STYLES):
            for kind, styles in (("right", RIGHT_STYLES), ("wrong", WRONG_STYLES)):
                answers = {task: styles[task][style] for task in TASKS}
                answers = {task: each if kind == "right" else each[0] for task, each in answers.items()}
                grade = judge.grade(Handed(f"{kind}{style}", "lab.ipynb", raw(answers)))
                assert grade.status == "graded", grade.reason
                rows = {row["name"]: row for row in grade.checks}
                for task in TASKS:
                    found[kind, style, task] = [rows[name] for name in CHECKS[task]]
    return found


def told(rows: list[dict]) -> str:
    return "; ".join(f"{row['name']}: {row['outcome']} {row['message']}" for row in rows)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("style", range(STYLES))
def test_a_right_answer_has_full_points_whatever_its_style(judged, task, style):
    rows = judged["right", style, task]
    assert sum(row["points"] for row in rows) == 2, told(rows)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("style", range(STYLES))
def test_a_wrong_answer_has_the_points_of_the_cases_that_it_solves(judged, task, style):
    rows = judged["wrong", style, task]
    assert sum(row["points"] for row in rows) == WRONG_STYLES[task][style][1], told(rows)


def test_there_are_enough_styles_of_each_task():
    assert set(RIGHT_STYLES) == set(WRONG_STYLES) == set(TASKS)
    assert all(len(each) == STYLES for each in (*RIGHT_STYLES.values(), *WRONG_STYLES.values()))
