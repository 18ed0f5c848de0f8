"""How sure a percentile is, and the rate at which it crosses an objective: block bootstraps.

Requests of one moment share its luck, so single latencies are not independent, and formulas that take them
for it give intervals that are far too narrow. Here whole blocks of the window, a tenth each, are drawn anew
with replacement (Künsch 1989), within each part of a shaped load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scalelab.core.stats import Estimate, smallest_n
from scalelab.loadtest.results import Block, LoadResult

RESAMPLES = 1000
NEVER_S = 3600.0
"""stands for an infinite latency where logarithms are taken"""


def percentile_interval(result: LoadResult, percent: float) -> Estimate | None:
    """Return the percentile with its 95 % interval [s]; None if there are too few requests for it."""
    if result.latency.n < smallest_n(percent) or not result.blocks:
        return None
    low, high = np.percentile(bootstrap(result.blocks, percent), [2.5, 97.5], method="nearest")
    return Estimate(result.latency.percentile(percent), float(low), float(high), result.latency.n)


def bootstrap(
    blocks: Sequence[Block], percent: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return the percentile of each resample ``(resamples,) float64`` [s]; ``inf`` where it was never."""
    values = sorted({value for block in blocks for value, _ in block.latency.buckets})
    index = {value: place for place, value in enumerate(values)}
    counts = np.zeros((len(blocks), len(values) + 1))  # the last column: never answered
    for row, block in enumerate(blocks):
        for value, count in block.latency.buckets:
            counts[row, index[value]] = count
        counts[row, -1] = block.latency.unanswered
    random = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(blocks)))
    parts = np.array([block.part for block in blocks])
    for part in np.unique(parts):
        (rows,) = np.nonzero(parts == part)
        weights[:, rows] = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), resamples)
    seen = np.cumsum(weights @ counts, axis=1)
    ranks = np.ceil(percent / 100 * seen[:, -1:])
    places = (seen < ranks).sum(axis=1)
    return np.array([*values, math.inf])[places]


def crossing(tried: Sequence[tuple[float, Sequence[Block]]], objective_s: float) -> Estimate | None:
    """Return the rate at which p95 crosses the objective, with its 95 % interval [1/s].

    In each resample the blocks of every tried rate are drawn anew, a curve that never falls (isotonic
    regression) is laid through the logarithms of their p95, and its crossing is read off. A resample that
    does not cross counts with the highest (or lowest) rate tried, so an end there says "or beyond".

    Args:
        tried: ``(rate [1/s], blocks of all windows at it)``; several entries of one rate are put together.
    """
    together: dict[float, list[Block]] = {}
    for rate, blocks in tried:
        together.setdefault(rate, []).extend(blocks)
    rates = sorted(rate for rate, blocks in together.items() if sum(b.latency.n for b in blocks) >= 20)
    if len(rates) < 2:
        return None
    columns = [bootstrap(together[rate], 95, seed=place) for place, rate in enumerate(rates)]
    heights = np.log(np.clip(np.stack(columns, axis=1), 1e-6, NEVER_S))
    found = _cross(np.log(rates), isotonic(heights), math.log(objective_s))
    low, middle, high = np.exp(np.percentile(found, [2.5, 50, 97.5]))
    return Estimate(float(middle), float(low), float(high), len(rates))


def isotonic(heights: np.ndarray) -> np.ndarray:
    """Return the closest curves that never fall, row by row ``(rows, n)``: max over i of min over j of means.

    The min-max form of isotonic regression (Robertson, Wright, Dykstra 1988) with equal weights.
    """
    rows, n = heights.shape
    sums = np.concatenate([np.zeros((rows, 1)), np.cumsum(heights, axis=1)], axis=1)
    means = np.full((rows, n, n), np.inf)
    for i in range(n):
        for j in range(i, n):
            means[:, i, j] = (sums[:, j + 1] - sums[:, i]) / (j + 1 - i)
    found = np.empty_like(heights)
    for k in range(n):
        found[:, k] = means[:, : k + 1, k:].min(axis=2).max(axis=1)
    return found


def _cross(log_rates: np.ndarray, curves: np.ndarray, level: float) -> np.ndarray:
    found = []
    for curve in curves:
        above = int(np.searchsorted(curve, level, side="right"))
        if above in (0, len(curve)):
            found.append(log_rates[0] if above == 0 else log_rates[-1])
            continue
        share = (level - curve[above - 1]) / (curve[above] - curve[above - 1])
        found.append(log_rates[above - 1] + share * (log_rates[above] - log_rates[above - 1]))
    return np.array(found)
