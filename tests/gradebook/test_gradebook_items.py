"""Item analysis, against numbers by hand and by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from gradebook_classes import TASKS, graded, make_class, not_graded, write_results

from scalelab.gradebook.classbook import read_classbook
from scalelab.gradebook.item_analysis import FEWEST, analyse_items, correlate


def items(tmp_path, grades):
    return {item.name: item for item in analyse_items(read_classbook(write_results(tmp_path, grades)))}


def test_facility_is_the_share_of_points_and_its_interval_is_wilsons(tmp_path):
    grades = [graded(f"s{n}", {"weights": "failed"} if n < 3 else {}) for n in range(10)]
    item = items(tmp_path, grades)["weights"]
    assert (item.n, item.facility) == (10, 0.7)
    # 7 of 10: Wilson's interval at 95 % is 0.397 to 0.892
    assert item.facility_interval == pytest.approx((0.3968, 0.8922), abs=1e-4)


def test_discrimination_is_the_correlation_with_all_other_points(tmp_path):
    grades = [grade for grade in make_class(40) if grade.status == "graded"]
    found = items(tmp_path, grades)
    for name, points, *_ in TASKS:
        own = np.array([next(c["points"] for c in grade.checks if c["name"] == name) for grade in grades])
        rest = np.array([grade.points for grade in grades]) - own
        assert found[name].discrimination == pytest.approx(np.corrcoef(own / points, rest)[0, 1])
    assert max(item.discrimination for item in found.values()) > 0.3  # strong and weak students differ


def test_the_interval_of_r_is_fishers(tmp_path):
    item = items(tmp_path, make_class(40))["memory"]
    low, high = item.discrimination_interval
    middle = (np.arctanh(low) + np.arctanh(high)) / 2
    assert np.tanh(middle) == pytest.approx(item.discrimination)
    assert (np.arctanh(high) - np.arctanh(low)) / 2 == pytest.approx(1.96 / np.sqrt(item.n - 3))


def test_a_task_that_strong_students_fail_has_a_negative_discrimination(tmp_path):
    grades = [
        graded(f"s{n:02d}", {"weights": "failed"} if n % 2 else {"accumulate": "failed", "memory": "failed"})
        for n in range(20)
    ]
    assert items(tmp_path, grades)["weights"].discrimination == pytest.approx(-1.0)


def test_no_correlation_of_few_students_or_of_equal_points(tmp_path):
    assert correlate([0.0, 1.0] * 4, [1.0, 2.0] * 4) is None
    assert FEWEST > 8
    assert correlate([1.0] * 20, list(range(20))) is None
    assert items(tmp_path, [graded(f"s{n}") for n in range(20)])["weights"].discrimination is None


def test_only_graded_submissions_and_sure_measurements_count(tmp_path):
    grades = [
        graded("a"), graded("b", {"memory": "failed"}), graded("c", {"memory": "inconclusive"}),
        not_graded("d", "refused", "no notebook"),
    ]  # fmt: skip
    item = items(tmp_path, grades)["memory"]
    assert (item.n, item.facility) == (2, 0.5)
    assert item.outcomes["inconclusive"] == 1
