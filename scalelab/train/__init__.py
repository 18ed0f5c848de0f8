"""Training the PIN reader: a plain loop, accumulation over micro-batches, and data parallel processes.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scalelab.core.lazy import require

if TYPE_CHECKING:
    from scalelab.train.accumulate import IGNORE, StepReport, accumulate_gradients, accumulate_step
    from scalelab.train.accumulation_report import AccumulationReport, measure_accumulation
    from scalelab.train.ddp import DdpConfig, DdpReport, run_ddp
    from scalelab.train.loop import TrainConfig, TrainReport, predict, train_reader

__all__ = [
    "IGNORE",
    "AccumulationReport",
    "DdpConfig",
    "DdpReport",
    "StepReport",
    "TrainConfig",
    "TrainReport",
    "accumulate_gradients",
    "accumulate_step",
    "measure_accumulation",
    "predict",
    "run_ddp",
    "train_reader",
]

_HOMES = {
    "accumulate": ("IGNORE", "StepReport", "accumulate_gradients", "accumulate_step"),
    "accumulation_report": ("AccumulationReport", "measure_accumulation"),
    "ddp": ("DdpConfig", "DdpReport", "run_ddp"),
    "loop": ("TrainConfig", "TrainReport", "predict", "train_reader"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            require("torch", extra="torch")
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
