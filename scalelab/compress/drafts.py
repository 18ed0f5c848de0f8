"""A file is made beside its place and moved there when it is good: it is the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalelab.core.errors import ConfigError

_KINDS = {".onnx": "an ONNX file", ".xml": "an OpenVINO model"}


@contextmanager
def drafted(path: Path | str, suffix: str = ".onnx") -> Iterator[Path]:
    """Give the path of a draft that becomes `path` if the block ends well; an error leaves `path` as it was.

    An ``.xml`` brings its weights along, a ``.bin`` beside it, which is moved first.

    Raises:
        ConfigError: `path` is no place for a file of this suffix.
    """
    path = writable_path(path, suffix)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as aside:
        draft = Path(aside) / path.name
        yield draft
        if suffix == ".xml":
            os.replace(draft.with_suffix(".bin"), path.with_suffix(".bin"))
        os.replace(draft, path)


def writable_path(path: Path | str, suffix: str = ".onnx") -> Path:
    """Return `path` as a place for a new ``.onnx`` (or ``.xml``) file, its folder made.

    Raises:
        ConfigError: another suffix, a folder stands there, or its own folder cannot be made.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ConfigError(
            f"{str(path)!r} is no name for {_KINDS[suffix]}", hint=f"try {path.with_suffix(suffix).name!r}"
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
