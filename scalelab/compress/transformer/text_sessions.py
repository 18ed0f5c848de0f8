"""MiniLM in three runtimes behind one `embed`.

Shape suffixes in this file: N = sentences, T = tokens, D = 384.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scalelab.compress.runtimes.face import checked_threads, existing
from scalelab.compress.transformer.tokens import Tokens
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.lazy import require

WIDTH = 384
"""numbers in the vector of a sentence"""
_CHUNK = 64


class TextSession(Protocol):
    """A loaded encoder, ready to embed."""

    name: str
    bytes: int
    """size of its weights' file or files"""

    def embed(self, tokens: Tokens) -> np.ndarray:
        """Map N sentences of T tokens to vectors ``(N, D) float32`` of length one."""
        ...


def text_session(path: Path | str = "", threads: int = 1, *, runtime: str = "") -> TextSession:
    """Open MiniLM: torch eager without a path, ``.onnx`` in ONNX Runtime, ``.xml`` in OpenVINO.

    Args:
        path: what `export_encoder` or `quantize_encoder` wrote; empty: the weights of the package.
        runtime: ``openvino`` opens an ``.onnx`` there.

    Raises:
        MissingDependency: the runtime, or the package with the weights, is not installed.
        ConfigError: a file of another suffix.
        DataError: the file is missing or no such model.
    """
    checked_threads(threads)
    if not path:
        return _Eager(threads)
    found = existing(path, ".onnx", ".xml")
    if found.suffix == ".xml" or runtime == "openvino":
        return _Openvino(found, threads)
    if runtime not in ("", "onnxruntime"):
        raise ConfigError(f"no runtime {runtime!r} for {found.name}", hint="onnxruntime or openvino")
    return _Onnx(found, threads)


def embed_all(session: TextSession, tokens: Tokens) -> np.ndarray:
    """Return the vectors ``(N, D) float32`` of many sentences, in chunks that bound the memory."""
    return np.concatenate([session.embed(tokens[at : at + _CHUNK]) for at in range(0, len(tokens), _CHUNK)])


class _Eager:
    def __init__(self, threads: int):
        torch = require("torch", extra="torch")
        from scalelab.compress.transformer.encoder import load_encoder, model_folder

        torch.set_num_threads(threads)
        self.name = "torch MiniLM"
        self.bytes = (model_folder() / "model.safetensors").stat().st_size
        self._torch = torch
        self._model = load_encoder()

    def embed(self, tokens: Tokens) -> np.ndarray:
        with self._torch.inference_mode():
            ids_NT, mask_NT = map(self._torch.from_numpy, (tokens.ids, tokens.mask))
            vectors_ND: np.ndarray = self._model(ids_NT, mask_NT).numpy()
        return vectors_ND


class _Onnx:
    def __init__(self, path: Path, threads: int):
        from scalelab.compress.runtimes.onnxrt import start_graph

        session = start_graph(path, threads)
        _need_encoder(path, [end.name for end in session.get_inputs()])
        self.name = f"onnxruntime {path.stem}"
        self.bytes = path.stat().st_size
        self._run = session.run

    def embed(self, tokens: Tokens) -> np.ndarray:
        vectors_ND: np.ndarray = self._run(None, {"ids": tokens.ids, "mask": tokens.mask})[0]
        return vectors_ND


class _Openvino:
    def __init__(self, path: Path, threads: int):
        from scalelab.compress.runtimes.intel import bytes_of, read_graph, start_graph

        model = read_graph(path)
        _need_encoder(path, [end.get_any_name() for end in model.inputs])
        self.name = f"openvino {path.stem}"
        self.bytes = bytes_of(path)
        self._request = start_graph(model, path, threads, "CPU", "float32")

    def embed(self, tokens: Tokens) -> np.ndarray:
        self._request.infer({"ids": tokens.ids, "mask": tokens.mask}, share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data)


def _need_encoder(path: Path, inputs: list[Any]) -> None:
    if sorted(inputs) != ["ids", "mask"]:
        raise DataError(
            f"{path} is no sentence encoder: its inputs are {', '.join(inputs) or 'none'}",
            hint="wanted ids and mask, as export_encoder writes",
        )
