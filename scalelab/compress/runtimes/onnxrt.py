"""ONNX Runtime: an ONNX graph on the CPU or on another of its execution providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.runtimes.face import (
    End,
    Session,
    check_images,
    checked_threads,
    existing,
    first_line,
    need_reader,
    no_logits,
)
from scalelab.core.errors import ConfigError, DataError, did_you_mean
from scalelab.core.lazy import require

CPU_PROVIDER = "CPUExecutionProvider"


class _OnnxSession:
    def __init__(self, path: Path, threads: int, provider: str):
        session = start_graph(path, threads, provider)
        takes, gives = session.get_inputs(), session.get_outputs()
        need_reader(path, _ends(takes), _ends(gives))
        self.name = f"onnxruntime {path.stem}"
        self.path = path
        self.bytes = path.stat().st_size
        self._input = takes[0].name
        self._run = session.run

    def predict(self, images: np.ndarray) -> np.ndarray:
        check_images(images)
        if not len(images):
            return no_logits()
        logits: np.ndarray = self._run(None, {self._input: images})[0]
        return logits


def onnx_session(path: Path | str, threads: int = 1, *, provider: str = CPU_PROVIDER) -> Session:
    """Open an ONNX file of a PIN reader in ONNX Runtime, on the CPU or on another of its providers.

    With one thread a call runs on the caller's thread alone: processes scale better than threads here.

    Raises:
        ConfigError: the provider is not in this build, or it is and does not start on this machine.
        DataError: the file is missing, no ONNX model, or one with another input or output.
    """
    return _OnnxSession(existing(path), checked_threads(threads), provider)


def start_graph(path: Path, threads: int, provider: str = CPU_PROVIDER) -> Any:
    """Return an ``onnxruntime.InferenceSession`` of any ONNX file, all its nodes offered to `provider`.

    Raises:
        ConfigError: the provider is not in this build, or it is and does not start on this machine.
        DataError: the file is no ONNX model.
    """
    runtime = require("onnxruntime", extra="onnx")
    listed = runtime.get_available_providers()
    if provider not in listed:
        raise ConfigError(f"the installed onnxruntime has no {provider}", hint=did_you_mean(provider, listed))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    # threads that spin between calls take the core from the gateway and the other workers
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # the runtime's own classes differ between its versions
        if provider != CPU_PROVIDER:
            raise ConfigError(
                f"{provider} cannot open {path}: {first_line(error)}", hint="does the CPU open it?"
            ) from None
        raise DataError(f"{path} is not an ONNX model: {first_line(error)}", hint="export it again") from None
    if session.get_providers()[0] != provider:  # it prints a line and goes on with the CPU
        raise ConfigError(
            f"{provider} is listed, but cannot be used on this machine",
            hint="scalelab.compress.graphs.check_provider says why; or take the CPU",
        )
    return session


def _ends(ends: Any) -> list[End]:
    """Translate the runtime's ``tensor(float) ['batch', 6, 10]``."""
    return [
        End(
            end.name,
            end.type.removeprefix("tensor(").removesuffix(")").replace("float", "float32"),
            tuple(size if isinstance(size, int) else None for size in end.shape or ()),
        )
        for end in ends
    ]
