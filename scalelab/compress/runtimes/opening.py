"""Open a model by what its file is, or in the runtime that is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.compress.runtimes.face import Session
from scalelab.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from scalelab.compress.service import PinService

RUNTIMES = ("torch", "torch.compile", "onnxruntime", "openvino")
"""what `open_session` opens a model in"""
_OPENERS = {
    "torch": ("eager", "torch_session"),
    "torch.compile": ("compiled", "compiled_session"),
    "onnxruntime": ("onnxrt", "onnx_session"),
    "openvino": ("intel", "openvino_session"),
}
_BY_SUFFIX = {
    ".safetensors": ("torch", "torch.compile"),
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
}
"""the first one is taken where none is asked for"""


def open_session(path: Path | str, threads: int = 1, *, runtime: str = "") -> Session:
    """Open a model: ``.safetensors`` in torch, ``.onnx`` in ONNX Runtime, ``.xml`` in OpenVINO.

    Args:
        runtime: one of `RUNTIMES`, where a file can be opened in another one: ``torch.compile`` for
            ``.safetensors``, ``openvino`` for ``.onnx``.

    Raises:
        ConfigError: another suffix, or a runtime that reads no such file.
        DataError: the file is missing, or not what its suffix says.
        MissingDependency: the runtime is not installed.
    """
    suffix = Path(path).suffix
    if suffix not in _BY_SUFFIX:
        raise ConfigError(
            f"no runtime for {str(path)!r}", hint=f"give a file that ends in {' or '.join(_BY_SUFFIX)}"
        )
    if runtime and runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime {runtime!r}", hint=did_you_mean(runtime, RUNTIMES))
    able = _BY_SUFFIX[suffix]
    if runtime and runtime not in able:
        raise ConfigError(
            f"{runtime} reads no {suffix} file", hint=f"{Path(path).name!r} opens in {' or '.join(able)}"
        )
    module, name = _OPENERS[runtime or able[0]]
    session: Session = getattr(import_module(f"scalelab.compress.runtimes.{module}"), name)(path, threads)
    return session


def pin_service(path: str, threads: int = 1) -> PinService:
    """Open the model at `path` as a service that names the PIN, its confidence and its district.

    This is what a serving worker loads by the string ``scalelab.compress.runtimes:pin_service``.
    """
    from scalelab.compress.service import PinService

    return PinService(open_session(path, threads))
