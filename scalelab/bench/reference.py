"""The reference workload: fixed work on one thread, timed beside every point, to compare machines by."""

from __future__ import annotations

import statistics
import time

import numpy as np

REFERENCE = "reference-1"
"""name of this very work: change it whenever the work changes, since times of unlike work compare nothing"""
_BLOCKS = 3
_SIDE = 64
"""of the matrices: OpenBLAS takes one thread for products up to 64 x 64 x 64"""
_PRODUCTS = 1_500
_STEPS = 300_000
_COPIES = 10
_COPY_BYTES = 16 * 2**20
"""beyond the cache of a core"""


def measure_reference() -> float:
    """Return the seconds of one block of the reference workload, the median of three; takes some 0.3 s.

    A block is a mix of what the road does: matrix products (float32), interpreted Python, and copies in
    memory. On a busy machine it takes longer, as the point beside it does.
    """
    left = np.full((_SIDE, _SIDE), 1 / _SIDE, dtype=np.float32)
    product = np.empty_like(left)
    source = np.zeros(_COPY_BYTES, dtype=np.uint8)
    target = np.ones_like(source)  # both are touched here: page faults are no part of the work
    seconds = []
    for _ in range(_BLOCKS):
        started = time.perf_counter()
        for _ in range(_PRODUCTS):
            np.matmul(left, left, out=product)
        total = 0
        for step in range(_STEPS):
            total += step * step % 7
        for _ in range(_COPIES):
            np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
