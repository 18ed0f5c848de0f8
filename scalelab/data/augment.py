"""What pens and scanners do to digits: thickness, slant, size, place, then blur, speckle and brightness.

Only draws of plain uniform numbers, additions, multiplications and roundings are used, so that a seed gives
the same bytes on every platform. Shape suffixes: M = digits, N = PIN codes, H = rows, W = columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 28


@dataclass(frozen=True)
class Augmentation:
    """How far each disturbance goes; every one is drawn uniformly, 0 switches it off."""

    thicker: float = 0.6
    """share of a full one-pixel dilation, at most"""
    thinner: float = 0.4
    """share of a full one-pixel erosion, at most"""
    slant: float = 0.25
    """columns per row, to either side"""
    scale: float = 0.1
    """relative change of width and height, each on its own"""
    shift: float = 2.0
    """pixels, to either side, along both axes"""
    blur: float = 0.5
    """share of a full (1, 2, 1) blur along both axes, at most"""
    noise: float = 20.0
    """grain of the scanner: the largest deviation of a pixel [grey levels of 255]"""
    speckle: float = 0.004
    """share of pixels that dust turns to ink or to paper, at most"""
    contrast: float = 0.3
    """share of the ink's darkness that a faint pen loses, at most"""
    paper: float = 40.0
    """how dark the paper may be [grey levels of 255]"""


def disturb_digits(digits_MHW: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return ``(M, 28, 28) float32`` digits as other pens would draw them, from ``uint8``."""
    inked_MHW = _change_thickness(digits_MHW, _uniform(rng, len(digits_MHW), -how.thinner, how.thicker))
    return _move(inked_MHW, how, rng)


def scan(pins_NHW: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return ``(N, 28, 168) uint8``: the float images as a cheap scanner would deliver them."""
    n = len(pins_NHW)
    blurred_NHW = _blur(pins_NHW, _uniform(rng, n, 0, how.blur))
    paper_N11 = _uniform(rng, n, 0, how.paper)[:, None, None]
    ink_N11 = 255 * (1 - _uniform(rng, n, 0, how.contrast))[:, None, None]
    grey_NHW = paper_N11 + blurred_NHW * ((ink_N11 - paper_N11) / np.float32(255))
    grain = rng.integers(0, 256, (2, *grey_NHW.shape), dtype=np.uint8)
    strength_N11 = _uniform(rng, n, 0, how.noise)[:, None, None] / np.float32(255)
    grey_NHW += (grain[0].astype(np.float32) - grain[1]) * strength_N11  # a triangular distribution
    if how.speckle > 0:
        dust_NHW = rng.random(grey_NHW.shape, dtype=np.float32)
        limit_N11 = _uniform(rng, n, 0, how.speckle)[:, None, None] / 2
        grey_NHW[dust_NHW < limit_N11] = 255
        grey_NHW[dust_NHW > 1 - limit_N11] = 0
    return np.rint(np.clip(grey_NHW, 0, 255)).astype(np.uint8)


def _change_thickness(digits_MHW: np.ndarray, amount_M: np.ndarray) -> np.ndarray:
    """Blend each digit with its grey dilation (amount > 0) or erosion (< 0) by a cross of five pixels."""
    padded = np.pad(digits_MHW, ((0, 0), (1, 1), (1, 1)))
    neighbours = (padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:])
    changed_MHW = digits_MHW.astype(np.float32)
    for extreme, chosen in ((np.maximum, amount_M > 0), (np.minimum, amount_M < 0)):
        other = digits_MHW[chosen]
        for neighbour in neighbours:
            other = extreme(other, neighbour[chosen])
        share_M11 = np.abs(amount_M[chosen])[:, None, None]
        changed_MHW[chosen] += (other.astype(np.float32) - changed_MHW[chosen]) * share_M11
    return changed_MHW


def _move(images_MHW: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Scale, slant and shift: an affine map in two passes, first along the rows, then along the columns."""
    m = len(images_MHW)
    centre = np.float32((SIDE - 1) / 2)
    grid = np.arange(SIDE, dtype=np.float32) - centre
    zoom_x, zoom_y = (1 + _uniform(rng, m, -how.scale, how.scale) for _ in range(2))
    shift_x, shift_y = (_uniform(rng, m, -how.shift, how.shift) for _ in range(2))
    slant = _uniform(rng, m, -how.slant, how.slant)
    from_x_MHW = (
        grid[None, None, :] * zoom_x[:, None, None]
        + (slant[:, None] * grid[None, :] - shift_x[:, None])[:, :, None]
        + centre
    )
    from_y_MH1 = (grid[None, :] * zoom_y[:, None] - shift_y[:, None] + centre)[:, :, None]
    return _sample(_sample(images_MHW, from_x_MHW, axis=2), from_y_MH1, axis=1)


def _sample(images_MHW: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Read `images` at fractional positions along an axis, linearly interpolated; outside is paper."""
    padding = [(0, 0)] * 3
    padding[axis] = (1, 1)
    padded = np.pad(images_MHW, padding)
    at = np.clip(at + 1, 0, np.float32(SIDE + 0.999))
    left = at.astype(np.int64)
    share = at - left.astype(np.float32)
    first = np.take_along_axis(padded, left, axis)
    return first + (np.take_along_axis(padded, left + 1, axis) - first) * share


def _blur(images_NHW: np.ndarray, share_N: np.ndarray) -> np.ndarray:
    blurred = images_NHW
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1)
        padded = np.pad(blurred, padding)
        low, high = (slice(None),) * axis + (slice(None, -2),), (slice(None),) * axis + (slice(2, None),)
        blurred = (padded[low] + padded[high]) * np.float32(0.25) + blurred * np.float32(0.5)
    return images_NHW + (blurred - images_NHW) * share_N[:, None, None]


def _uniform(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    return np.float32(low) + rng.random(n, dtype=np.float32) * np.float32(high - low)
