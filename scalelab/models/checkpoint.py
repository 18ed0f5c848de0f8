"""The file of a reader: safetensors (plain numbers, no pickle), its configuration in the header.

A file is written beside its place and moved there in one step: it is the old one or the new one, never half.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.core.lazy import require
from scalelab.models.reader import ARCHITECTURE, PinReader


def save_reader(model: PinReader, path: Path | str) -> Path:
    """Write the weights and the configuration of `model`; return the path.

    Raises:
        DataError: the folder cannot be written.
    """
    to_bytes = require("safetensors.torch", extra="torch").save
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = to_bytes(tensors, {"architecture": ARCHITECTURE, "config": json.dumps(model.config)})
    write_whole(path, content, hint="choose another folder for --out")
    return path


def load_reader(path: Path | str) -> PinReader:
    """Build the reader that a file holds, in evaluation mode.

    Raises:
        DataError: the file is missing, torn, no safetensors file, or holds another architecture.
    """
    path = Path(path)
    safe_open = require("safetensors", extra="torch").safe_open
    unreadable = require("safetensors", extra="torch").SafetensorError
    if not path.is_file():
        raise DataError(f"there is no model file {path}", hint="train one: scalelab train")
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (unreadable, OSError) as error:
        raise DataError(
            f"{path} is no safetensors file, or only a part of one: {error}",
            hint="train again: scalelab train",
        ) from None
    if about.get("architecture") != ARCHITECTURE:
        raise DataError(
            f"{path} holds {about.get('architecture', 'something else')!r}, expected {ARCHITECTURE!r}",
            hint="give a file that scalelab train wrote",
        )
    try:
        model = PinReader(**json.loads(about["config"]))
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the weights in {path} do not fit their configuration {about.get('config')}: {error}",
            hint="train again: scalelab train",
        ) from None
    return model.eval()


def write_whole(path: Path, content: bytes, *, hint: str) -> None:
    """Write a file beside its place, sync it, move it there in one step: the old one or the new, never half.

    Raises:
        DataError: it cannot be written; what was there before still is.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it readable by its owner only
        os.replace(temporary, path)
        if hasattr(os, "O_DIRECTORY"):  # the new name must be on the disk too
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error.strerror}", hint=hint) from None
