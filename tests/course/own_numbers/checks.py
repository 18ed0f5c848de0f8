"""Checks of a lab in which every student has numbers, data and a planted fault of their own."""

from __future__ import annotations

import numpy as np

from scalelab.grading import Answers, check, expect, expect_close

HINTS = ("Look at your own data.", "Count, do not guess.", "It is one line of numpy.")
FAULTS = ("lost", "doubled", "swapped")


def waits_ms(variant) -> np.ndarray:
    """Return 500 waiting times (500,) float64 [ms]."""
    return variant.rng("waits").exponential(variant.integer("mean", 20, 80), 500)


def log(variant) -> list[int]:
    """Return the numbers of 1,000 requests in the order of their replies, with one fault in it."""
    first, place = variant.integer("first", 0, 10**9), variant.integer("place", 1, 998)
    numbers = list(range(first, first + 1000))
    fault = variant.choice("fault", FAULTS)
    if fault == "lost":
        del numbers[place]
    elif fault == "doubled":
        numbers.insert(place, numbers[place])
    else:
        numbers[place], numbers[place + 1] = numbers[place + 1], numbers[place]
    return numbers


@check("late-share", points=2, hints=HINTS)
def share_over_the_deadline(answers: Answers) -> None:
    """Give the mean of the waits that are over your deadline."""
    waits, deadline_ms = waits_ms(answers.variant), answers.variant.integer("deadline", 15, 60)
    wanted = waits[waits > deadline_ms].mean()
    expect_close(answers["mean_late_ms"], wanted, what="the mean of the late waits", code="other-mean")


@check("fault", points=2, hints=HINTS)
def fault_of_the_log(answers: Answers) -> None:
    """Name the fault of your log and the number of the request that it hit."""
    kind, number = answers["fault"]
    expect(kind == answers.variant.choice("fault", FAULTS), f"it is not {kind!r}", code="other-fault")
    wanted = answers.variant.integer("first", 0, 10**9) + answers.variant.integer("place", 1, 998)
    expect(number == wanted, f"{number} is in order", code="other-place")


@check("padded", points=2, hints=HINTS)
def padded_to_the_block(answers: Answers) -> None:
    """Round a number of bytes up to whole blocks of your size."""
    block = answers.variant.integer("block", 100, 100_000)
    for count in (1, block, block + 1, int(answers.rng.integers(10**9))):
        told = {"what": f"padded({count})", "code": "other-block", "rtol": 0}
        expect_close(answers["padded"](count), -(-count // block) * block, **told)
