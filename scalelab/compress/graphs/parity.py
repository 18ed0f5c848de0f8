"""Do two sessions give the same logits? At several batch sizes, alone and among others, and twice.

A graph that agrees at batch 1 may have that size frozen in; a model in training mode agrees with nothing:
its batch norms mix the images of a batch, its dropout draws anew at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scalelab.compress.runtimes import LOGITS_SHAPE, check_images
from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

BATCHES = (1, 7, 32)
TOLERANCE = 1e-4


class Predicts(Protocol):
    """Anything that maps images ``(N, 28, 168) uint8`` to logits ``(N, 6, 10)``: every Session does."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the logits."""
        ...


@dataclass(frozen=True)
class ParityRow:
    """One batch size."""

    batch: int
    max_abs_error: float
    """largest difference of a logit; infinite where the candidate gave none, or other shapes, or NaN"""
    same_digits: float
    """share of digits that both read alike"""
    problem: str
    """what went wrong; empty if nothing did"""


@dataclass(frozen=True)
class ParityReport:
    """Whether a candidate may stand for its reference."""

    rows: tuple[ParityRow, ...]
    tolerance: float
    is_repeatable: bool
    """the same images give the same logits twice; with dropout left on they do not"""
    is_batch_free: bool
    """the logits of an image do not depend on its neighbours; with batch statistics they do"""

    @property
    def holds(self) -> bool:
        """Every batch size agrees, and nothing is random or depends on neighbours."""
        agrees = all(row.max_abs_error <= self.tolerance for row in self.rows)
        return agrees and self.is_repeatable and self.is_batch_free

    def __str__(self) -> str:
        lines = [
            f"batch {row.batch}: "
            + (row.problem or f"{row.max_abs_error:.1e} apart, {row.same_digits:.1%} of the digits alike")
            for row in self.rows
        ]
        if not self.is_repeatable:
            lines.append("the same images give other logits each time: is dropout on? call model.eval()")
        if not self.is_batch_free:
            lines.append(
                "an image's logits depend on its neighbours: batch norm in training? call model.eval()"
            )
        return "\n".join([f"parity {'holds' if self.holds else 'does not hold'}", *lines])


def check_parity(
    reference: Predicts,
    candidate: Predicts,
    images: np.ndarray,
    *,
    batches: Sequence[int] = BATCHES,
    tolerance: float = TOLERANCE,
) -> ParityReport:
    """Compare two sessions on the first images of each batch size; what fails is a row, not an exception.

    Args:
        images: ``(N, 28, 168) uint8``, at least two and the largest batch.
        tolerance: largest difference of a logit that counts as the same, absolute.

    Raises:
        ConfigError: no batches, or too few images for them.
        DataError: `images` are none.
    """
    check_images(images)
    if not batches or min(batches) < 1 or max(*batches, 2) > len(images):
        raise ConfigError(
            f"batches {tuple(batches)} cannot be cut from {len(images)} images",
            hint="give sizes from 1, as (1, 7, 32), and as many images as the largest (2 at least)",
        )
    rows = tuple(_row(reference, candidate, images[:batch], tolerance) for batch in batches)
    several = images[: max(2, *batches)]
    first = _logits(candidate, several)
    if isinstance(first, str):  # the rows say why
        return ParityReport(rows, tolerance, is_repeatable=True, is_batch_free=True)
    again, alone = _logits(candidate, several), _logits(candidate, several[:1])
    is_repeatable = not isinstance(again, str) and _apart(first, again) <= tolerance
    # what changes at every call shows nothing about neighbours
    is_batch_free = not is_repeatable or isinstance(alone, str) or _apart(first[:1], alone) <= tolerance
    return ParityReport(rows, tolerance, is_repeatable, is_batch_free)


class ModuleSession:
    """A torch module in whatever mode it is in: in training mode it shows what an export must not keep."""

    def __init__(self, model: nn.Module):
        self.model = model

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return logits ``(N, 6, 10)``; in training mode the running statistics move, as always."""
        import torch

        check_images(images)
        with torch.no_grad():
            logits: np.ndarray = self.model(torch.from_numpy(np.array(images))).numpy()
        return logits


def _row(reference: Predicts, candidate: Predicts, images: np.ndarray, tolerance: float) -> ParityRow:
    batch, expected = len(images), reference.predict(images)
    logits = _logits(candidate, images)
    if isinstance(logits, str):
        return ParityRow(batch, float("inf"), 0.0, logits)
    apart = _apart(expected, logits)
    same = float((expected.argmax(-1) == logits.argmax(-1)).mean())
    problem = "" if apart <= tolerance else f"{apart:.2g} apart, {same:.1%} of the digits alike"
    return ParityRow(batch, apart, same, problem)


def _logits(session: Predicts, images: np.ndarray) -> np.ndarray | str:
    """Return the logits, or in words why there are none."""
    try:
        logits = session.predict(images)
    except Exception as error:  # each runtime has its own; a graph that refuses a batch is what we look for
        return f"refused: {(str(error).strip().splitlines() or [type(error).__name__])[0][:160]}"
    if logits.shape != (len(images), *LOGITS_SHAPE):
        return f"gives logits {logits.shape}"
    return logits


def _apart(expected: np.ndarray, logits: np.ndarray) -> float:
    apart = np.abs(logits - expected).max()
    return float(apart) if np.isfinite(apart) else float("inf")
