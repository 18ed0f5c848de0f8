"""What a check may ask of a learner's work: names, functions beside it, files."""

from __future__ import annotations

import os

import numpy as np
import pytest

from scalelab.core.errors import LabFileError
from scalelab.grading import Answers, Outcome, load_checks, run_check
from scalelab.grading.answers import NotAttempted
from scalelab.grading.plain import Opaque, own_copy, plain

CHECKS = '''
from scalelab.grading import check, expect, expect_close

@check("total", points=1, hints=("one", "two", "three"))
def total(answers):
    """Sum the values that a counter yields."""
    expect_close(answers.inside("try_total", values=[1, 2, 3]), 6, what="the total", code="wrong-total")

@check("other", points=1, hints=("one", "two", "three"))
def other(answers):
    """Ask for what is not there."""
    answers.inside("try_othr")
'''
INSIDE = """
class Counter:
    def __init__(self, values): self.values = values

def try_total(answers, *, values):
    return answers["total"](Counter(values)) + 0

def try_other(answers): return 0
"""


@pytest.fixture
def lab(tmp_path):
    folder = tmp_path / "labs" / "77_small"
    folder.mkdir(parents=True)
    (folder / "checks.py").write_text(CHECKS)
    (folder / "inside.py").write_text(INSIDE)
    return folder


def learner(source: str) -> dict:
    names: dict = {"__name__": "__main__"}
    exec(source, names)
    return names


@pytest.mark.parametrize(
    ("source", "outcome", "part"),
    [
        ("def total(c): return sum(c.values)", "passed", ""),
        ("def total(c): return 7", "failed", "the total is 7, wanted 6"),
        ("def total(c): pass", "failed", "`total` returned None"),
        ("def total(c): raise NotImplementedError", "not attempted", "`total` is still the stub"),
        ("def total(c): return c.sum", "crashed", "AttributeError: 'Counter' object has no attribute 'sum'"),
        ("def total(): return 6", "crashed", "`total()` cannot be called with 1 value"),
        ("total = ...", "not attempted", "`total` is still `...`"),
        ("", "not attempted", "there is no `total` yet"),
    ],
)
def test_a_function_beside_the_answer_gets_the_verdict_of_a_direct_call(lab, source, outcome, part):
    result = run_check(load_checks(lab)["total"], learner(source))
    assert result.outcome.value == outcome, str(result)
    assert part in result.message


def test_a_function_that_inside_lacks_is_the_labs_fault(lab):
    with pytest.raises(LabFileError, match="has no function 'try_othr'") as caught:
        run_check(load_checks(lab)["other"], {})
    assert "'try_other'" in caught.value.hint


def test_hidden_checks_use_the_inside_file_of_their_lab(lab):
    solutions = lab.parent.parent / "solutions" / lab.name
    solutions.mkdir(parents=True)
    (solutions / "hidden_checks.py").write_text(CHECKS)
    check = load_checks(solutions, file="hidden_checks.py")["total"]
    assert run_check(check, learner("def total(c): return sum(c.values)")).is_passed


def test_what_comes_from_inside_is_plain_data(lab):
    (lab / "inside.py").write_text("def try_total(answers, *, values): return answers['total']")
    answers = Answers({"total": np.array([1, None])})
    answers.begin(load_checks(lab)["total"], seed=0)
    assert isinstance(answers.inside("try_total", values=[]), Opaque)


def test_an_input_is_the_learners_own_copy_unless_it_is_shared():
    answers = Answers(learner("def spoil(a, b): a.sort(); b['x'][0] = 9"))
    hidden, shown = [3, 1, 2], answers.shared([3, 1, 2])
    for given in (hidden, shown):
        held = {"x": np.zeros(2)}
        answers["spoil"](given, held)
        assert held["x"][0] == 0
    assert (hidden, shown) == ([3, 1, 2], [1, 2, 3])


def test_a_model_in_a_list_is_the_object_itself():
    model = object()
    assert own_copy([(model, [1])])[0][0] is model


def test_an_artefact_is_the_files_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"\x00weights")
    answers = Answers({})
    assert answers.artefact("model.bin") == b"\x00weights"
    with pytest.raises(NotAttempted, match=r"`model\.bin` is larger than 3 B"):
        answers.artefact("model.bin", max_bytes=3)
    with pytest.raises(NotAttempted, match=r"there is no file `other\.bin` yet"):
        answers.artefact("other.bin")
    with pytest.raises(NotAttempted):
        answers.artefact(".")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only on systems with named pipes")
def test_a_pipe_is_no_artefact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("model.bin")
    with pytest.raises(NotAttempted, match=r"`model\.bin` is no file"):
        Answers({}).artefact("model.bin")


class Liar(float):
    def __eq__(self, other):
        return True

    def __float__(self):
        return 1.0

    __hash__ = float.__hash__


class Text(str):
    def __str__(self):
        return "right"

    def __iter__(self):
        return iter("right")


class Items(list):
    def __iter__(self):
        return iter([1, 2, 3])

    def __len__(self):
        return 3


class Names(dict):
    def items(self):
        return [("pin", 1.0)]


class Array(np.ndarray):
    def __array__(self, *args, **kwargs):
        return np.ones(3)

    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize(
    ("lie", "truth"),
    [
        (Liar(0.25), 0.25), (Text("wrong"), "wrong"), (Items([Liar(9)]), [9.0]), (Names(a=0), {"a": 0}),
        ((Items(),), ([],)),
    ],
    ids=str,
)  # fmt: skip
def test_a_subclass_is_read_as_what_it_holds(lie, truth):
    found = plain(lie)
    assert type(found) is type(truth)
    assert repr(found) == repr(truth)


def test_an_array_of_another_class_is_read_as_the_array():
    found = plain(np.zeros(3).view(Array))
    assert type(found) is np.ndarray
    assert found.tolist() == [0, 0, 0]


class Shapeless:
    @property
    def __class__(self):
        return float

    def __repr__(self):
        raise ValueError


def test_what_is_no_plain_data_can_be_shown_and_not_used():
    found = plain([Shapeless(), object()])
    assert [type(item).__name__ for item in found] == ["Shapeless", "object"]
    for item in found:
        with pytest.raises(TypeError):
            bool(item)
        with pytest.raises(TypeError):
            len(item)


def test_a_list_that_holds_itself_ends():
    loop: list = []
    loop.append(loop)
    assert "more than 32 deep" in repr(plain(loop))


def test_an_outcome_of_an_opaque_value_is_a_failure(lab):
    result = run_check(load_checks(lab)["total"], {"total": lambda counter: np.ma})
    assert result.outcome is Outcome.FAILED, str(result)
