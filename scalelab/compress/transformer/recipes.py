"""MiniLM as one ONNX file with free sizes, and two ways to int8.

Shape suffixes in this file: N = sentences, T = tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalelab.compress.drafts import drafted
from scalelab.compress.transformer.text_sessions import text_session
from scalelab.compress.transformer.tokens import Tokens, sentences, tokenize
from scalelab.core.errors import ConfigError, DataError, RunFailed
from scalelab.core.lazy import require

TOLERANCE = 1e-5
"""largest difference of a number between torch and the file, absolute; the vectors have length one"""
PARITY_SIZES = ((1, 32), (7, 32), (5, 16))
"""sentences and tokens of the batches that are compared"""
CALIBRATION = 200
"""sentences of the ``val`` split that set the ranges where none are given"""


@dataclass(frozen=True)
class EncoderFile:
    """A file of MiniLM that was written."""

    path: Path
    bytes: int
    """both files of an ``.xml``"""
    quantized_layers: int
    """products that are computed in integers"""


def export_encoder(path: Path | str, *, tolerance: float = TOLERANCE) -> EncoderFile:
    """Write MiniLM as one ONNX file: ``ids`` and ``mask (N, T) int64`` to ``vectors (N, 384) float32``.

    N and T stay free. `path` is replaced only by a file whose vectors agree with torch's within `tolerance`.

    Raises:
        MissingDependency: the package with the weights, transformers or onnx is not installed.
        ConfigError: `path` is no place for an ``.onnx`` file.
        RunFailed: the graph disagrees with the model.
    """
    torch = require("torch", extra="torch")
    from scalelab.compress.export import write_graph
    from scalelab.compress.transformer.encoder import load_encoder

    texts = sentences(max(n for n, _ in PARITY_SIZES), "val")
    encoder, eager = load_encoder("eager"), text_session()
    with drafted(path) as draft, torch.no_grad():
        example = tokenize(texts[:2])
        inputs = {"ids": torch.from_numpy(example.ids), "mask": torch.from_numpy(example.mask)}
        write_graph(encoder, inputs, draft, output="vectors", free={0: "batch", 1: "tokens"})
        session = text_session(draft)
        for n, length in PARITY_SIZES:
            tokens = tokenize(texts[:n], length)
            apart = float(np.abs(session.embed(tokens) - eager.embed(tokens)).max())
            if not apart <= tolerance:  # NaN fails too
                raise RunFailed(
                    f"the graph's vectors differ from the model's by {apart:.2g} for {n} sentences of "
                    f"{length} tokens, at most {tolerance:g} is allowed",
                    hint="another version of torch or transformers? See constraints.txt",
                )
        size = draft.stat().st_size
    return EncoderFile(Path(path), size, 0)


def quantize_encoder(
    onnx_path: Path | str, out_path: Path | str, calibration: Tokens | None = None
) -> EncoderFile:
    """Write MiniLM's int8 twin, for the runtime that `out_path` is for.

    ``.onnx``: ONNX Runtime's dynamic int8. Weights have a scale per output channel; the range of an
    activation is found at each call, one for the whole batch, so nothing has to be calibrated.
    ``.xml``: OpenVINO's, by NNCF. Ranges are calibrated, and channels with large activations are first scaled
    down, their weights up (Xiao et al. 2022, "SmoothQuant"): a few such channels would set the range of all.

    Args:
        onnx_path: what `export_encoder` wrote.
        calibration: sentences for the ``.xml``; `CALIBRATION` docstrings of the ``val`` split if none.

    Raises:
        MissingDependency: the runtime or its quantizer is not installed.
        ConfigError: `out_path` is no place for such a file.
        DataError: `onnx_path` is no encoder, or there are no sentences.
        RunFailed: nothing was quantized, or the vectors are not finite; `out_path` is as it was.
    """
    suffix = Path(out_path).suffix
    if suffix not in (".onnx", ".xml"):
        raise ConfigError(
            f"{str(out_path)!r} says not which runtime it is for",
            hint=".onnx (ONNX Runtime) or .xml (OpenVINO)",
        )
    if calibration is not None and not len(calibration):
        raise DataError("there are no sentences to calibrate on", hint="give a few hundred")
    text_session(onnx_path)  # says clearly what is wrong with a file that is no encoder
    with drafted(out_path, suffix) as draft:
        if suffix == ".onnx":
            layers = _dynamic(Path(onnx_path), draft)
        else:
            layers = _smooth(Path(onnx_path), draft, calibration or tokenize(sentences(CALIBRATION, "val")))
        session = text_session(draft)
        if not layers or not np.isfinite(session.embed(tokenize(["A sentence."]))).all():
            raise RunFailed(
                f"the int8 twin of {onnx_path} has {layers} quantized layers or no finite vectors",
                hint="export the encoder again",
            )
        size = session.bytes
    return EncoderFile(Path(out_path), size, layers)


def _dynamic(onnx_path: Path, draft: Path) -> int:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from scalelab.compress.quantize import quiet_quantizer

    with quiet_quantizer():
        quantize_dynamic(str(onnx_path), str(draft), weight_type=QuantType.QInt8, per_channel=True)
    graph = require("onnx", extra="onnx").load(str(draft)).graph
    return sum(node.op_type == "MatMulInteger" for node in graph.node)


def _smooth(onnx_path: Path, draft: Path, calibration: Tokens) -> int:
    from scalelab.compress.openvino_int8 import write_int8
    from scalelab.compress.runtimes.intel import read_graph

    rows = [calibration[at : at + 1] for at in range(len(calibration))]
    samples = [{"ids": row.ids, "mask": row.mask} for row in rows]
    return write_int8(read_graph(onnx_path), draft, samples, preset="mixed", is_transformer=True)
