"""What lab 00 does beside the learner's code: races whose calls and clock the learner's test brings."""

from __future__ import annotations


def try_guard(answers, *, orders):
    """Let `is_fair` judge one race for each order, such as "ABBA".

    Report what it said, which races it ran, and the most pairs that it asked for.
    """
    said, ran, asked = [], [], [0]
    for place, order in enumerate(orders):
        said.append(answers["is_fair"](_race(order, place, ran, asked)))
    return {"said": said, "ran": sorted(set(ran)), "most_pairs": max(asked)}


def _race(order, place, ran, asked):
    """Return a race that calls its sides in an order, as far as the number of pairs allows."""

    def race(call_a, call_b, pairs, clock):
        ran.append(place)
        asked.append(pairs)
        seconds = {"A": [], "B": []}
        for side in order:
            if len(seconds[side]) < pairs:
                before_s = clock()
                {"A": call_a, "B": call_b}[side]()
                seconds[side].append(clock() - before_s)
        return seconds["A"], seconds["B"]

    return race
