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
from collections.abc import Iterable, Mapping
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
    prints = {grade.student: _prints(grade) for grade in grades if grade.fingerprints}
    owners: dict[int, list[str]] = defaultdict(list)
    for student in sorted(prints):
        for each in prints[student]:
            owners[each].append(student)
    n, most = len(prints), common_limit(len(prints))
    weights = {each: math.log(n / len(own)) for each, own in owners.items() if len(own) <= min(most, n - 1)}
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for each in weights:
        for pair in itertools.combinations(owners[each], 2):
            counts[pair] += 1
    totals = {student: _weight(own, weights) for student, own in prints.items()}
    pairs = []
    for (left, right), count in counts.items():
        if count >= FEWEST_SHARED:
            both = [each for each in prints[left].keys() & prints[right].keys() if each in weights]
            likeness = _weight(both, weights) / min(totals[left], totals[right])
            if likeness >= LEAST:
                tasks = Counter(prints[left][each] for each in both)
                named = tuple(sorted(tasks, key=lambda task: (-tasks[task], task)))
                pairs.append(Pair(left, right, min(likeness, 1.0), count, named))
    return sorted(pairs, key=lambda pair: (-pair.likeness, -pair.shared, pair.left, pair.right))[:limit]


def _prints(grade: Grade) -> dict[int, str]:
    """Return a submission's hashes, each with its task."""
    return {number: task for task, numbers in grade.fingerprints.items() for number in numbers}


def _weight(hashes: Iterable[int], weights: Mapping[int, float]) -> float:
    return math.fsum(weights[each] for each in hashes if each in weights)
