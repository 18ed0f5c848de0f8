"""The reader as a service: a gateway, a broker and workers, each a process of its own.

Each name is loaded when it is first used; web server, broker's client and model only in their own processes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalelab.serve.batching import BatchPolicy
    from scalelab.serve.broker import BrokerLimits
    from scalelab.serve.protocol import IMAGE_SHAPE
    from scalelab.serve.settings import StackSettings
    from scalelab.serve.stack import Stack, running_stack, start_stack

__all__ = [
    "IMAGE_SHAPE",
    "BatchPolicy",
    "BrokerLimits",
    "Stack",
    "StackSettings",
    "running_stack",
    "start_stack",
]

_HOMES = {
    "batching": ("BatchPolicy",),
    "broker": ("BrokerLimits",),
    "protocol": ("IMAGE_SHAPE",),
    "settings": ("StackSettings",),
    "stack": ("Stack", "running_stack", "start_stack"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
