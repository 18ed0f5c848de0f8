"""What compression does to a search: does each sentence still find the same nearest neighbour?

The cosine between a vector and its compressed twin hides the damage: vectors of sentences lie close together,
and a small turn is enough to put another one first. So the nearest neighbours are compared themselves.

Shapes in this file: vectors ``(N, D) float32``, of length one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.stats import Estimate


@dataclass(frozen=True)
class Agreement:
    """How near compressed vectors are to the ones they stand for."""

    top1: Estimate
    """share of sentences whose nearest other sentence stays the same, with its 95 % interval (Wilson 1927)"""
    cosine_mean: float
    cosine_min: float
    """between a vector and its compressed twin"""

    def __str__(self) -> str:
        return (
            f"{100 * self.top1.median:.1f} % of {self.top1.n:,} sentences keep their nearest neighbour "
            f"[{100 * self.top1.low:.1f}, {100 * self.top1.high:.1f}]; "
            f"cosine {self.cosine_mean:.4f} on average, {self.cosine_min:.3f} at worst"
        )


def agreement(reference: np.ndarray, candidate: np.ndarray) -> Agreement:
    """Compare the vectors of the same N sentences, as two models give them.

    A sentence's neighbour is searched among the other N - 1, in each model among its own vectors: one model
    would fill the index of a search engine and answer its queries.

    Raises:
        DataError: other shapes, fewer than three sentences, or vectors that are not of length one.
    """
    if reference.shape != candidate.shape or reference.ndim != 2 or len(reference) < 3:
        raise DataError(
            f"vectors {reference.shape} and {candidate.shape} have no neighbours to compare",
            hint="give (N, D) twice, for the same three or more sentences",
        )
    for name, vectors in (("reference", reference), ("candidate", candidate)):
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
            raise DataError(f"the {name} holds vectors that are not of length one", hint="normalize them")
    cosines = (reference * candidate).sum(1)
    same = int((nearest(reference) == nearest(candidate)).sum())
    return Agreement(share(same, len(reference)), float(cosines.mean()), float(cosines.min()))


def nearest(vectors: np.ndarray, chunk: int = 1024) -> np.ndarray:
    """Return, for each vector, the place ``(N,)`` of the other one with the largest cosine."""
    found = []
    for start in range(0, len(vectors), chunk):
        cosines = vectors[start : start + chunk] @ vectors.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
        found.append(cosines.argmax(1))
    return np.concatenate(found)


def share(hits: int, n: int, z: float = 1.96) -> Estimate:
    """Return a share with its 95 % score interval (Wilson 1927), which holds near 0 and 1 too."""
    p = hits / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Estimate(p, (middle - spread) / scale, (middle + spread) / scale, n)
