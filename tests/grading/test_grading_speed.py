"""A speed-up is judged by a clock that the learner's code does not own; here it is a number we turn."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest

from scalelab.core.errors import LabFileError
from scalelab.grading import expect_faster, expect_ratio
from scalelab.grading.expectations import ExpectationFailed, Inconclusive


class Time:
    """A clock that moves only when work is done."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def taking(self, *seconds: float):
        """Return a function that doubles its input in the next of `seconds`."""
        turns = itertools.cycle(seconds)

        def double(x):
            self.now_s += next(turns)
            return 2 * x

        return double


def compare(clock, call, reference, **options):
    rng = np.random.default_rng(0)
    expect_faster(
        call, reference, lambda: (rng.normal(size=3),),
        **{"at_least": 4, "what": "double", "code": "slow", "wrong_code": "wrong", "pairs": 8,
           "cpu_clock": clock, **options},
        clock=clock,
    )  # fmt: skip


def test_a_call_that_is_fast_enough_passes():
    clock = Time()
    compare(clock, clock.taking(0.02), clock.taking(0.1))


def test_a_call_that_is_too_slow_fails_and_says_how_fast_it_is():
    clock = Time()
    with pytest.raises(
        ExpectationFailed, match="about 2 times as fast as the reference, wanted at least 4"
    ) as error:
        compare(clock, clock.taking(0.05), clock.taking(0.1))
    assert error.value.code == "slow"


def test_a_slow_machine_slows_both_sides_of_a_pair():
    clock = Time()
    drift = [1, 1, 1, 9, 9, 30, 30, 2, 2]  # one factor for both calls of a pair, the warm-up first
    compare(clock, clock.taking(*(0.02 * f for f in drift)), clock.taking(*(0.1 * f for f in drift)))


def test_times_on_both_sides_of_the_bound_are_inconclusive():
    clock = Time()
    with pytest.raises(Inconclusive, match="too noisy"):
        compare(clock, clock.taking(0.025), clock.taking(0.11, 0.09, 0.12, 0.08))


def test_each_call_gets_inputs_of_its_own_and_the_reference_the_same():
    clock, seen, wanted = Time(), [], []
    double, slow = clock.taking(0.02), clock.taking(0.1)
    compare(clock, lambda x: seen.append(tuple(x)) or double(x), lambda x: wanted.append(tuple(x)) or slow(x))
    assert seen == wanted
    assert len(set(seen)) == len(seen) > 8


def test_one_wrong_value_among_many_is_wrong_however_fast():
    clock = Time()
    right = itertools.chain([True] * 3, itertools.repeat(False))
    with pytest.raises(ExpectationFailed) as error:
        compare(clock, lambda x: 2 * x if next(right) else 0 * x, clock.taking(0.1))
    assert error.value.code == "wrong"


@pytest.mark.parametrize("seconds", [0.001, 0.1])
def test_half_of_the_pairs_will_do_where_all_are_far_from_the_bound(seconds):
    clock, calls = Time(), []
    taking = clock.taking(seconds)
    with contextlib.suppress(ExpectationFailed):
        compare(clock, lambda x: calls.append(1) or taking(x), clock.taking(0.1))
    assert len(calls) == 1 + 4, "one to warm up, four of eight pairs"


def test_a_reference_that_was_kept_waiting_proves_no_speed():
    """Processes of the learner's that run between its calls take the machine from the reference alone."""
    clock = Time()
    with pytest.raises(Inconclusive, match="too noisy"):
        compare(clock, clock.taking(0.1), clock.taking(1.0), cpu_clock=lambda: clock.now_s / 10)


def test_one_call_that_got_a_core_at_once_shows_how_fast_it_is():
    clock = Time()
    compare(clock, clock.taking(0.09, 0.08, 0.001, 0.07), clock.taking(0.1))


def test_a_busy_machine_takes_no_clear_pass_away():
    clock = Time()
    compare(clock, clock.taking(0.02), clock.taking(1.0), cpu_clock=lambda: clock.now_s / 3)


def test_a_reference_too_fast_to_be_timed_is_the_authors_mistake():
    clock = Time()
    with pytest.raises(LabFileError, match="too short to time"):
        compare(clock, clock.taking(0.0001), clock.taking(0.001))


def test_times_that_were_taken_elsewhere_are_judged_alike():
    expect_ratio([4.4, 4.2, 4.4, 4.3, 4.2, 4.5], [1.0] * 6, at_least=4, what="the model", code="slow")
    with pytest.raises(ExpectationFailed, match="the model is slower than the reference"):
        expect_ratio([0.5] * 6, [1.0] * 6, at_least=4, what="the model", code="slow")
    with pytest.raises(Inconclusive):
        expect_ratio([3, 5, 3, 5, 3, 5], [1.0] * 6, at_least=4, what="the model", code="slow")


@pytest.mark.parametrize(
    ("a_s", "b_s"), [([], []), ([1.0], [1.0, 2.0]), ([1.0] * 6, [0.0] * 6), ([-1.0] * 6, [1.0] * 6)]
)
def test_times_that_are_none_are_no_verdict(a_s, b_s):
    with pytest.raises(Inconclusive, match="no times"):
        expect_ratio(a_s, b_s, at_least=4, what="the model", code="slow")


def test_who_comes_first_changes_from_pair_to_pair():
    clock, order = Time(), []
    fast, slow = clock.taking(0.02), clock.taking(0.1)
    compare(clock, lambda x: order.append("call") or fast(x), lambda x: order.append("reference") or slow(x))
    pairs = list(zip(order[2::2], order[3::2], strict=True))
    assert pairs[0::2] == [("reference", "call")] * 4
    assert pairs[1::2] == [("call", "reference")] * 4
