"""The two models that all systems serve: what goes in, and how a system without our package loads them.

Every process of every system imports this file, some in an environment of their own: numpy and ONNX Runtime
only. A process that opens a model leaves its pid in a folder, so that the fault test knows whom to kill.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 1
WORKERS = 2
PIDS_VARIABLE = "PEERS_PIDS"


@dataclass(frozen=True)
class Workload:
    """One model's items: as arrays, as JSON bodies and as raw bodies of the same bytes."""

    name: str
    title: str
    shape: tuple[int, ...]
    """of one item"""
    dtype: str
    field: str
    """of a JSON body"""
    highest: int
    """values are drawn from 0 up to this, exclusive"""

    def items(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Return `count` items ``(count, *shape)``, the same for every system."""
        random = np.random.default_rng(seed)
        return random.integers(0, self.highest, (count, *self.shape), dtype=self.dtype)

    def json_body(self, item: np.ndarray) -> bytes:
        """Return an item as a JSON object with a flat list."""
        return json.dumps({self.field: item.ravel().tolist()}, separators=(",", ":")).encode()

    def from_list(self, values: list[int]) -> np.ndarray:
        """Return the item of a JSON body's list.

        Raises:
            ValueError: another number of values.
        """
        return np.array(values, self.dtype).reshape(self.shape)

    def from_bytes(self, body: bytes) -> np.ndarray:
        """Return the item of a raw body.

        Raises:
            ValueError: another number of bytes.
        """
        return np.frombuffer(body, self.dtype).reshape(self.shape)


TOKENS = Workload("tokens", "transformer, 4 layers, d 256, 64 tokens, int8", (64,), "int64", "tokens", 1000)
DIGITS = Workload("digits", "small CNN, 28 x 28, fp32", (28, 28), "uint8", "pixels", 256)
WORKLOADS = {workload.name: workload for workload in (TOKENS, DIGITS)}


class Model:
    """An ONNX file as a service sees it: a batch of arrays in, a list of JSON objects out."""

    def __init__(self, path: str | Path, threads: int = THREADS):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        # a thread that spins between calls takes the core from the web server
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._run, self._input = session.run, session.get_inputs()[0].name
        if folder := os.environ.get(PIDS_VARIABLE):
            (Path(folder) / str(os.getpid())).touch()

    def predict_batch(self, items: np.ndarray) -> list[dict[str, Any]]:
        """Return ``{"label", "score"}`` for each of ``(N, *shape)``."""
        logits = self._run(None, {self._input: items})[0]
        labels = logits.argmax(-1)
        scores = logits[np.arange(len(logits)), labels]
        return [
            {"label": label, "score": score}
            for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
        ]


def open_model(path: str, *, threads: int = THREADS) -> Model:
    """Open a model as `scalelab serve` asks for it: ``peers.workload:open_model``."""
    return Model(path, threads)


@dataclass(frozen=True)
class Given:
    """What a driver is told, by environment variables."""

    workload: Workload
    model_path: str
    port: int
    is_raw: bool
    """bodies are raw bytes, not JSON"""
    max_batch: int = 16
    """the same for every system"""

    @classmethod
    def read(cls) -> Given:
        """Read what `environment` wrote."""
        told = os.environ
        workload = WORKLOADS[told["PEERS_WORKLOAD"]]
        is_raw, port = told["PEERS_BODY"] == "raw", int(told["PEERS_PORT"])
        return cls(workload, told["PEERS_MODEL"], port, is_raw, int(told["PEERS_BATCH"]))

    def environment(self) -> dict[str, str]:
        """Return the variables that `read` wants."""
        body = "raw" if self.is_raw else "json"
        return {
            "PEERS_WORKLOAD": self.workload.name,
            "PEERS_MODEL": self.model_path,
            "PEERS_PORT": str(self.port),
            "PEERS_BODY": body,
            "PEERS_BATCH": str(self.max_batch),
        }

    def warm(self) -> Model:
        """Open the model and run it once at batch 1 and at the largest."""
        model = Model(self.model_path)
        for size in (1, self.max_batch):
            model.predict_batch(self.workload.items(size))
        return model
