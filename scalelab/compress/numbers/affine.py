"""Quantization by hand: real numbers as small integers, ``x ~ scale * (q - zero_point)``.

Sources: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", equations 1, 4 and 7; the operators QuantizeLinear, DequantizeLinear and
MatMulInteger of the ONNX specification; the noise of a step, Bennett 1948, "Spectra of Quantized Signals".

Shapes in this file: values of any shape; with an axis, one scale and zero point for each of its C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scalelab.core.errors import ConfigError, DataError, did_you_mean

RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
"""the integers of each type"""
_SYMMETRIC = {"uint8": (0, 255), "int8": (-127, 127)}
"""int8 gives up -128, so that both sides of zero have the same number of steps"""


@dataclass(frozen=True)
class Affine:
    """The map between real numbers and the integers that stand for them."""

    scale: np.ndarray
    """width of a step, above zero: ``()`` or ``(C,) float32``, in the unit of the values"""
    zero_point: np.ndarray
    """the integer that stands for 0.0 exactly: the shape of `scale`, int32"""
    dtype: str = "uint8"
    """``uint8`` or ``int8``"""
    axis: int | None = None
    """the axis of the values that `scale` runs along; None: one scale for all"""

    def __post_init__(self) -> None:
        low, high = RANGES[_known(self.dtype)]
        scale, zero = np.asarray(self.scale, np.float32), np.asarray(self.zero_point, np.int32)
        if scale.ndim != (self.axis is not None) or zero.shape != scale.shape:
            raise ConfigError(
                f"scale {scale.shape} and zero point {zero.shape} do not fit axis {self.axis}",
                hint="both are single numbers without an axis, and one number a channel with one",
            )
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ConfigError(f"a step of {scale.min():g}", hint="a scale is a finite number above zero")
        if (zero < low).any() or (zero > high).any():
            raise ConfigError(
                f"zero point {zero.ravel()[0]} is no {self.dtype}", hint=f"it lies from {low} to {high}"
            )
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", zero)

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Return ``clip(round(x / scale) + zero_point)`` in `dtype`; halves round to even (IEEE 754).

        Raises:
            DataError: a value is NaN, or there are not as many channels as scales.
        """
        values = _finite(values, "values", allow_infinite=True)
        scale, zero = self._along(values)
        low, high = RANGES[self.dtype]
        with np.errstate(over="ignore"):
            steps = np.rint(values / scale) + zero
        return np.clip(steps, low, high).astype(self.dtype)

    def dequantize(self, integers: np.ndarray) -> np.ndarray:
        """Return ``scale * (q - zero_point)`` as float32."""
        scale, zero = self._along(np.asarray(integers))
        return (np.asarray(integers).astype(np.int32) - zero).astype(np.float32) * scale

    def round_trip(self, values: np.ndarray) -> np.ndarray:
        """Return what is left of the values: within half a step where nothing is clipped."""
        return self.dequantize(self.quantize(values))

    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest real number that is not clipped."""
        low, high = RANGES[self.dtype]
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale

    def _along(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.axis is None:
            return self.scale, self.zero_point
        if not -values.ndim <= self.axis < values.ndim or values.shape[self.axis] != self.scale.size:
            raise DataError(
                f"{self.scale.size} scales along axis {self.axis} do not fit values {values.shape}",
                hint="quantize the tensor that the scales were made from",
            )
        shape = [1] * values.ndim
        shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


def affine_from_range(
    low: float | np.ndarray,
    high: float | np.ndarray,
    *,
    dtype: str = "uint8",
    symmetric: bool = False,
    axis: int | None = None,
) -> Affine:
    """Return the map whose steps cover ``[low, high]`` and which keeps 0.0 exact.

    Affine: ``scale = (high - low) / (q_max - q_min)``, ``zero_point = round(q_min - low / scale)``.
    Symmetric: ``scale = 2 max(|low|, |high|) / (q_max - q_min)``, the zero point in the middle. A range that
    does not hold zero is widened until it does (padding and ReLU need an exact zero).

    Args:
        low: single numbers, or ``(C,)`` with an `axis`.
        high: the same.

    Raises:
        DataError: a bound is not finite, or low is above high.
    """
    low, high = (_finite(np.asarray(bound, np.float32), "bounds of a range") for bound in (low, high))
    if low.shape != high.shape or (low > high).any():
        raise DataError(f"no range from {low} to {high}", hint="low is at most high, channel by channel")
    low, high = np.minimum(low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
    q_low, q_high = (_SYMMETRIC if symmetric else RANGES)[_known(dtype)]
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    scale = (high - low) / (q_high - q_low)
    is_flat = scale < np.finfo(np.float32).tiny  # all zero: any step will do
    scale = np.where(is_flat, 1.0, scale)
    # of -127..127 the middle is 0, of 0..255 it is 128 (127.5 rounds to even)
    zero = np.round((q_low + q_high) / 2 if symmetric else q_low - low / scale) + np.zeros_like(scale)
    return Affine(scale.astype(np.float32), np.where(is_flat, 0, zero).astype(np.int32), dtype, axis)


def affine_of(
    values: np.ndarray, *, dtype: str = "int8", symmetric: bool = True, axis: int | None = None
) -> Affine:
    """Return the map that covers a tensor, all of it or channel by channel; the default is that of weights.

    Raises:
        DataError: no values, or one that is not finite.
    """
    values = _finite(values, "values")
    if not values.size:
        raise DataError(f"a tensor {values.shape} has no range", hint="give at least one value")
    if axis is None:
        return affine_from_range(values.min(), values.max(), dtype=dtype, symmetric=symmetric)
    if not -values.ndim <= axis < values.ndim:
        raise ConfigError(f"values {values.shape} have no axis {axis}", hint="0 is the output channel")
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    return affine_from_range(
        values.min(others), values.max(others), dtype=dtype, symmetric=symmetric, axis=axis
    )


def calibrate(
    batches: Iterable[np.ndarray], *, dtype: str = "uint8", symmetric: bool = False, keep: float = 1.0
) -> Affine:
    """Return the map of an activation, from what it was on calibration batches: what static int8 does once.

    Args:
        batches: arrays of one shape but for their first axis; one at a time is held.
        keep: share of the values, from 0.5 to 1, that a batch's range must hold: below 1, outliers are
            clipped, the range of a batch goes from one quantile to the other.

    Raises:
        DataError: no values at all, batches of different shapes, or a value that is not finite.
        ConfigError: `keep` is no such share.
    """
    if not 0.5 <= keep <= 1:
        raise ConfigError(f"a range that keeps {keep:g} of the values", hint="give 0.5 to 1, as 0.9999")
    low, high, shape = np.inf, -np.inf, None
    for batch in batches:
        batch = _finite(batch, "calibration values")
        shape = batch.shape[1:] if shape is None else shape
        if batch.shape[1:] != shape:
            raise DataError(
                f"calibration batches of {shape} and of {batch.shape[1:]}",
                hint="calibrate one activation at a time",
            )
        if batch.size:
            tail = (1 - keep) / 2
            batch_low, batch_high = np.quantile(batch, [tail, 1 - tail])
            low, high = min(low, float(batch_low)), max(high, float(batch_high))
    if low > high:
        raise DataError("there are no calibration values", hint="give a few hundred training images")
    return affine_from_range(low, high, dtype=dtype, symmetric=symmetric)


def rounding_noise(affine: Affine) -> np.ndarray:
    """Return the mean squared error of rounding, ``scale**2 / 12``: the variance of a uniform error.

    It holds where the values spread over many steps and none is clipped (Bennett 1948).
    """
    return affine.scale.astype(np.float64) ** 2 / 12


def signal_to_noise_db(values: np.ndarray, kept: np.ndarray) -> float:
    """Return ``10 log10(sum x^2 / sum (x - kept)^2)`` [dB]; a bit more is worth about 6. No error: inf."""
    values, kept = np.asarray(values, np.float64), np.asarray(kept, np.float64)
    noise = float(((values - kept) ** 2).sum())
    return float(10 * np.log10((values**2).sum() / noise)) if noise else float("inf")


def integer_matmul(a: np.ndarray, a_map: Affine, b: np.ndarray, b_map: Affine) -> np.ndarray:
    """Return ``A @ B`` of two quantized matrices: sums of integers, scaled once at the end.

    ``s_a s_b sum((q_a - z_a)(q_b - z_b))``, accumulated in 32 bits (Jacob et al. 2018, equation 4).

    Args:
        a: ``(N, K)`` of `a_map`, which has one scale.
        b: ``(K, M)`` of `b_map`, which has one scale or one for each of the M columns (axis 1).

    Raises:
        ConfigError: scales along K do not come out of the sum.
    """
    if a_map.axis is not None or b_map.axis not in (None, 1, -1):
        raise ConfigError(
            f"scales along axes {a_map.axis} and {b_map.axis} do not come out of the sum",
            hint="one scale for A; one, or one for each column, for B",
        )
    sums = (a.astype(np.int32) - a_map.zero_point) @ (b.astype(np.int32) - b_map.zero_point)
    return sums.astype(np.float32) * (a_map.scale * b_map.scale)


def _known(dtype: str) -> str:
    if dtype not in RANGES:
        raise ConfigError(f"no integers {dtype!r}", hint=did_you_mean(dtype, RANGES))
    return dtype


def _finite(values: np.ndarray, what: str, *, allow_infinite: bool = False) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise DataError(f"{what} of type {values.dtype}", hint="give numbers")
    if np.isnan(values).any() or not (allow_infinite or np.isfinite(values).all()):
        raise DataError(f"{what} hold NaN or infinity", hint="no integer stands for it; mend the model first")
    return values
