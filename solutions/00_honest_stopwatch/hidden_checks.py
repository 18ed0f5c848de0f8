"""Hidden checks of lab 00: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

import itertools
import math
import statistics

from scalelab.grading import Answers, check, expect, expect_close, expect_length

HINTS = (
    "Try the smallest inputs that the docstring allows.",
    "One call, one trial, no warm-up.",
    "And ties.",
)


@check("stopwatch-corners", points=1, after="stopwatch", hints=HINTS)
def stopwatch_takes_no_more_than_it_is_asked(answers: Answers) -> None:
    """Time a single call without warm-up, and none at all."""
    now_s, calls = [0.0], []

    def call() -> None:
        calls.append(1)
        now_s[0] += 0.25

    found = answers["time_calls"](call, 1, 0, lambda: now_s[0])
    expect_close(found, [0.25], what="one call without warm-up", code="one-call")
    expect(
        len(calls) == 1,
        f"call ran {len(calls)} times, wanted once",
        code="warm-up-not-asked-for",
    )
    expect_length(
        answers["time_calls"](call, 0, 2, lambda: now_s[0]),
        0,
        what="the list for n=0",
        code="no-calls",
    )


@check("interval-every-n", points=1, after="interval", hints=HINTS)
def interval_for_every_n(answers: Answers) -> None:
    """Give the interval by counting for every n from 1 to 60, ties and all."""
    median_interval = answers["median_interval"]
    for n in range(1, 61):
        values = answers.rng.integers(1, 30, n).astype(float).tolist()
        tails = itertools.accumulate(math.comb(n, i) for i in range(n // 2))
        k, ordered = sum(40 * tail <= 2**n for tail in tails), sorted(values)
        wanted = [ordered[k - 1], ordered[n - k]] if k else [-math.inf, math.inf]
        found = median_interval(values)
        expect_close(
            found[0],
            statistics.median(values),
            what=f"the median of {n} values",
            code="median-for-n",
        )
        for end, got, want in zip(("low", "high"), found[1:], wanted, strict=True):
            expect_close(
                got,
                want,
                what=f"the {end} end of the interval of {n} values",
                code="interval-for-n",
            )


@check("false-alarms-corners", points=1, after="aa-test", hints=HINTS)
def one_trial(answers: Answers) -> None:
    """Count one single trial."""
    for said, wanted in (("A", 1), ("B", 1), ("INCONCLUSIVE", 0)):
        share = answers["false_alarm_share"](
            lambda a, b, said=said: said, lambda: ([1.0], [2.0]), 1
        )
        expect_close(
            share, wanted, what=f"the share of one trial that said {said!r}", code="one-trial"
        )


@check("verdict-smallest-n", points=1, after="verdict", hints=HINTS)
def six_pairs_are_enough(answers: Answers) -> None:
    """Find a winner in six clear pairs, and none in five."""
    for n, wanted in ((6, "A"), (5, "INCONCLUSIVE"), (1, "INCONCLUSIVE")):
        said = answers["winner"]([0.1] * n, [0.2] * n)
        expect(
            said == wanted,
            f"{n} clear pairs: said {said!r}, wanted {wanted!r}",
            code="smallest-n",
        )


@check("race-odd-pairs", points=1, after="fair-race", hints=HINTS)
def odd_number_of_pairs(answers: Answers) -> None:
    """Race an odd number of pairs; each side runs exactly that often."""
    now_s, calls = [0.0], []

    def runner(name: str, cost_s: float):
        def call() -> None:
            calls.append(name)
            now_s[0] += cost_s

        return call

    seconds_a, seconds_b = answers["race"](
        runner("A", 1.0), runner("B", 2.0), 5, lambda: now_s[0]
    )
    expect_close(seconds_a, [1.0] * 5, what="the times of A", code="odd-pairs")
    expect_close(seconds_b, [2.0] * 5, what="the times of B", code="odd-pairs")
    expect(calls.count("A") == calls.count("B") == 5, f"calls were {calls}", code="odd-calls")


@check("guard-mirror", points=1, after="guard", hints=HINTS)
def guard_sees_the_mirror_image(answers: Answers) -> None:
    """Refuse also a race in which B is always first."""
    seen = answers.inside("try_guard", orders=["BA" * 99])
    expect(
        not seen["said"][0],
        "is_fair said yes to a race in which B is always first",
        code="b-first",
    )
