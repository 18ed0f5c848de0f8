"""Compress: the same reader as an ONNX graph, as int8, and behind one `predict`; each measured in pairs.

Everything is loaded when it is first used: a serving worker that runs an ONNX file never imports torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "ExportReport": "export",
    "export_onnx": "export",
    "QuantizeReport": "quantize",
    "Recipe": "quantize",
    "quantize_static": "quantize",
    "Session": "runtimes",
    "onnx_session": "runtimes",
    "open_session": "runtimes",
    "pin_service": "runtimes",
    "torch_session": "runtimes",
    "PinService": "service",
    "LatencyRow": "compare",
    "compare_accuracy": "compare",
    "compare_latency": "compare",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
