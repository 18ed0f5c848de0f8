"""The model as the service sees it: an object with `predict_batch`, made by a factory named as text."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from scalelab.core.errors import ConfigError, DataError
from scalelab.serve.contract import Contract

DEFAULT_MODEL = "scalelab.compress.runtimes:pin_service"
"""named, not imported: a gateway must never load torch or a runtime"""


class Service(Protocol):
    """What a factory ``factory(path, threads=1)`` returns."""

    def predict_batch(self, items: Any) -> list[dict[str, Any]]:
        """Map ``(N, *shape)`` of the contract's dtype to N results, each ready for JSON."""


def check_model(model: str, model_path: str) -> None:
    """Refuse a model that cannot be loaded, before any process is started; imports nothing.

    Raises:
        ConfigError: `model` is not of the form ``module:factory``.
        DataError: there is no file at `model_path`.
    """
    module, colon, factory = model.partition(":")
    if not (colon and module and factory.isidentifier()):
        raise ConfigError(
            f"{model!r} names no model factory", hint=f"give module:factory, like {DEFAULT_MODEL}"
        )
    if not Path(model_path).is_file():
        raise DataError(
            f"there is no model file {model_path or '(none given)'}",
            hint="give --model-path FILE.onnx or FILE.safetensors; `scalelab demo` makes both",
        )


def load_service(model: str, model_path: str, *, threads: int = 1) -> Service:
    """Import the factory and load the model.

    Raises:
        ConfigError: the module or the factory does not exist.
        DataError: there is no file at `model_path`.
    """
    check_model(model, model_path)
    module, _, name = model.partition(":")
    try:
        factory: Callable[..., Service] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the model {model!r} cannot be imported: {error}",
            hint="is its package installed, its folder on PYTHONPATH?",
        ) from None
    except AttributeError:
        raise ConfigError(
            f"the module {module} has no {name!r}", hint="check the name after the colon"
        ) from None
    return factory(model_path, threads=threads)


def predict_bytes(service: Service, contract: Contract, payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Run the service once on payloads as they come over the wire; the array is read-only."""
    import numpy as np

    content = payloads[0] if len(payloads) == 1 else b"".join(payloads)
    batch = np.frombuffer(content, dtype=contract.dtype).reshape(len(payloads), *contract.shape)
    return service.predict_batch(batch)
