"""From which size on does int8 pay? One dense layer of growing width, fp32 against int8, in pairs.

The conversions to and from integers cost about as much at every width, a product costs its square: below some
width int8 is slower. How wide that is depends on the instructions of the processor (VNNI or AMX multiply four
or more bytes at once) and on the batch, so it is measured where the model will run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalelab.compress.numbers.affine import affine_of
from scalelab.core.errors import ConfigError
from scalelab.core.lazy import require
from scalelab.core.stats import Estimate, PairedRatio, Verdict, compare_paired, judge

WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""what a processor calls its instructions for dot products of bytes (x86, then ARM)"""
Compare = Callable[[Callable[[], object], Callable[[], object]], PairedRatio]


@dataclass(frozen=True)
class WidthRow:
    """One width."""

    width: int
    speedup: Estimate
    """how many times longer fp32 takes than int8, conversions included"""
    fp32_s: float
    """seconds of one call, median"""
    int8_s: float
    fp32_bytes: int
    """of the weights"""
    int8_bytes: int
    pays: Verdict
    """PASS: int8 is faster, by the whole interval; FAIL: slower; else INCONCLUSIVE"""
    is_quiet: bool


def sweep_widths(
    widths: Sequence[int] = WIDTHS,
    *,
    batch: int = 1,
    compare: Compare | None = None,
    on_row: Callable[[WidthRow], None] | None = None,
    seed: int = 0,
) -> list[WidthRow]:
    """Time a dense layer ``(batch, w) @ (w, w)`` in fp32 and in int8 at each width, one thread.

    The int8 graph takes and gives float32 as the fp32 one does: quantize, multiply integers, scale.

    Args:
        compare: how two calls are timed; None is `compare_paired` (15 pairs of 50 ms).
        on_row: called with each row when it is known.

    Raises:
        ConfigError: no widths, one below 1, or a batch below 1.
    """
    if not widths or min(widths) < 1 or batch < 1:
        raise ConfigError(
            f"widths {tuple(widths)} at batch {batch} cannot be swept",
            hint="give numbers from 1, as (64, 1024)",
        )
    rows = []
    for width in widths:
        rng = np.random.default_rng([seed, width])
        weights = rng.normal(size=(width, width)).astype(np.float32) / np.float32(np.sqrt(width))
        x = rng.normal(size=(batch, width)).astype(np.float32)
        fp32, int8 = (_session(model) for model in dense_graphs(weights, x))
        paired = (compare or compare_paired)(lambda: fp32({"x": x}), lambda: int8({"x": x}))  # noqa: B023
        row = WidthRow(
            width,
            paired.ratio,
            float(np.median(paired.a_s)),
            float(np.median(paired.b_s)),
            4 * weights.size,
            weights.size,
            judge(paired.ratio, at_least=1.0),
            paired.is_quiet,
        )
        rows.append(row)
        if on_row is not None:
            on_row(row)
    return rows


def smallest_that_pays(rows: Sequence[WidthRow]) -> int | None:
    """Return the smallest width from which on int8 is faster at every width measured; None: at none.

    A width whose interval holds 1 does not count as faster.
    """
    smallest = None
    for row in sorted(rows, key=lambda row: row.width, reverse=True):
        if row.pays is not Verdict.PASS:
            break
        smallest = row.width
    return smallest


def int8_instructions(flags: Sequence[str]) -> tuple[str, ...]:
    """Return which of a processor's flags are instructions for dot products of bytes."""
    return tuple(flag for flag in INT8_FLAGS if flag in flags)


def dense_graphs(weights: np.ndarray, x: np.ndarray) -> tuple[bytes, bytes]:
    """Return ``x @ weights`` as an fp32 ONNX graph, and as one that quantizes `x` and multiplies integers.

    Args:
        weights: ``(K, M) float32``.
        x: ``(N, K) float32``, sets the range of the activation.
    """
    onnx = require("onnx", extra="onnx")
    helper, store = onnx.helper, onnx.numpy_helper.from_array
    activation = affine_of(x, dtype="uint8", symmetric=False)
    weight, out = affine_of(weights, axis=1), affine_of(x @ weights, dtype="uint8", symmetric=False)
    constants = [
        store(weight.quantize(weights), "q_w"),
        *(
            array
            for name, affine, kind in (
                ("x", activation, np.uint8),
                ("w", weight, np.int8),
                ("y", out, np.uint8),
            )
            for array in (
                store(affine.scale, f"scale_{name}"),
                store(affine.zero_point.astype(kind), f"zero_{name}"),
            )
        ),
    ]
    steps = [
        helper.make_node("QuantizeLinear", ["x", "scale_x", "zero_x"], ["q_x"]),
        helper.make_node(
            "QLinearMatMul",
            ["q_x", "scale_x", "zero_x", "q_w", "scale_w", "zero_w", "scale_y", "zero_y"],
            ["q_y"],
        ),
        helper.make_node("DequantizeLinear", ["q_y", "scale_y", "zero_y"], ["y"]),
    ]
    plain = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    shapes = x.shape[1:], weights.shape[1:]
    return _model(plain, [store(weights, "w")], *shapes), _model(steps, constants, *shapes)


def _model(nodes: list[Any], constants: list[Any], takes: tuple[int, ...], gives: tuple[int, ...]) -> bytes:
    onnx = require("onnx", extra="onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info(name, kind, ["n", *shape])
        for name, shape in (("x", takes), ("y", gives))
    ]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _session(model: bytes) -> Callable[[dict[str, np.ndarray]], Any]:
    runtime = require("onnxruntime", extra="onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)[0]
