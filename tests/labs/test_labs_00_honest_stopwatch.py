"""Lab 00: the rule that its checks rest on, and the effect that it is about."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
LAB = LabUnderTest("00")


@pytest.mark.parametrize("factor", ["1e3", "1e6", "1e9"])
@pytest.mark.parametrize("warmup", ["warmup", "0"])
def test_another_unit_is_named_before_anything_that_it_resembles(factor, warmup, names):
    right = LAB.answers["stopwatch"].right[0].replace("range(warmup)", f"range({warmup})")
    source = right.replace("clock() - before", f"{factor} * (clock() - before)")
    assert LAB.try_answer("stopwatch", source, names).code == "wrong-unit"


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
