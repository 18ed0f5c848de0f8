"""What every learner process starts from: a bare environment, the imports, the set-up cells."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin" if os.name == "posix" else "",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
_KEPT = (
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "APPDATA",
    "TEMP",
    "TMP",
)  # without these nothing starts


def bare_environment() -> dict[str, str]:
    """Return what a process of the grader starts with: of our own environment only paths of the system."""
    return {**ENVIRONMENT, **{name: os.environ[name] for name in _KEPT if name in os.environ}}


def warm_up(plan: Mapping[str, Any]) -> Any:
    """Import what submissions import and run the set-up cells; return the shell."""
    with contextlib.suppress(ImportError):  # progress bars start a thread, which a fork would lack
        importlib.import_module("tqdm").tqdm.monitor_interval = 0
    for name in plan["preload"]:
        module = importlib.import_module(name)
        if name == "torch":
            module.set_num_threads(1)
    shell = named(plan["shell"])(plan["setup_cells"]) if plan["shell"] else None
    if "torch" in sys.modules:
        _import_late_parts(sys.modules["torch"], exports="onnxscript" in sys.modules)
    return shell


def _import_late_parts(torch: Any, *, exports: bool) -> None:
    """Import here what torch imports with an optimizer's first step, and with the first export: seconds."""
    with contextlib.suppress(Exception), torch.random.fork_rng(devices=[]):
        importlib.import_module("torch._dynamo")
        if exports:
            torch.onnx.export(torch.nn.Linear(1, 1), (torch.ones(1, 1),), io.BytesIO(), dynamo=True)


def named(text: str) -> Any:
    """Return what ``module:name`` names."""
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name)
