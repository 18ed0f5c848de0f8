"""Checks of lab 00. No check reads a real clock: time is a number that a made-up machine counts."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from scalelab.grading import Answers, check, expect, expect_close, expect_length, expect_type

VERDICTS = ("A", "B", "INCONCLUSIVE")


class MadeUpMachine:
    """A clock that moves only when a call runs; call number i costs ``costs_s[i] * (1 + growth) ** i``."""

    def __init__(self, costs_s: Sequence[float], growth: float = 0.0):
        self.now_s, self.costs_s, self.growth = 5000.0, list(costs_s), growth
        self.calls: list[str] = []
        self.reads = 0

    def clock(self) -> float:
        self.reads += 1
        return self.now_s

    def call(self, name: str = "A", factor: float = 1.0) -> Callable[[], None]:
        def work() -> None:
            count = len(self.calls)
            cost_s = self.costs_s[min(count, len(self.costs_s) - 1)]
            self.now_s += cost_s * factor * (1 + self.growth) ** count
            self.calls.append(name)

        return work


@check(
    "stopwatch", points=3,
    hints=(
        "The first calls pay for what later calls find ready. Who should not be in your list?",
        "Two loops: one calls and looks at no clock, the other reads the clock before and after each call.",
        "The first loop only calls. In the second, what a call took is the clock after it less the clock "
        "before it, and each such difference goes into the list.",
    ),
)  # fmt: skip
def time_single_calls(answers: Answers) -> None:
    """Time n single calls, after warm-up calls that nobody looks at."""
    n, warmup = int(answers.rng.integers(5, 12)), int(answers.rng.integers(2, 5))
    warm_s = answers.rng.uniform(0.8, 1.2, n) / 1024
    machine = MadeUpMachine([*([0.5] * warmup), *warm_s])
    seconds = answers["time_calls"](machine.call(), n, warmup, machine.clock)
    expect_type(
        seconds, (list, tuple, np.ndarray), what="what time_calls returned", code="not-a-list",
        meaning="wanted: one value for each timed call")  # fmt: skip
    expect(
        machine.reads > 0, "your function did not read the clock that it was given", code="own-clock",
        meaning="with a clock that is an argument, a test brings its own time and need not wait")  # fmt: skip
    values = [float(value) for value in seconds]
    expect(
        not values or not all(5000 <= value <= machine.now_s for value in values),
        f"your values begin with {values[:1]}: so many seconds the clock showed", code="clock-readings",
        meaning="a clock counts from anywhere; a call took the reading after it less the one before it",
    )  # fmt: skip
    smallest_s, largest_s = min(values, default=0.0), max(values, default=0.0)
    for unit, per_second in (("milli", 1e3), ("micro", 1e6), ("nano", 1e9)):
        expect(
            not 0.7 < 1024 * smallest_s / per_second < 1.3,
            f"your smallest value is {smallest_s:.3g}; the call took {smallest_s / per_second:.3g} s",
            code="wrong-unit", meaning=f"these are {unit}seconds; the docstring asks for seconds [s]",
        )  # fmt: skip
    expect(
        largest_s < 0.4,
        f"your largest value is {largest_s:.3g} s; a warm call takes about 0.001 s on this made-up machine",
        code="cold-calls-counted",
        meaning="the calls that fill caches and load libraries are among your values")  # fmt: skip
    expect_length(
        seconds, n, what=f"the list for n={n}, warmup={warmup}", code="warm-up-takes-from-n",
        meaning="the warm-up calls come on top of the n measured ones")  # fmt: skip
    expect(
        len(machine.calls) == n + warmup, f"call ran {len(machine.calls)} times, wanted {warmup} + {n}",
        code="wrong-number-of-calls", meaning="every call is either a warm-up or a value, never both",
    )  # fmt: skip
    expect(
        not np.allclose(seconds, np.cumsum(warm_s)),
        f"the second value is {seconds[1]:.4g} s, the second call took {warm_s[1]:.4g} s",
        code="running-total",
        meaning="each value holds all calls before it: read the clock anew before every call")  # fmt: skip
    expect(
        not np.allclose(seconds, np.mean(warm_s)), f"all values are {seconds[0]:.4g} s, yet calls differ",
        code="average-of-all", meaning="a total divided by n hides how much calls differ: what we are after",
    )  # fmt: skip
    expect_close(
        seconds, warm_s, what="seconds", code="wrong-seconds", rtol=1e-6,
        meaning="a value should be the clock after its call minus the clock before it")  # fmt: skip


@check(
    "interval", points=4,
    hints=(
        "How many of the values may lie on one side of the true median before you are surprised?",
        "A value falls below the true median as a coin falls on heads: fewer than k of n on one of the sides "
        "has the probability 2 * (C(n,0) + ... + C(n,k-1)) / 2**n.",
        "Raise k while that sum stays within 0.05. Then low = ordered[k - 1] and high = ordered[n - k]; with "
        "k = 0 they are -inf and inf.",
    ),
)  # fmt: skip
def interval_by_counting(answers: Answers) -> None:
    """Give the median and its 95 % interval, by counting; and no interval where there is none."""
    median_interval = answers["median_interval"]
    for n in (6, 2 * int(answers.rng.integers(20, 45)), 2 * int(answers.rng.integers(5, 10))):
        values = (answers.rng.lognormal(-6, 0.5, n) + np.where(np.arange(n) % 7 == 3, 0.05, 0)).tolist()
        given = answers.shared(list(values))
        found = _three(median_interval(given))
        expect(
            given == values, "after the call the list that was passed in has another order",
            code="sorts-callers-list",
            meaning="values.sort() changes the list of whoever called, and pairs lose their partners",
        )  # fmt: skip
        _check_interval(found, values)
    for n in (3, 5):
        _, low, high = _three(median_interval(answers.rng.lognormal(-6, 0.5, n).tolist()))
        expect(
            low == -math.inf and high == math.inf,
            f"{n} values gave the interval [{low:.3g}, {high:.3g}], wanted [-inf, inf]",
            code="interval-from-five",
            meaning=f"even the whole range of {n} values misses the true median in {2 / 2**n:.0%} of cases",
        )  # fmt: skip


def _three(found: object) -> tuple[float, float, float]:
    told = {"what": "what median_interval returned", "meaning": "wanted: median, low, high"}
    expect_type(found, (list, tuple, np.ndarray), **told, code="not-three-numbers")
    expect_length(found, 3, **told, code="not-three-numbers")
    return tuple(found)  # type: ignore[arg-type, return-value]


def _check_interval(found: Sequence[float], values: Sequence[float]) -> None:
    n, ordered, k = len(values), sorted(values), rank(len(values))
    median, mean = statistics.median(values), statistics.fmean(values)
    expect(
        not math.isclose(found[0], mean), f"the middle is {found[0]:.4g}, the median is {median:.4g}",
        code="mean-not-median", meaning="that is the mean: one interrupted call drags it along")  # fmt: skip
    expect_close(
        found[0], median, what=f"the median of {n} values", code="wrong-median", rtol=1e-9,
        meaning="half of the values lie below it: put them in order; an even n has two in the middle",
    )  # fmt: skip
    wanted = ordered[k - 1], ordered[n - k]
    for code, low, high, meaning in _mistaken(values):
        expect(
            np.allclose(found[1:], wanted, rtol=1e-9) or not np.allclose(found[1:], (low, high), rtol=1e-3),
            f"the interval of {n} values is [{found[1]:.4g}, {found[2]:.4g}], "
            f"wanted [{wanted[0]:.4g}, {wanted[1]:.4g}]", code=code, meaning=meaning)  # fmt: skip
    for end, got, want in zip(("low", "high"), found[1:], wanted, strict=True):
        expect_close(
            got, want, what=f"the {end} end of the interval of {n} values (k = {k})", code="wrong-interval",
            meaning="k is the largest number for which 'fewer than k on one of the sides' has at most 5 %",
            rtol=1e-9)  # fmt: skip


def _mistaken(values: Sequence[float]) -> list[tuple[str, float, float, str]]:
    """Return intervals that are often given instead: code, low, high, meaning."""
    n, ordered, k = len(values), sorted(values), rank(len(values))
    mean, half = statistics.fmean(values), 1.96 * statistics.stdev(values) / math.sqrt(n)
    one = rank(n, tails=1)  # as k for n = 6, where a wrong index shows alone
    return [
        ("normal-interval", mean - half, mean + half,
         "a standard error supposes a bell curve, and interrupted calls are none"),
        ("spread-of-values", *map(float, np.percentile(values, [2.5, 97.5])),
         "95 % of the values lie there; the median is known better than that, and ever better as n grows"),
        ("quartiles", *map(float, np.percentile(values, [25, 75])),
         "half of the values lie there; the interval of the median shrinks as n grows"),
        ("whole-range", ordered[0], ordered[-1],
         "the whole range grows with n, the interval of the median shrinks"),
        *[("one-tail-only", ordered[one - 1], ordered[n - one],
           "this k comes from one side of the median; P_k counts both, hence its factor 2")] * (one != k),
        ("one-rank-off", ordered[k], ordered[n - k - 1],
         "one value too narrow: Python counts from 0, so the k-th smallest is ordered[k - 1]"),
    ]  # fmt: skip


def rank(n: int, tails: int = 2) -> int:
    """Return the largest k with ``tails * P(Binomial(n, 1/2) < k) <= 0.05``; 0 if there is none."""
    sums = itertools.accumulate(math.comb(n, i) for i in range(n // 2))
    return sum(20 * tails * below <= 2**n for below in sums)


@check(
    "aa-test", points=3,
    hints=(
        "Each trial is a measurement of its own: measure, decide, count.",
        "A winner is a winner, whether it is called 'A' or 'B'. Then make a share of the count.",
        "In each trial: a, b = measure_pair(); count it if decide(a, b) != 'INCONCLUSIVE'. Divide by trials.",
    ),
)  # fmt: skip
def count_false_alarms(answers: Answers) -> None:
    """Say in what share of A/A tests a rule announces a winner."""
    counts = [int(answers.rng.integers(*limits)) for limits in ((8, 12), (3, 7), (20, 40))]
    says = answers.rng.permutation(np.repeat(VERDICTS, counts)).tolist()
    trials = len(says)
    measured, asked = [], []

    def measure_pair() -> tuple[list[float], list[float]]:
        measured.append(len(measured))
        return [2.0 * len(measured)], [2.0 * len(measured) + 1]

    def decide(seconds_a: list[float], seconds_b: list[float]) -> str:
        asked.append((seconds_a[0], seconds_b[0]))
        return says[int(seconds_a[0] // 2) % trials]

    share = answers["false_alarm_share"](decide, measure_pair, trials)
    code, meaning = {
        1: ("measured-once", "one measurement asked about many times is still one measurement"),
        100: ("trials-ignored", "100 is only what `trials` is when nobody says otherwise: use the argument"),
    }.get(len(measured), ("other-trials", "one call of measure_pair gives both lists of one trial"))
    told = f"measure_pair ran {len(measured)} times for {trials} trials"
    expect(len(measured) == trials, told, code=code, meaning=meaning)
    expect(
        all(a != b for a, b in asked), "decide was given the same list twice", code="one-list-twice",
        meaning="an A/A test measures one function twice; one measurement never differs from itself",
    )  # fmt: skip
    alarms = sum(said != "INCONCLUSIVE" for said in says)
    likely = {
        "count-not-share": (alarms, "a count depends on how often you tried: divide by the trials"),
        "percent-not-share": (100 * alarms / trials, "a share lies between 0 and 1; these are per cent"),
        "one-winner-only": (says.count("A") / trials, "calling B the winner of A against A is as false"),
        "counts-the-honest": (1 - alarms / trials, "INCONCLUSIVE is right here, it is no false alarm"),
    }
    what = f"the share of {alarms} winners in {trials} trials"
    for code, (value, meaning) in likely.items():
        is_it = isinstance(share, int | float | np.number) and math.isclose(share, value)
        expect(not is_it, f"{what} is {share}, wanted {alarms / trials:.4g}", code=code, meaning=meaning)
    meaning = "each trial counts once, with or without a winner"
    expect_close(share, alarms / trials, what=what, code="wrong-share", meaning=meaning)


@check(
    "verdict", points=3,
    hints=(
        "Value i of A and value i of B were taken a moment apart. Compare these two with each other first.",
        "Take the ratios b / a, one a pair, and the interval of their median. Where is 'no difference'?",
        "_, low, high = median_interval(ratios): 'A' if low > 1, 'B' if high < 1, else 'INCONCLUSIVE'.",
    ),
)  # fmt: skip
def winner_by_interval(answers: Answers) -> None:
    """Announce a winner only if the interval of the paired ratio leaves 1 out."""
    rng, winner = answers.rng, answers["winner"]
    moods = np.exp(rng.permutation(np.linspace(0, 2, 21))) / 1000  # what others do to the machine, by moment
    slower = moods * 1.2 * rng.uniform(0.98, 1.02, 21)

    said = _said(winner(moods.tolist(), slower.tolist()))
    expect(
        said != "B", "A took less time in each of 21 pairs, and 'B' was announced", code="upside-down",
        meaning="the winner is the one that takes less time")  # fmt: skip
    signs = rng.permutation([1.08] * 11 + [1 / 1.06] * 10)  # median 1.08, and 1 is inside the interval
    even = _said(winner(moods.tolist(), (moods * signs).tolist()))
    expect(
        even == "INCONCLUSIVE", f"A won 11 pairs and B won 10: said {even!r}, wanted 'INCONCLUSIVE'",
        code="middle-only", meaning="two measurements always differ; ask whether the whole interval does",
    )  # fmt: skip
    expect(
        said == "A", f"A took 20 % less than B in each of 21 pairs: said {said!r}, wanted 'A'",
        code="unpaired", meaning="what slows both sides of a pair drops out of their ratio, and only there",
    )  # fmt: skip
    said = _said(winner(slower.tolist(), moods.tolist()))
    expect(
        said == "B", f"B took less time in each of 21 pairs: said {said!r}, wanted 'B'", code="never-b",
        meaning="a rule that can only find what you hope for is no rule")  # fmt: skip
    shifted = dict(zip(sorted(moods), np.roll(np.sort(moods), -1), strict=True))  # the next in size
    said = _said(winner(moods.tolist(), [float(shifted[mood]) for mood in moods]))
    expect(
        said == "A", f"A was 10 % faster in 20 of 21 pairs: said {said!r}, wanted 'A'", code="pairs-broken",
        meaning="sorting a side puts moments together that never met; value i belongs to value i",
    )  # fmt: skip
    signs = rng.permutation([1.0] * 6 + [1.2] * 15)  # the sixth of 21 is the low end: exactly 1
    for sides in ((moods, moods * signs), (moods * signs, moods)):
        said = _said(winner(*(side.tolist() for side in sides)))
        expect(
            said == "INCONCLUSIVE", f"the interval ends exactly at 1: said {said!r}, wanted 'INCONCLUSIVE'",
            code="one-at-the-end", meaning="an end belongs to its interval, so 1 is not left out: < and >",
        )  # fmt: skip
    said = _said(winner([0.0100, 0.0101, 0.0102], [0.0200, 0.0202, 0.0204]))
    expect(
        said == "INCONCLUSIVE",
        f"three pairs, B twice as slow in each: said {said!r}, wanted 'INCONCLUSIVE'",
        code="winner-from-three",
        meaning="of two equal functions one wins all three pairs in 1 of 4 tests: that is luck, not evidence",
    )  # fmt: skip


def _said(verdict: object) -> str:
    expect_type(verdict, str, what="what winner returned")
    known = f"winner returned {verdict!r}, wanted 'A', 'B' or 'INCONCLUSIVE'"
    expect(verdict in VERDICTS, known, code="unknown-verdict", meaning="the three words are all there is")
    return str(verdict)


@check(
    "fair-race", points=4,
    hints=(
        "On a machine that slows down, whoever runs later loses. Who runs later?",
        "Run A and B in turn, pair by pair; and think about who is second in every pair.",
        "In pair 0 time A, then B; in pair 1 time B, then A; and so on. Each time goes into its own list.",
    ),
)  # fmt: skip
def race_in_turn(answers: Answers) -> None:
    """Mend `race`, so that a machine that slows down favours neither side."""
    race = answers["race"]
    pairs, growth = 2 * int(answers.rng.integers(5, 10)), float(answers.rng.uniform(0.01, 0.03))
    machine = MadeUpMachine([0.001], growth)
    found = race(machine.call("A"), machine.call("B"), pairs, machine.clock)
    expect_type(found, (tuple, list), what="what race returned", code="not-two-lists")
    expect_length(
        found, 2, what="what race returned", code="not-two-lists",
        meaning="wanted: the times of A, the times of B")  # fmt: skip
    expect(
        machine.reads > 0, "your race did not read the clock that it was given", code="clock-not-passed-on",
        meaning="time_calls takes time.perf_counter unless it is told another clock: clock=clock",
    )  # fmt: skip
    for name, seconds in zip("AB", found, strict=True):
        expect_length(
            seconds, pairs, what=f"the list of {name} for {pairs} pairs", code="pairs-missing",
            meaning="every pair gives one value to each side")  # fmt: skip
    expect(
        len(machine.calls) <= 2 * pairs, f"{pairs} pairs made {len(machine.calls)} calls, wanted {2 * pairs}",
        code="hidden-warm-up",
        meaning="every call is timed here: time_calls makes 5 warm-up calls unless it is told warmup=0",
    )  # fmt: skip
    order = "".join(machine.calls)
    couples = [order[i : i + 2] for i in range(0, len(order), 2)]
    shown = " ".join(couples[:6]) + " ..."
    expect(
        all(sorted(couple) == ["A", "B"] for couple in couples), f"the calls ran in the order {shown}",
        code="one-after-the-other",
        meaning="the two of a pair must be neighbours in time, or they meet different machines")  # fmt: skip
    firsts = couples.count("AB")
    expect(
        firsts == pairs / 2, f"A was first in {firsts} of {pairs} pairs: {shown}", code="same-first",
        meaning="whoever is second pays for the drift within the pair: let them take turns")  # fmt: skip
    machine = MadeUpMachine([0.001], growth)
    seconds_a, seconds_b = race(machine.call("A"), machine.call("B", 1.5), pairs, machine.clock)
    ratios = [b / a for a, b in zip(seconds_a, seconds_b, strict=True)]
    expect(
        not any(math.isclose(ratio, 1 / 1.5, rel_tol=0.05) for ratio in ratios),
        f"B takes 1.5 times as long, but some pairs have B/A = {min(ratios):.2f}",
        code="lists-swapped", meaning="when B goes first, its time still belongs to B's list")  # fmt: skip
    ratio = statistics.median(b / a for a, b in zip(*found, strict=True))
    expect_close(
        ratio, 1.0, what=f"B/A of one function on a machine that slows by {growth:.1%} a call",
        code="no-draw", rtol=0.5 * growth,
        meaning="if each value holds one call of one side, drift lengthens as many ratios as it shortens",
    )  # fmt: skip
    expect_close(
        statistics.median(ratios), 1.5, what="B/A where B takes 1.5 times as long", code="difference-lost",
        rtol=0.02, meaning="a value must hold the time of its own side only")  # fmt: skip


@check(
    "guard", points=3,
    hints=(
        "What should any race say about a function that runs against itself?",
        "Let a HeatingMachine do both sides, in an even number of pairs, and look at the median of b / a.",
        "machine = HeatingMachine(0.02); race(machine.work, machine.work, 20, machine.clock); fair if the "
        "median ratio is within 0.5 % of 1.",
    ),
)  # fmt: skip
def guard_that_catches(answers: Answers) -> None:
    """Write the test that would have caught the broken race."""
    orders = ["A" * 99 + "B" * 99, "ABBA" * 99, "AB" * 99, "B" * 99 + "A" * 99]
    places = answers.rng.permutation(4).tolist()  # no answer can rest on which race comes when
    seen = answers.inside("try_guard", orders=[orders[place] for place in places])
    blocks, in_turns, same_first, mirrored = said = [seen["said"][places.index(at)] for at in range(4)]
    for verdict in said:
        expect_type(
            verdict, (bool, np.bool_), what="what is_fair returned", code="no-yes-or-no",
            meaning="a test ends in yes or no: compare the ratio with 1")  # fmt: skip
    expect(
        len(seen["ran"]) == 4, "is_fair did not run the race that it was given", code="race-not-run",
        meaning="a test that does not run what it tests says nothing about it")  # fmt: skip
    expect(
        in_turns, "is_fair said no to a fair race", code="blames-the-fair",
        meaning="give both sides the same work, and leave room for rounding")  # fmt: skip
    expect(
        not blocks or seen["most_pairs"] > 5, f"is_fair lets the race run {seen['most_pairs']} pairs, and "
        "said yes to the broken one: all of A, then all of B", code="too-few-pairs",
        meaning="so few show little drift, and `winner` finds nothing in fewer than 6; take 20")  # fmt: skip
    expect(
        not blocks, "is_fair said yes to the broken race: all of A, then all of B", code="misses-blocks",
        meaning="on a machine that keeps its speed the order does not matter, and the fault stays hidden",
    )  # fmt: skip
    expect(
        not same_first, "is_fair said yes to a race in which A is always first", code="misses-same-first",
        meaning="its ratio is off by the drift of one call: be stricter, or let the machine heat faster",
    )  # fmt: skip
    expect(
        not mirrored, "is_fair said yes to a race of all of B, then all of A", code="one-direction",
        meaning="a race that favours B is as unfair: the ratio must not lie far below 1 either")  # fmt: skip
