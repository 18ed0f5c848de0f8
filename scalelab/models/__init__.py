"""The PIN reader: an over-sized network as a first notebook would hold it, its file and its score.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scalelab.core.lazy import require

if TYPE_CHECKING:
    from scalelab.models.checkpoint import load_reader, save_reader
    from scalelab.models.reader import PinReader
    from scalelab.models.score import Accuracy, accuracy

__all__ = ["Accuracy", "PinReader", "accuracy", "load_reader", "save_reader"]

_HOMES = {
    "checkpoint": ("load_reader", "save_reader"),
    "reader": ("PinReader",),
    "score": ("Accuracy", "accuracy"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            if module != "score":
                require("torch", extra="torch")
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
