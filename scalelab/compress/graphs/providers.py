"""Execution providers of ONNX Runtime: listed, usable, and used are three different things.

A build for GPUs lists CUDA and TensorRT on any machine. Where their libraries or the device are missing, the
runtime prints a line and goes on with the CPU; where a provider takes none of a graph's nodes, it says
nothing. So a provider is asked to run a small graph, and counted is which nodes it really ran.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.runtimes import CPU_PROVIDER as CPU
from scalelab.compress.runtimes import check_images, onnx_session
from scalelab.core.errors import ConfigError, DataError, did_you_mean
from scalelab.core.lazy import require


@dataclass(frozen=True)
class ProviderStatus:
    """What a provider is worth on this machine."""

    name: str
    listed: bool
    """the installed runtime was built with it"""
    usable: bool
    """it ran a node here"""
    reason: str
    """why it is not usable; empty if it is"""

    def __str__(self) -> str:
        return f"{self.name}: {'usable' if self.usable else 'not usable: ' + self.reason}"


def check_provider(name: str, runtime: Any = None) -> ProviderStatus:
    """Tell whether a provider can be used here, by letting it multiply two small matrices.

    Args:
        name: in ONNX Runtime's words, as ``CUDAExecutionProvider``.
        runtime: stands for the module ``onnxruntime``.

    Raises:
        ConfigError: ONNX Runtime knows no provider of this name.
    """
    runtime = runtime or require("onnxruntime", extra="onnx")
    known = runtime.get_all_providers()
    if name not in known:
        raise ConfigError(f"there is no provider {name!r}", hint=did_you_mean(name, known))
    if name not in runtime.get_available_providers():
        return ProviderStatus(name, False, False, "the installed onnxruntime was built without it")
    try:
        ran = _nodes_by_provider(_probe(), {"x": np.ones((8, 8), np.float32)}, name, runtime)
    except Exception as error:  # each provider has its own classes of errors
        return ProviderStatus(name, True, False, f"it fails: {str(error).strip().splitlines()[0][:200]}")
    if ran[name]:
        return ProviderStatus(name, True, True, "")
    others = " and ".join(sorted(ran)) or "nothing"
    return ProviderStatus(name, True, False, f"listed, but {others} ran in its place")


def check_providers(runtime: Any = None) -> list[ProviderStatus]:
    """Return the status of each provider that the installed runtime lists, best first."""
    runtime = runtime or require("onnxruntime", extra="onnx")
    return [check_provider(name, runtime) for name in runtime.get_available_providers()]


def nodes_by_provider(path: Path | str, images: np.ndarray, provider: str = CPU) -> dict[str, int]:
    """Return how many nodes of a reader's graph each provider runs, after the runtime's own fusions.

    Args:
        images: ``(N, 28, 168) uint8``: one call on them is profiled.
        provider: asked for first; the CPU takes what it leaves.

    Raises:
        DataError: the file is missing or no reader.
    """
    check_images(images)
    onnx_session(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="export it again") from None
    runtime = require("onnxruntime", extra="onnx")
    return dict(_nodes_by_provider(content, {"images": images}, provider, runtime))


def _nodes_by_provider(model: bytes, feeds: dict[str, np.ndarray], name: str, runtime: Any) -> Counter[str]:
    with tempfile.TemporaryDirectory(prefix="provider-") as folder:
        options = runtime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong comes back as a value
        session = runtime.InferenceSession(model, options, providers=list(dict.fromkeys((name, CPU))))
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    ran = (event.get("args", {}).get("provider") for event in events if event.get("cat") == "Node")
    return Counter(provider for provider in ran if provider)


def _probe() -> bytes:
    onnx = require("onnx", extra="onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", kind, [8, 8])],
        [helper.make_tensor_value_info("y", kind, [8, 8])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
