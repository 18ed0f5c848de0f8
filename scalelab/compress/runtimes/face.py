"""What every session is: images in, logits out, and the same errors whatever runtime is behind it.

Shapes in this package: images ``(N, 28, 168) uint8``, logits ``(N, 6, 10) float32``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from scalelab.core.errors import ConfigError, DataError

IMAGE_SHAPE = (28, 168)
"""rows and columns of a PIN image: six digits of 28 columns"""
LOGITS_SHAPE = (6, 10)
"""digits of a PIN, and classes of a digit"""


@runtime_checkable
class Session(Protocol):
    """A loaded model, ready to predict."""

    name: str
    """the runtime (one of `RUNTIMES`) and the file's stem"""
    path: Path
    bytes: int
    """size of the file; where a model is two files, of both"""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Map images ``(N, 28, 168) uint8`` to logits ``(N, 6, 10) float32``; no images give no rows.

        Raises:
            DataError: another shape or dtype.
        """
        ...


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


def no_logits() -> np.ndarray:
    """Return the logits of no images: a reshape to -1 of nothing fails in the graph."""
    return np.empty((0, *LOGITS_SHAPE), np.float32)


def existing(path: Path | str, *suffixes: str) -> Path:
    """Return `path` if a file of one of the `suffixes` stands there.

    Raises:
        ConfigError: another suffix: this runtime reads no such file.
        DataError: there is no file.
    """
    path = Path(path)
    if suffixes and path.suffix not in suffixes:
        raise ConfigError(
            f"this runtime reads {' or '.join(suffixes)}, not {path.name!r}", hint=_another_way(suffixes)
        )
    if not path.is_file():
        makes = {".onnx": "scalelab.compress.export_onnx", ".xml": "scalelab.compress.quantize_openvino"}
        raise DataError(
            f"there is no model file {str(path)!r}",
            hint=f"make it first: {makes.get(path.suffix, 'scalelab train')}",
        )
    return path


def checked_threads(threads: int) -> int:
    """Return `threads`.

    Raises:
        ConfigError: fewer than one.
    """
    if threads < 1:
        raise ConfigError(f"{threads} threads cannot run a model", hint="give 1 or more")
    return threads


@dataclass(frozen=True)
class End:
    """An input or output of a graph."""

    name: str
    dtype: str
    """as NumPy calls it"""
    shape: tuple[int | None, ...]
    """None where the size is free"""

    def __str__(self) -> str:
        sizes = ", ".join("free" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} [{sizes}]"


def need_reader(path: Path, takes: Sequence[End], gives: Sequence[End]) -> None:
    """Make sure that a graph has a PIN reader's input and output, with a free batch size.

    Raises:
        DataError: other ends.
    """
    wanted = [("uint8", (None, *IMAGE_SHAPE))], [("float32", (None, *LOGITS_SHAPE))]
    if ([(end.dtype, end.shape) for end in takes], [(end.dtype, end.shape) for end in gives]) != wanted:
        shown = [", ".join(map(str, ends)) or "nothing" for ends in (takes, gives)]
        raise DataError(
            f"{path} is no PIN reader: {shown[0]} to {shown[1]}",
            hint="wanted uint8 [batch, 28, 168] to float32 [batch, 6, 10], as export_onnx writes",
        )


def first_line(error: BaseException) -> str:
    """Return the beginning of what an error says: a runtime's messages may be pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _another_way(suffixes: Sequence[str]) -> str:
    if ".onnx" in suffixes:
        return "export_onnx makes an .onnx file of a torch module"
    return "an ONNX file opens in ONNX Runtime or OpenVINO"
