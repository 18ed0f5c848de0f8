"""How hard each task was, and whether it tells strong from weak students."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.gradebook.classbook import Classbook
from scalelab.grading.checks import Outcome

FEWEST = 10
"""students below which a correlation is not given"""
Z = 1.96
"""of a 95 % interval"""


@dataclass(frozen=True)
class Item:
    """One task over the class; intervals are at 95 %."""

    name: str
    n: int
    """students whose submission was tried on it"""
    facility: float
    """mean share of its points, from 0 to 1: low is hard"""
    facility_interval: tuple[float, float]
    discrimination: float | None
    """corrected item-total correlation, from -1 to 1; None where it does not exist"""
    discrimination_interval: tuple[float, float] | None
    outcomes: dict[str, int]


def analyse_items(book: Classbook) -> list[Item]:
    """Return each task's analysis over the graded submissions; a measurement that was too noisy is left out.

    Facility p is the mean share of points, with Wilson's interval (E. B. Wilson 1927, JASA 22).
    Discrimination is Pearson's r between the share of this task and the points of all others; for tasks that
    are right or wrong it is the point-biserial correlation. Leaving the task out of the total keeps it from
    correlating with itself (S. Henrysson 1963, Psychometrika 28). Its interval is Fisher's:
    tanh(artanh r ± 1.96 / sqrt(n - 3)).
    """
    entries = [entry for entry in book.entries if entry.status == "graded"]
    items = []
    for task in book.tasks:
        found = [(entry, check) for entry in entries if (check := entry.check(task.name))]
        sure = [(e, check) for e, check in found if check["outcome"] != Outcome.INCONCLUSIVE.value]
        shares = [check["points"] / check["max_points"] if check["max_points"] else 0.0 for _, check in sure]
        rest = [e.grade.points - check["points"] if e.grade else 0.0 for e, check in sure]
        outcomes = {each.value: 0 for each in Outcome}
        for _, check in found:
            outcomes[check["outcome"]] = outcomes.get(check["outcome"], 0) + 1
        mean = sum(shares) / len(shares) if shares else 0.0
        r = correlate(shares, rest)
        items.append(Item(
            task.name, len(sure), mean, _wilson(mean, len(sure)), r, _fisher(r, len(sure)), outcomes
        ))  # fmt: skip
    return items


def correlate(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Pearson's r; None for fewer than `FEWEST` pairs, or where one side is all the same."""
    if len(left) < FEWEST or min(left) == max(left) or min(right) == max(right):
        return None
    return float(np.clip(np.corrcoef(left, right)[0, 1], -1.0, 1.0))


def _wilson(share: float, n: int) -> tuple[float, float]:
    if n == 0:
        return 0.0, 1.0
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _fisher(r: float | None, n: int) -> tuple[float, float] | None:
    if r is None:
        return None
    if abs(r) == 1.0:
        return r, r
    half = Z / math.sqrt(n - 3)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
