"""A speed-up, judged by the check's own clock: paired runs against a reference on fresh inputs.

The reference is the check's, so a learner cannot slow it down; each call has inputs of its own, so nothing
can be remembered; each timed answer is compared, so speed without the work is no speed. Code that keeps the
machine busy between its calls makes the reference wait, but not work: to pass, an answer must be fast beside
the reference's CPU seconds too. In the grader a call crosses a pipe, whose time counts against the learner:
draw inputs that keep the reference busy for a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from scalelab.core.errors import LabFileError
from scalelab.core.stats import Clock, Verdict, judge, paired_ratio
from scalelab.core.units import format_seconds
from scalelab.grading.expectations import expect, expect_close, inconclusive

PAIRS = 6
"""before a verdict; twice and three times as many where it is inconclusive"""
CLEAR = 2
"""half of the pairs will do where the bound is missed or met by this factor"""
SMALLEST_BUDGET_S = 1e-3
"""what a learner's call may take, at least: crossing the grader's pipe takes some tenths of it"""


def expect_faster(
    call: Callable[..., Any],
    reference: Callable[..., Any],
    draw: Callable[[], tuple[Any, ...]],
    *,
    at_least: float,
    what: str,
    code: str,
    wrong_code: str,
    meaning: str = "",
    rtol: float = 1e-5,
    atol: float = 0.0,
    pairs: int = PAIRS,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> None:
    """Fail unless ``call(*inputs)`` is right and `at_least` so many times as fast as ``reference(*inputs)``.

    Order A B, B A, A B ...: what slows the machine for a moment slows both sides of a pair. It passes by the
    fastest run of each side; it fails by the 95 % interval of the paired ratio's median, if that agrees.

    Args:
        call: the learner's function.
        reference: the right values, slowly; its time is the measure. It computes, it does not sleep.
        draw: fresh inputs, anew for each pair.
        what: names the learner's function in the sentence.
        code: feedback code if it is too slow; `wrong_code` if its values differ.

    Raises:
        LabFileError: the reference is too fast for a call to be timed.
    """
    inputs = draw()  # the first calls warm both sides up
    expect_close(call(*inputs), reference(*inputs), what=what, code=wrong_code, rtol=rtol, atol=atol)
    reference_s: list[float] = []
    reference_cpu_s: list[float] = []
    call_s: list[float] = []
    for pair in range(3 * pairs):
        inputs = draw()
        if pair % 2:
            got, got_s = _timed(call, inputs, clock)
        cpu_s = cpu_clock()
        wanted, wanted_s = _timed(reference, inputs, clock)
        reference_cpu_s.append(min(cpu_clock() - cpu_s, wanted_s))
        if not pair % 2:
            got, got_s = _timed(call, inputs, clock)
        expect_close(got, wanted, what=what, code=wrong_code, rtol=rtol, atol=atol)
        reference_s.append(wanted_s)
        call_s.append(got_s)
        is_early = len(call_s) == max(1, pairs // 2)
        if is_early or len(call_s) % pairs == 0:
            verdict = _verdict(reference_s, reference_cpu_s, call_s, at_least, CLEAR if is_early else 1)
            if verdict is not Verdict.INCONCLUSIVE:
                break
    if min(reference_s) / at_least < SMALLEST_BUDGET_S:
        raise LabFileError(
            f"{what}: the reference takes {format_seconds(min(reference_s))}, too short to time",
            hint=f"draw larger inputs: it should take {format_seconds(2 * at_least * SMALLEST_BUDGET_S)}",
        )
    if verdict is Verdict.INCONCLUSIVE:
        ratio = paired_ratio(reference_s, call_s).ratio
        inconclusive(
            f"{what} is {ratio} times as fast as the reference, wanted {at_least:g}: too noisy to tell"
        )
    told = _in_words(
        what, min(reference_cpu_s) / max(min(call_s), 1e-9), at_least
    )  # the steadiest of all ratios
    expect(verdict is Verdict.PASS, told, code=code, meaning=meaning)


def _verdict(
    reference_s: Sequence[float],
    cpu_s: Sequence[float],
    call_s: Sequence[float],
    at_least: float,
    margin: float,
) -> Verdict:
    """Judge by the fastest run of each side, and fail only what is slow pair by pair too.

    A call is never faster than its work, and waiting is no work of the reference: whatever disturbs them,
    the ratio of the fastest is not above the truth. It is below, where every call had to wait for a core.
    """
    fastest = min(cpu_s) / max(min(call_s), 1e-9)
    if fastest >= margin * at_least:
        return Verdict.PASS
    is_slow = _judged(reference_s, call_s, at_least / margin) is Verdict.FAIL
    return Verdict.FAIL if is_slow and fastest < at_least / margin else Verdict.INCONCLUSIVE


def expect_ratio(
    reference_s: Sequence[float],
    found_s: Sequence[float],
    *,
    at_least: float,
    what: str,
    code: str,
    meaning: str = "",
) -> None:
    """Fail unless the reference took `at_least` so many times as long, pair by pair.

    Args:
        reference_s, found_s: seconds of both sides of each pair, taken in turn: by `answers.apart`, say.
        what: names what was measured in the sentence.
    """
    is_pairs = 0 < len(reference_s) == len(found_s)
    if not is_pairs or not all(0 < each < math.inf for each in (*reference_s, *found_s)):
        inconclusive(f"there are no times of {what} to judge by")
    verdict, ratio = _judged(reference_s, found_s, at_least), paired_ratio(reference_s, found_s).ratio
    if verdict is Verdict.INCONCLUSIVE:
        inconclusive(
            f"{what} is {ratio} times as fast as the reference, wanted {at_least:g}: too noisy to tell"
        )
    told = _in_words(what, ratio.median, at_least)
    expect(verdict is Verdict.PASS, told, code=code, meaning=meaning)


def _in_words(what: str, ratio: float, at_least: float) -> str:
    times = f"about {ratio:.0f} times as fast as" if ratio >= 0.75 else "slower than"
    return f"{what} is {times} the reference, wanted at least {at_least:g} times"


def _judged(reference_s: Sequence[float], found_s: Sequence[float], at_least: float) -> Verdict:
    return judge(paired_ratio(reference_s, found_s).ratio, at_least=at_least)


def _timed(call: Callable[..., Any], inputs: tuple[Any, ...], clock: Clock) -> tuple[Any, float]:
    started = clock()
    value = call(*inputs)
    return value, clock() - started
