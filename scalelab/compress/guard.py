"""Did compression cost accuracy? Both models read the same images, and the answer comes with an interval.

Two accuracies of 98.5 % on 1,000 digits each have a standard error of 0.4 points, so their difference shows
nothing below a point. Read by both models, most images are right for both or wrong for both and cancel; only
those on which the two differ count (McNemar 1947, "Note on the sampling error of the difference between
correlated proportions or percentages"). The interval is a paired bootstrap over images (Efron 1979; Koehn
2004 for systems on one test set): the six digits of an image share its pen and its scan, so an image is drawn
as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.compress.compare import predict_all
from scalelab.compress.runtimes import Session
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.stats import Estimate, Verdict, judge

if TYPE_CHECKING:
    from scalelab.models import Accuracy

MOST_LOST = 0.005
"""half a point of digit accuracy"""


@dataclass(frozen=True)
class GuardReport:
    """How much accuracy a candidate lost against a baseline on the same images."""

    verdict: Verdict
    """PASS: the interval of `lost` is below `at_most`; FAIL: it is above; else INCONCLUSIVE: more images"""
    lost: Estimate
    """share of digits lost (negative: gained), with the 95 % interval of the paired bootstrap"""
    at_most: float
    baseline: Accuracy
    candidate: Accuracy
    pins_lost: int
    """images whose whole PIN the baseline alone reads"""
    pins_gained: int
    """images whose whole PIN the candidate alone reads"""
    p_value: float
    """McNemar's exact test that losing and gaining a PIN are equally likely"""

    def __str__(self) -> str:
        low, high = 100 * self.lost.low, 100 * self.lost.high
        return (
            f"{self.verdict.value}: {100 * self.lost.median:.2f} points of digit accuracy lost "
            f"[{low:.2f}, {high:.2f}], at most {100 * self.at_most:g} allowed; {self.pins_lost} PINs lost, "
            f"{self.pins_gained} gained of {self.lost.n:,} (p = {self.p_value:.2g})"
        )


def guard_accuracy(
    baseline: Session,
    candidate: Session,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    at_most: float = MOST_LOST,
    seed: int = 0,
) -> GuardReport:
    """Judge whether `candidate` reads at most a share `at_most` of the digits worse than `baseline`.

    Args:
        images: ``(N, 28, 168) uint8`` of the held-out split, that neither of them has seen.
        labels: ``(N, 6)`` integers.

    Raises:
        DataError: as `guard_logits`, or images of another shape.
        ConfigError: a negative `at_most`.
    """
    return guard_logits(
        predict_all(baseline, images), predict_all(candidate, images), labels, at_most=at_most, seed=seed
    )


def guard_logits(
    baseline: np.ndarray,
    candidate: np.ndarray,
    labels: np.ndarray,
    *,
    at_most: float = MOST_LOST,
    resamples: int = 2000,
    seed: int = 0,
) -> GuardReport:
    """Judge two arrays of logits ``(N, 6, 10)`` for the same images with labels ``(N, 6)``.

    Raises:
        DataError: shapes that do not fit, no images, or a logit that is not a number.
        ConfigError: a negative `at_most`.
    """
    from scalelab.models import accuracy

    if not 0 <= at_most < 1:
        raise ConfigError(f"a loss of at most {at_most}", hint="give a share of one: 0.005 is half a point")
    before, after = accuracy(baseline, labels), accuracy(candidate, labels)
    right_before, right_after = (logits.argmax(2) == labels for logits in (baseline, candidate))
    lost_of_image = (right_before.sum(1) - right_after.sum(1)) / labels.shape[1]
    lost = _mean(lost_of_image, resamples, seed)
    pin_before, pin_after = right_before.all(1), right_after.all(1)
    pins_lost, pins_gained = int((pin_before & ~pin_after).sum()), int((~pin_before & pin_after).sum())
    return GuardReport(
        verdict=judge(lost, at_most=at_most),
        lost=lost,
        at_most=at_most,
        baseline=before,
        candidate=after,
        pins_lost=pins_lost,
        pins_gained=pins_gained,
        p_value=mcnemar_exact(pins_lost, pins_gained),
    )


def lost_over_seeds(
    baseline: np.ndarray, candidates: Sequence[np.ndarray], labels: np.ndarray, *, seed: int = 0
) -> Estimate:
    """Return the share of digits that candidates of several seeds lose on average, with its 95 % interval.

    The interval is about the images (another test set); how far the seeds lie apart is the spread of their
    own reports.

    Raises:
        DataError: no candidates, or logits ``(N, 6, 10)`` and labels ``(N, 6)`` that do not fit.
    """
    if not candidates or any(logits.shape[:2] != labels.shape for logits in (baseline, *candidates)):
        raise DataError(
            f"{len(candidates)} candidates with labels {labels.shape} lose nothing that can be counted",
            hint="give the logits (N, 6, 10) of each seed, for the same images",
        )
    right = np.mean([(logits.argmax(2) == labels).sum(1) for logits in candidates], axis=0)
    return _mean(((baseline.argmax(2) == labels).sum(1) - right) / labels.shape[1], 2000, seed)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value that the two kinds of disagreement are equally likely (binomial, exact).

    Args:
        only_a: cases that A alone gets right.
        only_b: cases that B alone gets right.
    """
    if min(only_a, only_b) < 0:
        raise DataError(f"{only_a} and {only_b} cases", hint="counts are 0 or more")
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))  # integers: no rounding
    return min(1.0, float(2 * tail / 2**n)) if n < 1000 else _normal_p(only_a, only_b)


def _normal_p(only_a: int, only_b: int) -> float:
    """McNemar's chi-square with Edwards' continuity correction: equal to the exact test at such counts."""
    z = (abs(only_a - only_b) - 1) / math.sqrt(only_a + only_b)
    return math.erfc(max(z, 0) / math.sqrt(2))


def _mean(values: np.ndarray, resamples: int, seed: int) -> Estimate:
    """Return the mean with its 95 % percentile bootstrap interval, in place of a median."""
    # how often each distinct value is drawn is multinomial: the same as drawing images, without the memory
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), resamples)
    low, high = np.percentile(draws @ distinct / len(values), [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high), len(values))
