"""Static int8: weights and activations of an ONNX graph as integers, with ranges learned from real images.

The file stays a graph of the same input and output; pairs of QuantizeLinear and DequantizeLinear (QDQ) mark
what the runtime may compute in integers.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.drafts import drafted, writable_path
from scalelab.compress.runtimes import check_images, onnx_session
from scalelab.core.errors import ConfigError, DataError, RunFailed, did_you_mean
from scalelab.core.lazy import require

METHODS = ("minmax", "entropy", "percentile")
ACTIVATIONS = ("uint8", "int8")
_BATCH = 32
"""calibration images per forward pass"""
LAYERS = ("large", "all", "dense")
_OPERATORS = ("Conv", "Gemm", "MatMul")
_LARGE_SHARE = 0.01
"""a layer is large if it holds at least this share of the weights of all layers"""


@dataclass(frozen=True)
class Recipe:
    """What becomes integers, and how their ranges are learned. The default is what measured best here.

    The large layers alone: they are 99.9 % of the bytes and of the traffic to memory. A small convolution
    over a large picture gains less in int8 than it costs to quantize its activations, in time and accuracy.
    """

    layers: str = "large"
    """``large``: layers with at least 1 % of the weights; ``dense``: those of them that are no convolutions
    (a small network's convolutions lose more by the conversions than they gain); or ``all``"""
    method: str = "minmax"
    """how the range of an activation follows from the calibration images: one of `METHODS`"""
    activation: str = "uint8"
    """``uint8`` with a zero point of its own, or ``int8`` symmetric about zero"""
    per_channel: bool = True
    """one scale per output channel of a weight, instead of one per weight"""
    reduce_range: bool = True
    """weights of seven bits: x86 without VNNI adds two products of uint8 and int8 in 16 bits, which eight
    bits can overflow silently"""

    def __post_init__(self) -> None:
        if self.layers not in LAYERS:
            raise ConfigError(f"no choice of layers {self.layers!r}", hint=did_you_mean(self.layers, LAYERS))
        if self.method not in METHODS:
            raise ConfigError(
                f"no calibration method {self.method!r}", hint=did_you_mean(self.method, METHODS)
            )
        if self.activation not in ACTIVATIONS:
            raise ConfigError(
                f"no activation {self.activation!r}", hint=did_you_mean(self.activation, ACTIVATIONS)
            )


@dataclass(frozen=True)
class QuantizeReport:
    """An int8 file that was written."""

    path: Path
    bytes: int
    ratio: float
    """how many times smaller than the fp32 file"""
    calibration_images: int
    quantized_layers: int
    """convolutions and matrix products that read quantized weights"""


def quantize_static(
    onnx_path: Path | str,
    out_path: Path | str,
    calibration_images: np.ndarray,
    recipe: Recipe | None = None,
) -> QuantizeReport:
    """Write the int8 twin of an fp32 reader.

    The ranges of the activations are those seen on `calibration_images`: take training images, never test
    images, and a few hundred of them. `out_path` is replaced only by a file that loads and predicts.

    Args:
        onnx_path: what `export_onnx` wrote.
        calibration_images: ``(N, 28, 168) uint8``.
        recipe: None takes the one that measured best.

    Raises:
        DataError: no calibration images, images of another shape, or `onnx_path` is no fp32 reader.
        ConfigError: `out_path` is no place for an ``.onnx`` file.
    """
    recipe = recipe or Recipe()
    check_images(calibration_images)
    if not len(calibration_images):
        raise DataError(
            "there are no calibration images to learn the ranges from",
            hint='give a few hundred training images: compose_pins(256, split="train").images',
        )
    require("onnx", extra="onnx")
    out_path = writable_path(out_path)
    onnx_session(onnx_path)  # says clearly what is wrong with a file that is no reader
    if _quantized_layers(onnx_path):
        raise DataError(
            f"{onnx_path} is quantized already", hint="quantize the fp32 file that export_onnx wrote"
        )

    with quiet_quantizer(), drafted(out_path) as draft:
        _quantize(Path(onnx_path), draft, calibration_images, recipe)
        layers = _quantized_layers(draft)
        if not np.isfinite(onnx_session(draft).predict(calibration_images[:1])).all() or not layers:
            raise RunFailed(
                f"the int8 graph of {onnx_path} has {layers} quantized layers or gives no finite logits",
                hint="check the weights of the fp32 file",
            )
        size = draft.stat().st_size
    ratio = Path(onnx_path).stat().st_size / size
    return QuantizeReport(out_path, size, ratio, len(calibration_images), layers)


def _quantize(onnx_path: Path, draft: Path, images: np.ndarray, recipe: Recipe) -> None:
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = draft.with_suffix(".prepared.onnx")
    # folds constants and names every shape; its symbolic part adds nothing for a graph this plain
    quant_pre_process(str(onnx_path), str(prepared), skip_symbolic_shape=True)
    signed = recipe.activation == "int8"
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    quantize_static(
        str(prepared),
        str(draft),
        _reader(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(_OPERATORS),
        nodes_to_quantize=_chosen_layers(prepared, recipe.layers),
        per_channel=recipe.per_channel,
        reduce_range=recipe.reduce_range,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=methods[recipe.method],
        extra_options={"ActivationSymmetric": signed, "WeightSymmetric": True},
    )


def _chosen_layers(path: Path, layers: str) -> list[str]:
    onnx = require("onnx", extra="onnx")
    graph = onnx.load(str(path)).graph
    weights = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    found = [node for node in graph.node if node.op_type in _OPERATORS]
    sizes = {node.name: weights.get(node.input[1], 0) for node in found}
    smallest = 0 if layers == "all" else _LARGE_SHARE * sum(sizes.values())
    skipped = {node.name for node in found if layers == "dense" and node.op_type == "Conv"}
    return [name for name, size in sizes.items() if size >= smallest and name not in skipped]


def _reader(images: np.ndarray) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self._batch = min(_BATCH, len(images))
            self._starts = iter(range(0, len(images), self._batch))

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            start = next(self._starts, None)
            if start is None:
                return None
            # the histogram methods stack what they collect: a short last batch is filled from the front
            batch = images.take(range(start, start + self._batch), axis=0, mode="wrap")
            return {"images": batch}

    return Batches()


def _quantized_layers(path: Path | str) -> int:
    """Count the convolutions and products whose inputs all come out of a DequantizeLinear."""
    onnx = require("onnx", extra="onnx")
    graph = onnx.load(str(path)).graph
    dequantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return sum(node.op_type in _OPERATORS and set(node.input[:2]) <= dequantized for node in graph.node)


@contextmanager
def quiet_quantizer() -> Iterator[None]:
    """Hold back the quantizer's prints, its advice to pre-process (which was done) and its deprecations."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)
