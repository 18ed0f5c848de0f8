"""A training's whole state in one file that is never half: written aside, synced, moved into place, hashed.

safetensors (plain numbers, no pickle); everything that is no tensor stands as JSON in the header.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from scalelab.core.errors import DataError
from scalelab.core.lazy import require
from scalelab.models.checkpoint import write_whole

_NAME = re.compile(r"step_(\d{8})\.safetensors")
_FORMAT = "scalelab.checkpoint/1"


class TornCheckpointWarning(UserWarning):
    """A checkpoint is damaged and was passed over; the one before it is taken."""


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on as if nothing had happened."""

    step: int
    """optimizer steps that were taken"""
    architecture: str
    config: dict[str, Any]
    """what builds the model again"""
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    """as ``optimizer.state_dict()`` gives it"""
    sampler: dict[str, Any] = field(default_factory=dict)
    """as ``sampler.state()`` gives it"""
    random_states: tuple[Tensor, ...] = ()
    """torch's random state of rank 0, 1, ..."""


def save_checkpoint(checkpoint: Checkpoint, path: Path | str) -> Path:
    """Write a checkpoint; when this returns, it is on the disk under its name, and whole.

    A kill at any moment leaves the file that was there before, or the new one.

    Raises:
        DataError: the folder cannot be written, or is full; what was there before still is.
    """
    to_bytes = require("safetensors.torch", extra="torch").save
    path = Path(path)
    tensors = {f"model.{name}": tensor for name, tensor in checkpoint.model.items()}
    tensors |= {f"random.{rank}": state for rank, state in enumerate(checkpoint.random_states)}
    plain_state: dict[str, dict[str, Any]] = {}
    for number, state in checkpoint.optimizer["state"].items():
        plain_state[str(number)] = {}
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{key}"] = value
            else:
                plain_state[str(number)][key] = value
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {
        "format": _FORMAT,
        "architecture": checkpoint.architecture,
        "config": json.dumps(checkpoint.config),
        "step": str(checkpoint.step),
        "sampler": json.dumps(checkpoint.sampler),
        "optimizer": json.dumps({"state": plain_state, "groups": checkpoint.optimizer["param_groups"]}),
    }
    about["sha256"] = _hash(tensors, about)
    write_whole(path, to_bytes(tensors, about), hint="free some space, or choose another folder")
    return path


def load_checkpoint(path: Path | str, *, architecture: str, config: dict[str, Any]) -> Checkpoint:
    """Read a checkpoint of the model that is to go on.

    Raises:
        DataError: the file is missing, torn, changed by so much as a bit, or of another model (the message
            has both).
    """
    path = Path(path)
    library = require("safetensors", extra="torch")
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}", hint="begin anew, or give another folder")
    try:
        with library.safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (library.SafetensorError, OSError) as error:
        raise DataError(f"{path} is torn, or no checkpoint: {error}", hint=_TAKE_EARLIER) from None
    if about.get("format") != _FORMAT:
        raise DataError(
            f"{path} is of format {about.get('format')!r}, expected {_FORMAT!r}",
            hint="give a file that save_checkpoint wrote",
        )
    found = _hash(tensors, about)
    if found != about.get("sha256"):
        raise DataError(
            f"{path} is damaged: its content has sha256 {found[:16]}..., written was "
            f"{about.get('sha256', 'none')[:16]}...",
            hint=_TAKE_EARLIER,
        )
    held, wanted = (about["architecture"], json.loads(about["config"])), (architecture, config)
    if held != wanted:
        raise DataError(
            f"{path} holds {_shown(*held)}, expected {_shown(*wanted)}",
            hint="build the model that the checkpoint was taken of, or begin anew in another folder",
        )
    return _unpack(tensors, about)


def restore(
    checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer, sampler: Any, *, rank: int
) -> None:
    """Put a checkpoint's state into a training's parts, and torch's random state of this rank.

    Raises:
        DataError: the optimizer is over other parameters.
        ConfigError: the sampler is over other data.
    """
    try:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict(checkpoint.optimizer)
    except (ValueError, RuntimeError) as error:
        raise DataError(
            f"the checkpoint of step {checkpoint.step} does not fit: {error}",
            hint="build model and optimizer as they were when it was taken",
        ) from None
    sampler.restore(checkpoint.sampler)
    if rank < len(checkpoint.random_states):
        torch.set_rng_state(checkpoint.random_states[rank])


def checkpoint_path(folder: Path | str, step: int) -> Path:
    """Return where the checkpoint of a step lies."""
    return Path(folder) / f"step_{step:08d}.safetensors"


def newest_checkpoint(folder: Path | str, *, architecture: str, config: dict[str, Any]) -> Checkpoint | None:
    """Return the newest whole checkpoint of a folder, or None where there is none.

    One that is damaged is passed over with a warning; one of another model raises, since a training must not
    begin anew over it.

    Raises:
        DataError: as `load_checkpoint`, for another model; or all checkpoints are damaged.
    """
    found = sorted(path for path in Path(folder).glob("step_*.safetensors") if _NAME.fullmatch(path.name))
    for path in reversed(found):
        try:
            return load_checkpoint(path, architecture=architecture, config=config)
        except DataError as error:
            if error.hint != _TAKE_EARLIER or path == found[0]:
                raise
            warnings.warn(f"{error.message}; the one before it is taken", TornCheckpointWarning, stacklevel=2)
    return None


def drop_old_checkpoints(folder: Path | str, *, keep: int = 2) -> None:
    """Remove all but the newest `keep` checkpoints."""
    found = sorted(path for path in Path(folder).glob("step_*.safetensors") if _NAME.fullmatch(path.name))
    for path in found[:-keep]:
        path.unlink(missing_ok=True)


_TAKE_EARLIER = "remove it: the checkpoint before it is taken then"


def _hash(tensors: dict[str, Tensor], about: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for key in sorted(about.keys() - {"sha256"}):
        digest.update(f"{key}={about[key]}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _unpack(tensors: dict[str, Tensor], about: dict[str, str]) -> Checkpoint:
    plain = json.loads(about["optimizer"])
    state: dict[int, dict[str, Any]] = {int(number): dict(rest) for number, rest in plain["state"].items()}
    model, random = {}, {}
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        if kind == "model":
            model[rest] = tensor
        elif kind == "random":
            random[int(rest)] = tensor
        else:
            number, key = rest.split(".", 1)
            state[int(number)][key] = tensor
    return Checkpoint(
        int(about["step"]),
        about["architecture"],
        json.loads(about["config"]),
        model,
        {"state": state, "param_groups": plain["groups"]},
        json.loads(about["sampler"]),
        tuple(random[rank] for rank in sorted(random)),
    )


def _shown(architecture: str, config: dict[str, Any]) -> str:
    return f"{architecture}({', '.join(f'{key}={value}' for key, value in config.items())})"
