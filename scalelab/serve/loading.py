"""A model that is fit to serve: loaded whole, warm, with answers that can be sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.serve.contract import Contract, load_contract
from scalelab.serve.protocol import DONE, answer
from scalelab.serve.service import Service, load_service, predict_bytes
from scalelab.serve.settings import StackSettings


@dataclass(frozen=True)
class LoadedModel:
    """What a worker runs."""

    service: Service
    contract: Contract
    version: str
    """of the file's content, the same on every machine: answers name it"""


def model_version(model_path: str | Path) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of the model's file."""
    with Path(model_path).open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:12]


def load_model(settings: StackSettings) -> LoadedModel:
    """Load the model and run it on blank items: first runs plan memory and are slow.

    Raises:
        ConfigError, DataError: it cannot be loaded, does not fit the contract, gives what is no JSON, or its
            file was written while it was read.
    """
    contract = load_contract(settings.contract)
    path = settings.model_path
    before = model_version(path) if Path(path).is_file() else ""
    service = load_service(settings.model, path, threads=settings.threads)
    for size in (1, settings.policy.max_batch):
        warm_up(service, contract, size, path)
    if model_version(path) != before:
        raise DataError(
            f"{path} was written while it was loaded",
            hint="write a model under another name and rename it when it is whole",
        )
    return LoadedModel(service, contract, before)


def warm_up(service: Service, contract: Contract, size: int, path: str) -> None:
    """Run blank items once: a first run plans memory and is slow, and shows whether the model fits.

    Raises:
        DataError: it raised, gave another number of results, or what is no JSON; `path` is its file.
    """
    name = Path(path).name
    shape = f"{size} x {contract.shape} {contract.dtype}"
    try:
        results = list(predict_bytes(service, contract, [bytes(contract.payload_bytes)] * size))
    except Exception as error:
        raise DataError(
            f"{name} does not run on {shape}: {type(error).__name__}: {str(error)[:300]}",
            hint=f"it must take what /v1/{contract.noun} takes; is this another model's file?",
        ) from error
    if len(results) != size:
        raise DataError(f"{name} gave {len(results)} results for {shape}", hint="one result an item")
    try:
        answer("", DONE, result=results[0])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} gave a result that is no JSON: {error}", hint="give plain numbers, text, lists, dicts"
        ) from None
