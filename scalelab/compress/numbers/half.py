"""Sixteen bits a weight: half of the bytes on the disk, and no ranges to learn.

float16 (IEEE 754 binary16) has 10 bits of fraction and ends at 65,504; bfloat16 is the upper half of a
float32: its range, and 7 bits of fraction. Here they are formats of storage: the runtime widens the weights
when it loads the file, and computes in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalelab.compress.drafts import drafted
from scalelab.compress.runtimes import onnx_session
from scalelab.core.errors import ConfigError, DataError, did_you_mean
from scalelab.core.lazy import require

FORMATS = ("float16", "bfloat16")


@dataclass(frozen=True)
class HalfReport:
    """An ONNX file whose weights take 16 bits."""

    path: Path
    bytes: int
    ratio: float
    """how many times smaller than the file it came from"""
    largest_error: float
    """largest relative error of a weight; half a unit in the last place is 2**-11 or 2**-8"""


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Return the bits of the nearest bfloat16 as uint16; halves go to the even one, NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    kept = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), kept)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Return the float32 numbers that bfloat16 bits ``uint16`` stand for, exactly."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def store_half(onnx_path: Path | str, out_path: Path | str, format: str = "float16") -> HalfReport:
    """Write a reader's ONNX file again with every weight in 16 bits; biases stay as they are.

    `out_path` is replaced only by a file that loads.

    Raises:
        ConfigError: no such format, or no place for an ``.onnx`` file.
        DataError: `onnx_path` is no fp32 reader, or a weight is beyond the format's range.
    """
    if format not in FORMATS:
        raise ConfigError(f"no format {format!r} of 16 bits", hint=did_you_mean(format, FORMATS))
    onnx = require("onnx", extra="onnx")
    onnx_session(onnx_path)  # says clearly what is wrong with a file that is no reader
    model = onnx.load(str(onnx_path))
    graph = model.graph
    casts, errors = [], []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        weights = onnx.numpy_helper.to_array(tensor)
        raw, kept = _narrowed(weights, format, tensor.name)
        errors.append(
            float((np.abs(kept - weights)[weights != 0] / np.abs(weights[weights != 0])).max(initial=0))
        )
        name, kind = tensor.name, getattr(onnx.TensorProto, format.upper())
        stored = onnx.helper.make_tensor(f"{name}_{format}", kind, tensor.dims, raw.tobytes(), raw=True)
        graph.initializer[index].CopyFrom(stored)
        casts.append(onnx.helper.make_node("Cast", [stored.name], [name], to=onnx.TensorProto.FLOAT))
    if not casts:
        raise DataError(f"{onnx_path} has no float32 weights", hint="give the file that export_onnx wrote")
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    with drafted(out_path) as draft:
        onnx.save(model, str(draft))
        onnx_session(draft)
    size = Path(out_path).stat().st_size
    return HalfReport(Path(out_path), size, Path(onnx_path).stat().st_size / size, max(errors))


def _narrowed(weights: np.ndarray, format: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the 16-bit array, and the float32 numbers that it stands for."""
    with np.errstate(over="ignore", under="ignore"):
        raw = weights.astype(np.float16) if format == "float16" else to_bfloat16(weights)
        kept = raw.astype(np.float32) if format == "float16" else from_bfloat16(raw)
    if not np.isfinite(kept).all():
        raise DataError(
            f"weight {name!r} reaches {np.abs(weights).max():g}: {format} has no such number",
            hint="bfloat16 has the range of float32" if format == "float16" else "was the model trained?",
        )
    return raw, kept
