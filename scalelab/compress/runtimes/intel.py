"""OpenVINO: the same ONNX file, compiled for the very processor that it runs on.

The package brings no telemetry with reading and running models; its converter, which does, is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.runtimes.face import (
    End,
    Session,
    check_images,
    checked_threads,
    existing,
    need_reader,
    no_logits,
)
from scalelab.core.errors import ConfigError, DataError, did_you_mean
from scalelab.core.lazy import require

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""types that what is no integer is computed in -> OpenVINO's names of them"""


class _OpenvinoSession:
    def __init__(self, path: Path, threads: int, device: str, precision: str):
        model = read_graph(path)
        need_reader(path, _ends(model.inputs), _ends(model.outputs))
        self.name = f"openvino {path.stem}"
        self.path = path
        self.bytes = bytes_of(path)
        self._request = start_graph(model, path, threads, device, precision)

    def predict(self, images: np.ndarray) -> np.ndarray:
        check_images(images)
        if not len(images):
            return no_logits()
        # shared where it can be; the result is copied, since the next call writes to the same place
        self._request.infer([np.ascontiguousarray(images)], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data)


def openvino_session(
    path: Path | str, threads: int = 1, *, device: str = "CPU", precision: str = "float32"
) -> Session:
    """Open a reader's ``.onnx``, or an ``.xml`` that `quantize_openvino` wrote, in OpenVINO.

    On processors with bfloat16 instructions OpenVINO computes in bfloat16 unless told otherwise: faster, and
    logits are only right to two or three digits. Here float32 is the default, so that a comparison with
    another runtime compares the same arithmetic.

    Args:
        threads: of this session alone.
        device: one that OpenVINO lists here: ``CPU`` everywhere, ``GPU`` on machines with Intel graphics.
        precision: ``float32`` or ``bfloat16``, for all that is not quantized.

    Raises:
        MissingDependency: OpenVINO is not installed.
        ConfigError: the device is not on this machine, no such precision, or a file of another suffix.
        DataError: the file is missing, no model, or one with another input or output.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision {precision!r}", hint=did_you_mean(precision, PRECISIONS))
    return _OpenvinoSession(existing(path, ".onnx", ".xml"), checked_threads(threads), device, precision)


def devices() -> list[str]:
    """Return the devices that OpenVINO can really use here, ``CPU`` among them."""
    openvino = require("openvino", extra="openvino")
    return [str(name) for name in openvino.Core().available_devices]


def read_graph(path: Path) -> Any:
    """Return the ``openvino.Model`` of an ONNX or IR file.

    Raises:
        DataError: it holds none.
    """
    openvino = require("openvino", extra="openvino")
    if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
        raise DataError(
            f"{path} has no weights: {path.with_suffix('.bin').name} is not beside it",
            hint="an OpenVINO model is two files; copy both",
        )
    # asked by name: `Core.read_model` tries every format it knows, and some of them complain on stderr
    kind, called = ("onnx", "an ONNX model") if path.suffix == ".onnx" else ("ir", "an OpenVINO model")
    try:
        frontend = openvino.frontend.FrontEndManager().load_by_framework(kind)
        return frontend.convert(frontend.load(str(path)))
    except Exception as error:  # RuntimeError and others, by version
        raise DataError(f"{path} is not {called}: {_reason(error)}", hint="export it again") from None


def start_graph(model: Any, path: Path, threads: int, device: str, precision: str) -> Any:
    """Compile a model for a device and return an ``openvino.InferRequest``.

    Raises:
        ConfigError: the device is not on this machine.
        DataError: the device has no kernels for this model.
    """
    openvino = require("openvino", extra="openvino")
    core = openvino.Core()
    found = [str(name) for name in core.available_devices]
    if device not in found:
        raise ConfigError(f"OpenVINO finds no device {device!r} here", hint=did_you_mean(device, found))
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
    }
    if device == "CPU":
        # pinned threads fight with the neighbours for the same core
        settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    try:
        return core.compile_model(model, device, settings).create_infer_request()
    except Exception as error:
        raise DataError(
            f"OpenVINO cannot compile {path} for {device}: {_reason(error)}",
            hint="does ONNX Runtime open it?",
        ) from None


def bytes_of(path: Path) -> int:
    """Return the size of a model [bytes], the weights beside an ``.xml`` included."""
    files = (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,)
    return sum(file.stat().st_size for file in files)


def _reason(error: Exception) -> str:
    """Return the line that says why; the first ones of OpenVINO name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [
        line for line in lines if not line.startswith(("Exception from", "Check ", "FrontEnd API failed"))
    ]
    return (kept or ["OpenVINO cannot read it"])[0][:200]


def _ends(ends: Any) -> list[End]:
    return [
        End(
            end.get_any_name() if end.get_names() else "unnamed",
            np.dtype(end.get_element_type().to_dtype()).name,
            tuple(size.get_length() if size.is_static else None for size in end.get_partial_shape()),
        )
        for end in ends
    ]
