"""One `predict` over several runtimes: torch eager for ``.safetensors``, ONNX Runtime for ``.onnx``.

Shapes in this file: images ``(N, 28, 168) uint8``, logits ``(N, 6, 10) float32``.
Torch is imported only when a torch session is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from scalelab.core.errors import ConfigError, DataError, did_you_mean
from scalelab.core.lazy import require

if TYPE_CHECKING:
    from scalelab.compress.service import PinService

IMAGE_SHAPE = (28, 168)
"""rows and columns of a PIN image: six digits of 28 columns"""
LOGITS_SHAPE = (6, 10)
"""digits of a PIN, and classes of a digit"""
CPU_PROVIDER = "CPUExecutionProvider"


@runtime_checkable
class Session(Protocol):
    """A loaded model, ready to predict."""

    name: str
    """``torch`` or ``onnx``, and the file's stem"""
    path: Path
    bytes: int
    """size of the file"""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Map images ``(N, 28, 168) uint8`` to logits ``(N, 6, 10) float32``; no images give no rows.

        Raises:
            DataError: another shape or dtype.
        """
        ...


class _TorchSession:
    def __init__(self, path: Path, threads: int):
        torch = require("torch", extra="torch")
        from scalelab.models import load_reader

        torch.set_num_threads(threads)
        self.name = f"torch {path.stem}"
        self.path = path
        self.bytes = path.stat().st_size
        self._torch = torch
        self._model = load_reader(path).eval()

    def predict(self, images: np.ndarray) -> np.ndarray:
        check_images(images)
        if not len(images):
            return _no_logits()
        # torch warns about memory that it may not write to, which is what an image from a socket is
        tensor = self._torch.from_numpy(np.require(images, requirements=["C", "W"]))
        with self._torch.inference_mode():
            logits: np.ndarray = self._model(tensor).numpy()
        return logits


class _OnnxSession:
    def __init__(self, path: Path, threads: int, provider: str):
        runtime = require("onnxruntime", extra="onnx")
        listed = runtime.get_available_providers()
        if provider not in listed:
            raise ConfigError(
                f"the installed onnxruntime has no {provider}", hint=did_you_mean(provider, listed)
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # threads that spin between calls take the core from the gateway and the other workers
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = runtime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # the runtime's own classes differ between its versions
            if provider != CPU_PROVIDER:
                raise ConfigError(
                    f"{provider} cannot open {path}: {_first_line(error)}", hint="does the CPU open it?"
                ) from None
            raise DataError(
                f"{path} is not an ONNX model: {_first_line(error)}", hint="export it again"
            ) from None
        if session.get_providers()[0] != provider:  # it prints a line and goes on with the CPU
            raise ConfigError(
                f"{provider} is listed, but cannot be used on this machine",
                hint="scalelab.compress.graphs.check_provider says why; or take the CPU",
            )
        takes, gives = session.get_inputs(), session.get_outputs()
        if _signature(takes) != [("tensor(uint8)", IMAGE_SHAPE)] or _signature(gives) != [
            ("tensor(float)", LOGITS_SHAPE)
        ]:
            raise DataError(
                f"{path} is no PIN reader: {_described(takes)} to {_described(gives)}",
                hint="wanted uint8 [batch, 28, 168] to float [batch, 6, 10], as export_onnx writes",
            )
        self.name = f"onnx {path.stem}"
        self.path = path
        self.bytes = path.stat().st_size
        self._input = takes[0].name
        self._run = session.run

    def predict(self, images: np.ndarray) -> np.ndarray:
        check_images(images)
        if not len(images):
            return _no_logits()
        logits: np.ndarray = self._run(None, {self._input: images})[0]
        return logits


def torch_session(path: Path | str, threads: int = 1) -> Session:
    """Open weights that `scalelab.models.save_reader` wrote, in torch's eager mode.

    `threads` is torch's own setting and holds for the whole process, not for this session alone.

    Raises:
        DataError: the file is missing or no reader.
    """
    return _TorchSession(_existing(path), _checked_threads(threads))


def onnx_session(path: Path | str, threads: int = 1, *, provider: str = CPU_PROVIDER) -> Session:
    """Open an ONNX file of a PIN reader in ONNX Runtime, on the CPU or on another of its providers.

    With one thread a call runs on the caller's thread alone: processes scale better than threads here.

    Raises:
        ConfigError: the provider is not in this build, or it is and does not start on this machine.
        DataError: the file is missing, no ONNX model, or one with another input or output.
    """
    return _OnnxSession(_existing(path), _checked_threads(threads), provider)


def open_session(path: Path | str, threads: int = 1) -> Session:
    """Open a model by its suffix: ``.safetensors`` in torch, ``.onnx`` in ONNX Runtime.

    Raises:
        ConfigError: another suffix.
        DataError: the file is missing, or not what its suffix says.
    """
    factories = {".safetensors": torch_session, ".onnx": onnx_session}
    suffix = Path(path).suffix
    if suffix not in factories:
        raise ConfigError(
            f"no runtime for {str(path)!r}", hint=f"give a file that ends in {' or '.join(factories)}"
        )
    return factories[suffix](path, threads)


def pin_service(path: str, threads: int = 1) -> PinService:
    """Open the model at `path` as a service that names the PIN, its confidence and its district.

    This is what a serving worker loads by the string ``scalelab.compress.runtimes:pin_service``.
    """
    from scalelab.compress.service import PinService

    return PinService(open_session(path, threads))


def check_images(images: Any) -> None:
    """Make sure that these are images of PINs.

    Raises:
        DataError: not an array of shape ``(N, 28, 168)`` and dtype uint8.
    """
    if not isinstance(images, np.ndarray):
        raise DataError(f"images are a {type(images).__name__}, not an array", hint="give np.asarray(...)")
    if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE:
        raise DataError(
            f"images are {images.shape} {images.dtype}, wanted (N, 28, 168) uint8",
            hint="one image alone is image[None]; 0 is paper, 255 is ink",
        )


def writable_path(path: Path | str) -> Path:
    """Return `path` as a place for a new ``.onnx`` file, its folder made.

    Raises:
        ConfigError: another suffix, a folder stands there, or its own folder cannot be made.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ConfigError(
            f"{str(path)!r} is no name for an ONNX file", hint=f"try {path.with_suffix('.onnx').name!r}"
        )
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="give the name of a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {path.parent}: {error.strerror}", hint="choose another folder"
        ) from None
    return path


def _signature(ends: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return type and shape of every end of a graph, the batch left out if it is free."""
    is_free = [bool(end.shape) and not isinstance(end.shape[0], int) for end in ends]
    return [(end.type, tuple(end.shape[free:])) for end, free in zip(ends, is_free, strict=True)]


def _described(ends: Any) -> str:
    return ", ".join(f"{end.name} {end.type} {end.shape}" for end in ends) or "nothing"


def _no_logits() -> np.ndarray:
    return np.empty((0, *LOGITS_SHAPE), np.float32)  # a reshape to -1 of nothing fails in the graph


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        makes = "scalelab.compress.export_onnx" if path.suffix == ".onnx" else "scalelab train"
        raise DataError(f"there is no model file {str(path)!r}", hint=f"make it first: {makes}")
    return path


def _checked_threads(threads: int) -> int:
    if threads < 1:
        raise ConfigError(f"{threads} threads cannot run a model", hint="give 1 or more")
    return threads


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
