"""Five thousand handwritten digits, and the split that keeps training and test apart."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.paths import shipped
from scalelab.data.files import read_verified

SPLITS = {"train": 350, "val": 50, "test": 100}
"""source digits of each class in a split: 3,500, 500 and 1,000 in all"""
_SPLIT_SEED = 20_26


@dataclass(frozen=True)
class Digits:
    """Handwritten digits of MNIST."""

    images: np.ndarray
    """``(5000, 28, 28) uint8``, 0 = paper, 255 = ink; read-only"""
    labels: np.ndarray
    """``(5000,) uint8``; read-only"""


def load_digits() -> Digits:
    """Return the 5,000 digits, 500 of each class.

    Raises:
        DataError: the file is missing or damaged.
    """
    return _load(str(shipped("datasets")))


def split_indices(split: str) -> np.ndarray:
    """Return which digits belong to a split, as ``(10, n) int64``: row c has the indices of class c.

    The same on every machine, with every seed: no digit image is ever in two splits.

    Raises:
        ConfigError: there is no split of this name.
    """
    if split not in SPLITS:
        raise ConfigError(f"there is no split {split!r}", hint=did_you_mean(split, SPLITS))
    return _split(str(shipped("datasets")))[split]


@functools.lru_cache(maxsize=4)
def _load(folder: str) -> Digits:
    del folder  # the key: another folder is another file
    with np.load(io.BytesIO(read_verified("digits.npz")), allow_pickle=False) as archive:
        digits = Digits(archive["images"], archive["labels"])
    digits.images.setflags(write=False)
    digits.labels.setflags(write=False)
    return digits


@functools.lru_cache(maxsize=4)
def _split(folder: str) -> dict[str, np.ndarray]:
    labels = _load(folder).labels
    rank = np.random.default_rng(_SPLIT_SEED).random(
        len(labels)
    )  # raw draws: `shuffle` may change with numpy
    by_class = np.stack([np.flatnonzero(labels == c)[np.argsort(rank[labels == c])] for c in range(10)])
    parts, start = {}, 0
    for split, count in SPLITS.items():
        parts[split] = by_class[:, start : start + count]
        start += count
    return parts
