"""From a torch module to one ONNX file that gives the same logits.

Shapes in this file: images ``(N, 28, 168) uint8``, logits ``(N, 6, 10) float32``; N stays free in the graph.
"""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.compress.drafts import drafted, writable_path
from scalelab.compress.runtimes import IMAGE_SHAPE, LOGITS_SHAPE, onnx_session
from scalelab.core.errors import ConfigError, DataError, RunFailed
from scalelab.core.lazy import require

if TYPE_CHECKING:
    from torch import Tensor, nn

PARITY_BATCHES = (1, 7, 32)
"""1 and 7 catch a batch size that the tracer froze into the graph"""
TOLERANCE = 1e-4
"""largest difference of a logit between torch and the file, absolute"""
OPSET = 18
"""the oldest that torch's current exporter writes without a conversion, so the widest choice of runtimes"""
TRACED_OPSET = 17
"""the newest that the TorchScript exporter of torch 2.2 knows"""
_NO_FORM = re.compile(r"(?:No ONNX function found for <OpOverload\(op=|Exporting the operator )'([^']+)'")
"""how the exporters, new and old, name an operator that they cannot translate"""


@dataclass(frozen=True)
class ExportReport:
    """An ONNX file that was written, and how far it is from the model it came from."""

    path: Path
    bytes: int
    max_abs_error: float
    """largest difference of a logit between torch and the file, over all `batches`"""
    batches: tuple[int, ...]
    """batch sizes that were compared"""


def export_onnx(
    model: nn.Module,
    path: Path | str,
    *,
    batches: Sequence[int] = PARITY_BATCHES,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> ExportReport:
    """Write `model` as one self-contained ONNX file with a free batch size, and prove that it agrees.

    The graph's input is ``images (N, 28, 168) uint8``, its output ``logits (N, 6, 10) float32``. The model
    is exported as in evaluation (no dropout) and is left in the mode it was in. `path` is replaced only by a
    file whose logits agree within `tolerance` on random images of every batch size.

    Raises:
        ConfigError: the path is no place for an ``.onnx`` file, or the model has other shapes.
        RunFailed: the model has no graph of a free batch size, or one that disagrees with it; what stood at
            `path` before is untouched.
    """
    torch = require("torch", extra="torch")
    require("onnxruntime", extra="onnx")
    path = writable_path(path)
    if not batches or min(batches) < 1:
        raise ConfigError(
            f"parity over batches {tuple(batches)} shows nothing", hint="give sizes from 1, as (1, 7)"
        )

    rng = np.random.default_rng(seed)
    probes = [rng.integers(0, 256, (batch, *IMAGE_SHAPE), dtype=np.uint8) for batch in batches]
    with evaluating(model), torch.no_grad(), drafted(path) as draft:
        expected = [model(torch.from_numpy(images)).numpy() for images in probes]
        if expected[0].shape != (batches[0], *LOGITS_SHAPE):
            raise ConfigError(
                f"the model gives logits {expected[0].shape} for {batches[0]} images",
                hint="export a module that maps (N, 28, 168) uint8 to logits (N, 6, 10)",
            )
        example = torch.from_numpy(probes[-1][:2].repeat(2, axis=0)[:2])
        write_graph(model, {"images": example}, draft, output="logits", free={0: "batch"})
        try:
            session = onnx_session(draft)
        except DataError as error:
            raise RunFailed(
                f"the exported graph reads no batch of any size: {error.message}",
                hint="does the model use len(images)? That freezes N; reshape(-1, 6, 10) leaves it free",
            ) from None
        error = max(
            float(np.abs(session.predict(images) - logits).max())
            for images, logits in zip(probes, expected, strict=True)
        )
        if not error <= tolerance:  # NaN fails too
            raise RunFailed(
                f"the ONNX graph differs from the model by {error:.2g}, at most {tolerance:g} is allowed; "
                f"{path} is {'unchanged' if path.exists() else 'not written'}",
                hint="does the model draw random numbers or branch on its input? Then it has no fixed graph",
            )
        size = draft.stat().st_size
    return ExportReport(path, size, error, tuple(batches))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch every submodule to evaluation, and back to the mode that each one was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def write_graph(
    model: nn.Module, inputs: Mapping[str, Tensor], path: Path, *, output: str, free: Mapping[int, str]
) -> None:
    """Write a module in evaluation mode as one ONNX file, without a comparison.

    Args:
        inputs: name in the graph -> example, in the order of the module's parameters.
        free: axis -> name of its size, for the axes of all inputs that the graph leaves open.

    Raises:
        RunFailed: torch has no graph for it.
    """
    torch = require("torch", extra="torch")
    onnx = require("onnx", extra="onnx")
    names: dict[str, Any] = {"input_names": list(inputs), "output_names": [output]}
    with _quiet(), _explained():
        if "external_data" in inspect.signature(torch.onnx.export).parameters:  # torch 2.6 and later
            require("onnxscript", extra="onnx")
            sizes = {axis: torch.export.Dim(name) for axis, name in free.items()}
            torch.onnx.export(
                model,
                tuple(inputs.values()),
                str(path),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=tuple(sizes for _ in inputs),
                external_data=False,
                verbose=False,
                **names,
            )
        else:
            axes = {name: dict(free) for name in inputs} | {output: {0: free[0]}}
            torch.onnx.export(
                model,
                tuple(inputs.values()),
                str(path),
                opset_version=TRACED_OPSET,
                dynamic_axes=axes,
                **names,
            )
    graph = onnx.load(str(path))
    _drop_notes(graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def _drop_notes(graph: Any) -> None:
    """Remove the exporter's notes on source lines: paths of this machine, and no use to a runtime."""
    parts = [graph, graph.graph, *graph.graph.node, *graph.graph.initializer]
    parts += [*graph.graph.input, *graph.graph.output, *graph.graph.value_info]
    for part in parts:
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        if hasattr(part, "doc_string"):
            part.doc_string = ""


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the exporter's pages about its own internals into our error; the pages stay as its cause."""
    try:
        yield
    except Exception as error:  # torch has no public parent class for what its exporters raise
        if operator := _without_onnx_form(error):
            raise RunFailed(
                f"torch cannot write this model as a graph: ONNX has no form of its operator {operator}",
                hint="write that step with operators that ONNX has, or leave it out of the exported module",
            ) from error
        raise RunFailed(
            f"torch cannot write this model as a graph: {type(error).__name__}",
            hint="does the model branch on the values of its input? The cause above has the line",
        ) from error


def _without_onnx_form(error: BaseException | None) -> str:
    """Return the operator that the chain of an exporter's errors names as not translated, or nothing."""
    while error is not None:
        if found := _NO_FORM.search(str(error)):
            return found[1]
        error = error.__cause__ or error.__context__
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter says about its own internals and packages the reader does not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
