"""int8 by NNCF, OpenVINO's own quantizer: calibrated on real images, written as an OpenVINO model.

NNCF reports its use to its makers over the network unless told otherwise; here it is told otherwise.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.drafts import drafted, writable_path
from scalelab.compress.quantize import QuantizeReport
from scalelab.compress.runtimes import check_images, openvino_session
from scalelab.compress.runtimes.intel import bytes_of, read_graph
from scalelab.core.errors import ConfigError, DataError, RunFailed, did_you_mean
from scalelab.core.lazy import require

PRESETS = ("performance", "mixed")


def quantize_openvino(
    onnx_path: Path | str,
    out_path: Path | str,
    calibration_images: np.ndarray,
    *,
    preset: str = "performance",
) -> QuantizeReport:
    """Write the int8 twin of an fp32 reader for OpenVINO: an ``.xml``, and a ``.bin`` beside it.

    Weights and activations of all convolutions and products become integers; where a layer's mean output
    moves by that, its bias takes it back (fast bias correction). Take training images, a few hundred.

    Args:
        onnx_path: what `export_onnx` wrote.
        out_path: ends in ``.xml``; replaced only by a model that loads and predicts.
        calibration_images: ``(N, 28, 168) uint8``.
        preset: ``performance`` (activations symmetric about zero) or ``mixed`` (with a zero point).

    Raises:
        MissingDependency: OpenVINO or NNCF is not installed.
        DataError: no calibration images, images of another shape, or `onnx_path` is no fp32 reader.
        ConfigError: no such preset, or `out_path` is no place for an ``.xml``.
        RunFailed: NNCF found nothing to quantize.
    """
    check_images(calibration_images)
    if not len(calibration_images):
        raise DataError(
            "there are no calibration images to learn the ranges from",
            hint='give a few hundred training images: compose_pins(256, split="train").images',
        )
    out_path = writable_path(out_path, ".xml")
    if preset not in PRESETS:
        raise ConfigError(f"no preset {preset!r}", hint=did_you_mean(preset, PRESETS))
    openvino_session(onnx_path)  # says clearly what is wrong with a file that is no reader
    graph = read_graph(Path(onnx_path))
    if quantized_layers(graph):
        raise DataError(
            f"{onnx_path} is quantized already", hint="quantize the fp32 file that export_onnx wrote"
        )
    with drafted(out_path, ".xml") as draft:
        layers = write_int8(graph, draft, [image[None] for image in calibration_images], preset=preset)
        if not np.isfinite(openvino_session(draft).predict(calibration_images[:1])).all():
            raise RunFailed(
                f"the int8 model of {onnx_path} gives no finite logits", hint="check the fp32 file's weights"
            )
        size = bytes_of(draft)
    ratio = Path(onnx_path).stat().st_size / size
    return QuantizeReport(out_path, size, ratio, len(calibration_images), layers)


def write_int8(
    graph: Any, path: Path, samples: Iterable[Any], *, preset: str, is_transformer: bool = False
) -> int:
    """Quantize an ``openvino.Model`` on `samples` (one input or dict of inputs each), save it, count layers.

    Raises:
        RunFailed: NNCF found nothing to quantize.
    """
    nncf, openvino = _quiet_nncf(), require("openvino", extra="openvino")
    samples = list(samples)
    with _quiet():
        int8 = nncf.quantize(
            graph,
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset(preset),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER if is_transformer else None,
        )
    layers = quantized_layers(int8)
    if not layers:
        raise RunFailed("NNCF found no layer to quantize", hint="does the graph have dense layers?")
    openvino.save_model(int8, str(path), compress_to_fp16=False)
    return layers


def quantized_layers(graph: Any) -> int:
    """Count the convolutions and products of an ``openvino.Model`` both of whose inputs are quantized."""
    kinds = {"Convolution", "GroupConvolution", "MatMul"}
    return sum(
        node.get_type_name() in kinds and all(_is_quantized(node.input_value(place)) for place in (0, 1))
        for node in graph.get_ops()
    )


def _is_quantized(value: Any) -> bool:
    """Tell whether a value comes out of a FakeQuantize, looking through what only moves numbers around."""
    node = value.get_node()
    while node.get_type_name() in {"Reshape", "Transpose", "Convert", "Multiply", "Subtract"}:
        if node.get_type_name() == "Convert" and node.input_value(0).get_element_type().to_string() == "i8":
            return True
        node = node.input_value(0).get_node()
    return node.get_type_name() == "FakeQuantize"


def _quiet_nncf() -> Any:
    """Import NNCF with its telemetry off and its progress bars and logs silent."""
    os.environ.setdefault("NNCF_CI", "1")  # read on import; without it use is reported, and nobody asked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nncf = require("nncf", extra="openvino")
    nncf.set_log_level(logging.ERROR)
    return nncf


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back NNCF's progress bars, and its warnings about its own internals."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
