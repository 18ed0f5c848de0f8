"""The lab of these tests holds by itself: as in a notebook, without any grader."""

from __future__ import annotations

import json

import grader_tiny as tiny
import pytest

from scalelab.grading import Answers, load_checks, run_check

torch = pytest.importorskip("torch")


def outcomes(answers: dict[str, str], *, seed: int = 1) -> dict[str, str]:
    namespace = {"__name__": "__main__", "lab": type("Lab", (), {"explain": lambda *_: None})()}
    for cell in tiny.notebook(answers)["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and "lab.check(" not in text and "Lab(" not in text:
            exec(text, namespace)
    checks = [*load_checks(tiny.LAB).values(), *load_checks(tiny.LAB, file="hidden_checks.py").values()]
    return {check.name: run_check(check, Answers(namespace), seed=seed).outcome.value for check in checks}


def points() -> float:
    checks = [*load_checks(tiny.LAB).values(), *load_checks(tiny.LAB, file="hidden_checks.py").values()]
    return sum(check.points for check in checks)


def test_its_notebook_is_the_one_that_its_source_gives():
    pytest.importorskip("jupytext")
    assert (tiny.LAB / "lab.ipynb").read_bytes() == tiny.build()


def test_its_solution_is_the_right_answer_of_every_task():
    pytest.importorskip("jupytext")
    solution = json.loads(tiny.build("solution"))
    texts = ["".join(cell["source"]) for cell in solution["cells"]]
    for name, answer in tiny.RIGHT.items():
        plain = [
            "".join(line for line in text.splitlines(True) if "### " not in line).strip() for text in texts
        ]
        assert any(text.endswith(answer) for text in plain), name


def test_it_has_twelve_points():
    assert points() == tiny.POINTS


def test_right_answers_pass_every_check():
    assert set(outcomes(tiny.RIGHT).values()) == {"passed"}


def test_wrong_answers_fail_every_check():
    assert set(outcomes(tiny.WRONG).values()) == {"failed"}


def test_untouched_tasks_are_not_attempted():
    assert set(outcomes({}).values()) == {"not attempted"}
