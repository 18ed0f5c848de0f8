"""One metric of one point, before and after: the paired ratio, on what basis it stands, and what it says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from scalelab.bench.quantities import Better, Quantity, quantity
from scalelab.core.ratios import ENOUGH_PAIRS, LogMean, estimate_ratio, log_mean
from scalelab.core.records import Metric, RunRecord
from scalelab.core.stats import Estimate, estimate_median

Pair = tuple[RunRecord, RunRecord]
"""the same round of A and of B"""
Basis = Literal["raw", "reference", "none"]

ELSEWHERE = "not comparable between machines"
RUN_AGAIN = f"{ELSEWHERE}: no times of the same reference workload; run it again with this version"


class Change(str, Enum):
    """What became of a metric from A (before) to B (after)."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Row:
    """One metric of one point in A and in B."""

    subject: str
    metric: str
    unit: str
    better: Better
    pairs: int
    """rounds of A that have a partner in B"""
    a: Estimate
    b: Estimate
    ratio: Estimate
    """b / a, with its 95 % interval (from six pairs on); NaN where there is no ratio"""
    basis: Basis
    """``raw`` values, multiples of the ``reference`` workload's time, or ``none``: there is no ratio"""
    change: Change
    why: str = ""
    """why it is inconclusive"""
    logs: LogMean | None = None
    """what tests of the ratio need; None without a ratio or with fewer than six pairs"""

    @property
    def quantity(self) -> Quantity:
        """What the metric means."""
        return quantity(self.metric, self.unit)


def compare_metric(
    subject: str, name: str, pairs: Sequence[Pair], *, is_same_machine: bool, margin: float, seed: int
) -> Row | None:
    """Compare the metric `name` over `pairs` of rounds; None if no pair has values of it on both sides.

    A round's many values count as one, their median.
    """
    found = [(x, y, _metric(x, name), _metric(y, name)) for x, y in pairs]
    both = [(x, y, of_x, of_y) for x, y, of_x, of_y in found if of_x and of_y]
    if not both:
        return None
    a_values, b_values = ([statistics.median(each[side].values) for each in both] for side in (2, 3))
    unit, other = both[-1][2].unit, both[-1][3].unit
    what = quantity(name, unit)
    basis, factors, why = _basis(what, [each[:2] for each in both], is_same_machine)
    if unit != other:
        basis, why = "none", f"in {unit} before, in {other} after"
    ratio, logs = Estimate(math.nan, math.nan, math.nan, len(both)), None
    change = Change.INCONCLUSIVE
    if basis != "none" and min(*a_values, *b_values) <= 0:
        basis = "none"
        change, why = _without_ratio(a_values, b_values, what.better)
    elif basis != "none":
        ratios = [b / a * factor for a, b, factor in zip(a_values, b_values, factors, strict=True)]
        ratio = estimate_ratio(ratios)
        logs = log_mean(ratios) if len(ratios) >= ENOUGH_PAIRS else None
        change, why = _judge(ratio, what.better, margin)
    if not what.better:
        change, why = Change.INCONCLUSIVE, "no better side"
    return Row(
        subject, name, unit, what.better, len(both), estimate_median(a_values, seed=seed),
        estimate_median(b_values, seed=seed), ratio, basis, change, why, logs,
    )  # fmt: skip


def reference_of(record: RunRecord) -> float | None:
    """Return the time of the reference workload beside a record [s], or None if it was not taken."""
    return statistics.median(record.reference_s) if record.reference_s else None


def _metric(record: RunRecord, name: str) -> Metric | None:
    return next((each for each in record.metrics if each.name == name and each.n), None)


def _basis(what: Quantity, pairs: Sequence[Pair], is_same_machine: bool) -> tuple[Basis, list[float], str]:
    """Return the basis, by what each pair's ratio is multiplied, and why there is no basis.

    Between machines each round goes by the reference workload beside it: so the interval has the noise of
    the reference in it.
    """
    if is_same_machine or what.scale == "none":
        return "raw", [1.0] * len(pairs), ""
    if what.scale == "machine":
        return "none", [], ELSEWHERE
    names = {record.run.get("reference") for pair in pairs for record in pair}
    seconds = [(reference_of(x), reference_of(y)) for x, y in pairs]
    known = [(x, y) for x, y in seconds if x and y]
    if len(known) < len(pairs) or len(names) > 1:
        return "none", [], RUN_AGAIN
    slower = [y / x for x, y in known]  # so many times longer does B's machine take
    return "reference", [1 / each if what.scale == "time" else each for each in slower], ""


def _judge(ratio: Estimate, better: Better, margin: float) -> tuple[Change, str]:
    if ratio.n < ENOUGH_PAIRS:
        return Change.INCONCLUSIVE, f"needs {ENOUGH_PAIRS} rounds, has {ratio.n}"
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return Change.SAME, ""
    if ratio.low <= 1 <= ratio.high:
        return Change.INCONCLUSIVE, f"the interval holds 1 and is wider than {100 * margin:g} % around it"
    return _side(ratio.low > 1, better), ""


def _without_ratio(a: list[float], b: list[float], better: Better) -> tuple[Change, str]:
    """Judge values of which some are zero: equal, or all pairs on one side (a sign test: 2 / 2 ** n)."""
    if len(a) < ENOUGH_PAIRS:
        return Change.INCONCLUSIVE, f"needs {ENOUGH_PAIRS} rounds, has {len(a)}"
    if a == b:
        return Change.SAME, ""
    for is_higher in (True, False):
        if all(y > x if is_higher else y < x for x, y in zip(a, b, strict=True)):
            return _side(is_higher, better), ""
    return Change.INCONCLUSIVE, "some values are zero, and the pairs do not agree"


def _side(is_higher: bool, better: Better) -> Change:
    return Change.BETTER if is_higher == (better == "higher") else Change.WORSE
