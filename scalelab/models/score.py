"""How many digits, and how many whole PIN codes, a reader gets right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scalelab.core.errors import DataError


@dataclass(frozen=True)
class Accuracy:
    """Shares of one."""

    digit: float
    """digits read right"""
    pin: float
    """PIN codes with all six digits right: at best `digit`, near ``digit ** 6`` if errors are independent"""
    n_pins: int


def accuracy(logits: np.ndarray, labels: np.ndarray) -> Accuracy:
    """Score logits ``(N, 6, 10)`` against labels ``(N, 6)``; on a tie the smaller digit counts as read.

    Raises:
        DataError: the shapes do not fit, or there is nothing to score, or a logit is not a number.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 3 or logits.shape[:2] != labels.shape or len(labels) == 0:
        raise DataError(
            f"logits {logits.shape} and labels {labels.shape} cannot be scored",
            hint="logits are (N, 6, 10) and labels (N, 6), N at least 1",
        )
    if not np.isfinite(logits).all():
        raise DataError(
            "the logits hold NaN or infinity", hint="was the model trained, and loaded from its file?"
        )
    right = logits.argmax(axis=2) == labels
    return Accuracy(float(right.mean()), float(right.all(axis=1).mean()), len(labels))
