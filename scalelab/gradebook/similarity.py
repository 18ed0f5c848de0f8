"""Submissions that look alike beyond what the whole class has in common: places to look, never a verdict.

What many students share says nothing: there are few short ways to write a softmax. So each hash weighs
log(n / students who have it), and one that more than `common_limit` students have is left out, as Moss does
it (its option -m). The likeness of two students is the weight of what both have over the weight of what the
one with less has: 1 if everything uncommon in one is in the other.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from scalelab.grading.grades import Grade

FEWEST_SHARED = 5
"""uncommon hashes in common below which a pair is not looked at"""
LEAST = 0.5
"""likeness below which a pair is not shown"""


@dataclass(frozen=True)
class Pair:
    """Two submissions with uncommon passages in common."""

    left: str
    right: str
    likeness: float
    """from 0 to 1"""
    shared: int
    """uncommon hashes that both have"""
    tasks: tuple[str, ...]
    """where, most first"""


def common_limit(n: int) -> int:
    """Return from how many students on a hash counts as common: a tenth of the class, from 3 to 15."""
    return min(max(n // 10, 3), 15)


def similar_pairs(grades: list[Grade], *, limit: int = 20) -> list[Pair]:
    """Return the most alike pairs, the most alike first; equal results give the equal order.

    The work is bounded for any class: a hash makes at most 15 * 14 / 2 pairs.
    """
    known = sorted((grade for grade in grades if grade.fingerprints), key=lambda grade: grade.student)
    owners: dict[int, list[int]] = defaultdict(list)
    for place, grade in enumerate(known):
        for each in {number for numbers in grade.fingerprints.values() for number in numbers}:
            owners[each].append(place)
    n, most = len(known), min(common_limit(len(known)), len(known) - 1)
    uncommon = {each: places for each, places in owners.items() if len(places) <= most}
    totals = [0.0] * n
    counts: Counter[tuple[int, int]] = Counter()
    for places in uncommon.values():
        for place in places:
            totals[place] += math.log(n / len(places))
        counts.update(itertools.combinations(places, 2))
    pairs = []
    for (left, right), count in counts.items():
        if count >= FEWEST_SHARED:
            both = _shared(known[left], known[right], uncommon)
            weight = math.fsum(math.log(n / len(uncommon[each])) for each in both)
            likeness = min(weight / min(totals[left], totals[right]), 1.0)
            if likeness >= LEAST:
                tasks = tuple(task for task, _ in Counter(sorted(both.values())).most_common())
                pairs.append(Pair(known[left].student, known[right].student, likeness, count, tasks))
    return sorted(pairs, key=lambda pair: (-round(pair.likeness, 9), -pair.shared, pair.left, pair.right))[
        :limit
    ]


def _shared(left: Grade, right: Grade, uncommon: Mapping[int, object]) -> dict[int, str]:
    """Return the uncommon hashes that both have, each with its task in the first."""
    others = {number for numbers in right.fingerprints.values() for number in numbers}
    own = ((number, task) for task, numbers in left.fingerprints.items() for number in numbers)
    return {number: task for number, task in own if number in others and number in uncommon}
