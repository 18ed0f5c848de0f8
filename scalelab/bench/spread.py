"""One metric of one point for people: the median of its rounds, the interval, how many, in a fitting unit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scalelab.core.records import Metric
from scalelab.core.stats import estimate_median
from scalelab.core.units import GIB, MIB

NOT_MEASURED = "–"
_STEPS: dict[str, tuple[tuple[float, float, str], ...]] = {
    "s": ((1e-3, 1e6, " µs"), (1.0, 1e3, " ms"), (math.inf, 1.0, " s")),
    "B": ((1024, 1.0, " B"), (MIB, 1 / 1024, " KiB"), (GIB, 1 / MIB, " MiB"), (math.inf, 1 / GIB, " GiB")),
    "share": ((math.inf, 100.0, " %"),),
    "1/s": ((math.inf, 1.0, "/s"),),
    "1": ((math.inf, 1.0, ""),),
}
"""unit: (up to, factor, suffix)"""
_SIGNS = {"USD": "$", "INR": "₹"}


@dataclass(frozen=True)
class Spread:
    """The median of the rounds; where there was one round, of the values in it."""

    unit: str
    median: float
    low: float
    high: float
    n: int
    of: str
    """``rounds`` or ``values``"""

    def __str__(self) -> str:
        """Return ``12.3 [11.9, 12.8] ms``; a single value has no interval."""
        factor, suffix = scale_of(self.unit, self.median)
        sign = _SIGNS.get(self.unit, "")
        middle = f"{sign}{_digits(self.median * factor)}"
        if self.n == 1:
            return middle + suffix
        return f"{middle} [{_digits(self.low * factor)}, {_digits(self.high * factor)}]{suffix}"

    @property
    def middle_text(self) -> str:
        """Return the median alone: ``12.3 ms``."""
        return str(replace(self, n=1))

    @property
    def n_text(self) -> str:
        """Return ``7 rounds``; of a single value ``1``."""
        return "1" if self.n == 1 else f"{self.n} {self.of}"

    @property
    def text(self) -> str:
        """Return it with its n: ``12.3 [11.9, 12.8] ms (7)``."""
        return str(self) if self.n == 1 else f"{self} ({self.n})"


def spread_of(held: Sequence[Metric]) -> Spread | None:
    """Return the spread of a metric, given as each round of one point holds it, or None if no round does.

    Of several rounds each counts once, with the median of its values (many values of a round are no
    independent tries). The interval is `estimate_median`'s up to 30 values, and beyond that between the
    order statistics at n/2 ± 0.98 √n (Conover, Practical Nonparametric Statistics, 3.2), its limit for many.
    """
    held = [metric for metric in held if metric.values]
    if not held:
        return None
    if len(held) == 1:
        values, of = list(held[0].values), "values"
    else:
        values, of = [statistics.median(metric.values) for metric in held], "rounds"
    median, low, high = _interval(values)
    return Spread(held[-1].unit, median, low, high, len(values), of)


def scale_of(unit: str, amount: float) -> tuple[float, str]:
    """Return by what to multiply an amount of `unit` for people, and what to write behind it."""
    if unit in _SIGNS:
        return 1.0, ""
    for limit, factor, suffix in _STEPS.get(unit, ((math.inf, 1.0, f" {unit}"),)):
        if abs(amount) < limit:
            return factor, suffix
    return 1.0, f" {unit}"


def _interval(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    if len(values) <= 30:
        found = estimate_median(values)
        return found.median, found.low, found.high
    values = sorted(values)
    half = 0.98 * math.sqrt(len(values))
    low, high = math.floor(len(values) / 2 - half), math.ceil(len(values) / 2 + half) - 1
    return statistics.median(values), values[max(low, 0)], values[min(high, len(values) - 1)]


def _digits(value: float) -> str:
    """Three digits at least, and never an exponent where a person would write the number out."""
    size = abs(value)
    if size >= 1000 or value == round(value):
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:,.1f}"
    if size >= 10:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 1 else f"{value:.3g}"
