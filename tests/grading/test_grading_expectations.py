"""Numbers are compared whatever holds them, and a difference is said so that one sees it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from scalelab.grading import expect, expect_close, expect_length, expect_raises, expect_type
from scalelab.grading.expectations import ExpectationFailed, describe


def refusal(call, *args, **kwargs):
    with pytest.raises(ExpectationFailed) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    "got",
    [[1, 2], (1.0, 2.0), np.array([1, 2], dtype=np.float16), np.array([1, 2], dtype=object), range(1, 3)],
)
def test_numbers_are_close_whatever_holds_them(got):
    expect_close(got, [1, 2], what="x", code="off")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int64", "uint8"])
def test_tensors_of_any_type_are_close(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([1, 2], dtype=getattr(torch, dtype))
    expect_close(tensor, [1, 2], what="x", code="off")
    expect_close([tensor[0], tensor[1]], tensor, what="x", code="off")


@pytest.mark.slow
def test_a_tensor_with_a_gradient_or_without_memory_is_answered_not_raised():
    torch = pytest.importorskip("torch")
    expect_close(torch.ones(2, requires_grad=True), [1, 1], what="x", code="off")
    assert (
        refusal(expect_close, torch.ones(2, device="meta"), [1, 1], what="x", code="off").code == "wrong-type"
    )


CASES = {
    "none": (None, 1.0, "returned-none", "x is None"),
    "generator": ((n for n in [1]), [1], "returned-generator", "x is a generator"),
    "map": (map(abs, [1]), [1], "returned-generator", "x is a map"),
    "nan": (float("nan"), 1.0, "not-a-number", "x is NaN, wanted 1"),
    "nan-inside": ([1, float("nan")], [1, 2], "not-a-number", "x[1] is NaN, wanted 2"),
    "infinite": (float("inf"), 1.0, "off", "x is inf, wanted 1"),
    "shorter": ([1], [1, 2], "wrong-shape", "x has 1 values, wanted 2 values"),
    "scalar": (1, [1, 2], "wrong-shape", "x is a single number (1), wanted 2 values"),
    "matrix": (np.ones((2, 2)), np.ones((2, 3)), "wrong-shape", "x has shape (2, 2), wanted shape (2, 3)"),
    "text": ("1", 1.0, "wrong-type", "x is '1' (str), wanted numbers"),
    "dict": ({"a": 1}, [1], "wrong-type", "wanted numbers"),
    "function": (abs, 1.0, "wrong-type", "wanted numbers"),
    "complex": (1j, 1.0, "wrong-type", "complex"),
    "nearly": (1.0000001, 1.0, "off", "x is 1.0000001, wanted 1 (relative tolerance 1e-09)"),
    "some": (
        [1, 5, 6],
        [1, 2, 3],
        "off",
        "x[1] is 5, wanted 2 (relative tolerance 1e-09; 2 of 3 values differ)",
    ),
    "deep": (np.eye(2), np.ones((2, 2)), "off", "x[0, 1] is 0, wanted 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_said(case):
    got, wanted, code, message = CASES[case]
    refused = refusal(expect_close, got, wanted, what="x", code="off", rtol=1e-9)
    assert refused.code == code
    assert message in refused.message


def test_wanted_nan_is_met_by_nan():
    expect_close([1, float("nan")], [1, float("nan")], what="x", code="off")


@pytest.mark.parametrize("holds", [True, 1, np.True_, [0], np.array([True, True])])
def test_a_condition_that_holds_is_silent(holds):
    expect(holds, "no", code="off")


@pytest.mark.parametrize(
    "fails", [False, 0, None, float("nan"), [], np.array([True, False]), np.zeros(0) == 5]
)
def test_a_condition_that_does_not_hold_says_so(fails):
    refused = refusal(expect, fails, "got 2, wanted 3", code="off", meaning="why")
    assert (refused.message, refused.code, refused.meaning) == ("got 2, wanted 3", "off", "why")


def test_type_and_length_name_what_came():
    expect_type(3, (int, float), what="n")
    expect_length("abc", 3, what="name")
    assert refusal(expect_type, "3", (int, float), what="n").message == "n is '3' (str), wanted int or float"
    assert refusal(expect_length, [1], 2, what="xs").message == "xs has 1 items, wanted 2"
    assert refusal(expect_length, 5, 2, what="xs").message == "xs is 5 (int), wanted 2 items"
    assert refusal(expect_length, None, 2, what="xs").code == "returned-none"


def test_an_error_that_should_be_raised():
    expect_raises(ValueError, int, "x", what="int('x')", code="silent")
    refused = refusal(expect_raises, ValueError, int, "7", what="int('7')", code="silent")
    assert refused.message == "int('7') gave 7 (int), wanted a ValueError"


def test_another_error_than_the_wanted_one_is_a_failure_and_no_crash():
    refused = refusal(expect_raises, ValueError, {}.__getitem__, "x", what="f({})", code="other-error")
    assert (refused.message, refused.code) == (
        "f({}) raised KeyError: 'x', wanted a ValueError",
        "other-error",
    )
    with pytest.raises(RecursionError):
        expect_raises(ValueError, recurse, what="recurse()", code="other-error")


def recurse():
    recurse()


def test_a_stub_is_no_raised_error():
    def stub():
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        expect_raises(Exception, stub, what="stub()", code="silent")


def test_a_value_is_described_in_a_line_even_if_its_repr_breaks():
    class Broken:
        def __repr__(self):
            raise ValueError

    assert describe(Broken()) == "a Broken"
    assert len(describe("x" * 500)) < 80
    assert describe(np.zeros((3, 4))) == "an ndarray of shape (3, 4), float64"
    assert describe(np.array(["a"])) == "an ndarray of shape (1,), text"


def test_what_an_author_says_of_an_odd_value_stays_short_and_without_addresses():
    def inner():
        yield

    told = refusal(expect, False, f"gave {inner()}, {object()} and {[1] * 500}", code="off").message
    assert told.startswith("gave generator object inner, object object and [1, 1")
    assert len(told) < 410


def test_a_message_of_a_million_signs_is_cut_before_it_is_tidied():
    started = time.process_time()
    assert len(refusal(expect, False, "x" * 1_000_000, code="off").message) < 500
    assert time.process_time() - started < 2
