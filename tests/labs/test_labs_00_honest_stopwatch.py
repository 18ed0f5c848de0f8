"""Lab 00: its checks over every trial answer, the rule they rest on, and the effect that it is about."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
LAB = LabUnderTest("00")


@pytest.fixture(scope="module")
def names():
    return LAB.definitions()


@pytest.fixture
def given(names):
    return types.SimpleNamespace(**names)


def test_there_are_answers_of_every_kind():
    assert sorted(LAB.answers) == LAB.tasks
    assert len(LAB.tasks) == 6
    assert all(len(task.right) >= 2 and len(task.wrong) >= 3 for task in LAB.answers.values())


@pytest.mark.parametrize("task", LAB.tasks)
def test_right_answers_in_any_style_pass_on_any_input(task, names):
    for source in LAB.answers[task].right:
        for seed in range(8):
            result = LAB.try_answer(task, source, names, seed=seed)
            assert result.is_passed, f"{result}\n{source}"


@pytest.mark.parametrize(("task", "code"), LAB.wrong, ids=str)
def test_each_wrong_answer_gets_its_own_feedback_on_any_input(task, code, names):
    for seed in range(8):
        result = LAB.try_answer(task, LAB.answers[task].wrong[code], names, seed=seed)
        assert (result.outcome.value, result.code) == ("failed", code), str(result)
    assert len(result.meaning) > 20, "it does not say what misconception this looks like"


@pytest.mark.parametrize("factor", ["1e3", "1e6", "1e9"])
@pytest.mark.parametrize("warmup", ["warmup", "0"])
def test_another_unit_is_named_before_anything_that_it_resembles(factor, warmup, names):
    right = LAB.answers["stopwatch"].right[0].replace("range(warmup)", f"range({warmup})")
    source = right.replace("clock() - before", f"{factor} * (clock() - before)")
    assert LAB.try_answer("stopwatch", source, names).code == "wrong-unit"


@pytest.mark.parametrize("task", LAB.tasks)
def test_crashing_answers_are_reported_as_crashes(task, names):
    assert LAB.try_answer(task, LAB.answers[task].crashing, names).outcome.value == "crashed"


@pytest.mark.parametrize("task", LAB.tasks)
def test_a_stub_is_not_attempted(task, names):
    assert LAB.try_answer(task, LAB.stub(task), names).outcome.value == "not attempted"


@pytest.mark.parametrize("body", ["return None", "yield 1", "return float('nan')", "return 'x', 'y'"])
@pytest.mark.parametrize("task", LAB.tasks)
def test_values_that_are_no_answer_fail_in_words(task, body, names):
    source = "\n".join(f"def {name}(*values):\n    {body}" for name in LAB.functions(task))
    result = LAB.try_answer(task, source, names)
    assert result.outcome.value == "failed", str(result)
    assert len(result.message) > 20


def test_no_check_looks_at_a_real_clock(names, monkeypatch):
    def forbidden():
        raise AssertionError("a check read a real clock")

    for clock in ("perf_counter", "time", "monotonic"):
        monkeypatch.setattr(names["time"], clock, forbidden)
    from scalelab.grading import Answers

    for task in LAB.tasks:
        answers = Answers(names)
        answers.begin(LAB.checks[task], seed=1)
        LAB.checks[task](answers)


@pytest.mark.parametrize("n", [6, 9, 15, 40])
def test_the_interval_holds_the_true_median_as_often_as_it_promises(n, given):
    rng = np.random.default_rng(n)
    samples = rng.lognormal(0, 1.0, (2000, n))
    hits = 0
    for sample in samples:
        _, low, high = given.median_interval(sample.tolist())
        hits += low <= 1.0 <= high
    assert 0.94 <= hits / 2000 <= 0.995  # 0.95 to 0.969 promised, less three standard errors


def test_fewer_than_six_values_have_no_interval(given):
    for n in range(1, 6):
        assert given.median_interval(list(range(n)))[1:] == (-math.inf, math.inf)
    assert given.median_interval(list(range(6)))[1:] == (0, 5)


def test_equal_functions_seldom_win_by_the_interval_rule(given):
    rng = np.random.default_rng(0)
    tests = [rng.lognormal(0, 0.5, (2, 15)) for _ in range(400)]
    assert sum(given.winner(*test) != "INCONCLUSIVE" for test in tests) <= 32  # 14 promised


def test_the_drill_shows_a_winner_and_the_mended_race_a_draw(given):
    assert given.median_ratio(given.colleagues_race) > 1.3
    assert given.median_ratio(given.race) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_the_mean_rule_finds_winners_that_the_interval_rule_does_not(names):
    pytest.importorskip("plotly")
    LAB.run_cell("photos = compose_pins", names)
    LAB.run_cell("def run_tests", names)
    found = names["with_burners"](names["usable_cores"](), names["run_tests"])
    assert found.verdict.value in {"PASS", "INCONCLUSIVE"}, found.detail
    assert [row["runs"] for row in found.table] == [3, 6, 15, 30]
    assert found.table[0]["interval rule"] == 0
    assert found.alt


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "mean rule, 3 runs" in text
