"""What each runtime buys: latency of several sessions against one baseline, and their accuracy.

Every session is timed in turn with the baseline (A B, B A, ...), so that a busy moment of the machine slows
both sides of a pair. Open the sessions with one thread each: more than one measures the neighbours too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalelab.compress.runtimes import Session, check_images
from scalelab.core.errors import ConfigError, DataError, did_you_mean
from scalelab.core.stats import Estimate, compare_paired, estimate_median

if TYPE_CHECKING:
    from scalelab.models import Accuracy

_CHUNK = 250
"""images per forward pass when accuracy is measured: bounds the memory, not the result"""


@dataclass(frozen=True)
class LatencyRow:
    """One session at one batch size."""

    name: str
    bytes: int
    """size of the model file"""
    batch: int
    latency_s: Estimate
    """seconds of one call on `batch` images"""
    speedup: Estimate
    """how many times longer the baseline takes, from paired runs; 1 for the baseline itself"""
    is_quiet: bool
    """False: the machine was too busy for the ratio to mean much"""

    @property
    def images_per_s(self) -> float:
        """Throughput of one thread that does nothing else."""
        return self.batch / self.latency_s.median


def compare_latency(
    sessions: Mapping[str, Session],
    images: np.ndarray,
    *,
    baseline: str,
    batches: Sequence[int] = (1, 32),
    pairs: int = 15,
    min_block_s: float = 0.05,
    on_row: Callable[[LatencyRow], None] | None = None,
) -> list[LatencyRow]:
    """Time every session against the baseline, at every batch size.

    Rows come batch by batch in the order of `sessions`. Costs about
    ``2 * pairs * min_block_s`` seconds for each session and batch.

    Args:
        sessions: name in the report -> session.
        images: ``(N, 28, 168) uint8``, at least the largest batch.
        baseline: one of the names.
        on_row: called with each row when it is known (progress bars).

    Raises:
        ConfigError: the baseline is none of the sessions, or a batch is larger than `images`.
    """
    check_images(images)
    if baseline not in sessions:
        raise ConfigError(f"no session {baseline!r} to compare with", hint=did_you_mean(baseline, sessions))
    if not batches or min(batches) < 1 or max(batches) > len(images):
        raise ConfigError(
            f"batches {tuple(batches)} cannot be cut from {len(images)} images",
            hint="give batches from 1 on, and at least as many images as the largest",
        )
    rows = []
    for batch in batches:
        cut = np.ascontiguousarray(images[:batch])
        for name, session in sessions.items():
            row = _row(name, session, sessions[baseline], cut, pairs, min_block_s)
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return rows


def _row(
    name: str, session: Session, baseline: Session, images: np.ndarray, pairs: int, min_block_s: float
) -> LatencyRow:
    paired = compare_paired(
        lambda: baseline.predict(images),
        lambda: session.predict(images),
        pairs=pairs,
        min_block_s=min_block_s,
    )
    # the baseline runs against itself as well: how far that ratio is from one shows the machine's noise
    is_quiet = paired.is_quiet
    speedup = Estimate(1.0, 1.0, 1.0, pairs) if session is baseline else paired.ratio
    return LatencyRow(name, session.bytes, len(images), estimate_median(paired.b_s), speedup, is_quiet)


def compare_accuracy(
    sessions: Mapping[str, Session], images: np.ndarray, labels: np.ndarray
) -> dict[str, Accuracy]:
    """Return the share of digits and of whole PINs that each session reads right, on the same images.

    Args:
        images: ``(N, 28, 168) uint8`` that neither training nor calibration has seen.
        labels: ``(N, 6)`` integers.

    Raises:
        DataError: no images, or labels of another shape.
    """
    from scalelab.models import accuracy

    check_images(images)
    if not len(images) or labels.shape != (len(images), 6):
        raise DataError(
            f"{len(images)} images with labels {labels.shape} give no accuracy",
            hint="labels are (N, 6), N from 1",
        )
    return {name: accuracy(predict_all(session, images), labels) for name, session in sessions.items()}


def predict_all(session: Session, images: np.ndarray) -> np.ndarray:
    """Return the logits ``(N, 6, 10) float32`` of many images, in chunks that bound the memory."""
    check_images(images)
    starts = range(0, max(len(images), 1), _CHUNK)
    return np.concatenate([session.predict(images[start : start + _CHUNK]) for start in starts])
