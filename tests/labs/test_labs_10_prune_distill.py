"""Lab 10: its checks over every trial answer, and the effects that it is about."""

from __future__ import annotations

import types

import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
LAB = LabUnderTest("10")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The lab's own setting, given back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def names():
    return LAB.definitions()


@pytest.fixture
def given(names):
    return types.SimpleNamespace(**names)


def test_there_are_answers_of_every_kind():
    assert sorted(LAB.answers) == LAB.tasks
    assert len(LAB.tasks) == 6
    assert all(len(task.right) >= 3 and len(task.wrong) >= 8 for task in LAB.answers.values())


@pytest.mark.parametrize("task", LAB.tasks)
def test_right_answers_in_any_style_pass(task, names):
    for seed, source in enumerate(LAB.answers[task].right):
        result = LAB.try_answer(task, source, names, seed=seed)
        assert result.is_passed, f"{result}\n{source}"


@pytest.mark.parametrize(("task", "code"), LAB.wrong, ids=str)
def test_each_wrong_answer_gets_its_own_feedback(task, code, names):
    result = LAB.try_answer(task, LAB.answers[task].wrong[code], names)
    assert (result.outcome.value, result.code) == ("failed", code), str(result)
    assert len(result.message) > 15


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
    assert len(result.message) > 15
