"""Every hostile, broken and noisy submission, in one class with honest neighbours, as two kinds of user."""

from __future__ import annotations

import functools
import importlib
import json
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("only on Linux: hostile submissions run in namespaces", allow_module_level=True)

import hostile_ground as ground

CASES = [case for letter in "abcdefghyz" for case in importlib.import_module(f"cases_{letter}").CASES]
GROUPS = {
    "calm": [case for case in CASES if not case.is_rough],
    "rough": [case for case in CASES if case.is_rough],
}
WHO = {user: "ordinary" if user else "own" for user in ground.users()}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not ground.wrap(), reason="no namespaces may be made here"),
]


@functools.lru_cache
def outcome(group: str, user: int) -> ground.Outcome:
    return ground.run({case.id: case.files() for case in GROUPS[group]}, user=user)


@pytest.mark.parametrize("user", WHO, ids=WHO.get)
@pytest.mark.parametrize("group", GROUPS)
class TestClass:
    def test_neighbours_files_and_machine_are_as_if_nothing_had_been(self, group, user):
        assert not (found := outcome(group, user).faults), "\n".join(found)

    def test_there_is_one_row_for_each(self, group, user):
        rows = outcome(group, user).rows
        assert sorted(rows) == sorted([*ground.NEIGHBOURS, *(case.id for case in GROUPS[group])])
        assert all(outcome(group, user).row(student) for student in rows)


@pytest.mark.parametrize("user", WHO, ids=WHO.get)
@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case.id).strip('"'))
def test_is_judged_by_its_worth(case, user):
    row = outcome("rough" if case.is_rough else "calm", user).row(case.id)
    assert not (found := ground.faults_of(row, points=case.points, statuses=case.statuses)), found


def test_ids_are_unique_and_of_every_class():
    assert len({case.id for case in CASES}) == len(CASES) > 200
