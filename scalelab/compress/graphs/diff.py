"""Two ONNX files side by side: which operators came, which went, and what the weights take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.lazy import require


@dataclass(frozen=True)
class GraphDiff:
    """What changed from a graph to another."""

    ops: dict[str, tuple[int, int]]
    """operator -> nodes before and after; all operators of both, by name"""
    added: tuple[str, ...]
    """nodes of the second file alone, as ``operator name``"""
    removed: tuple[str, ...]
    """nodes of the first file alone"""
    weight_bytes: dict[str, tuple[int, int]]
    """type of the stored tensors -> bytes before and after"""

    @property
    def is_same(self) -> bool:
        """The same nodes, and as many bytes of each type; the weights' values are not compared."""
        pairs = [*self.ops.values(), *self.weight_bytes.values()]
        return not self.added and not self.removed and all(before == after for before, after in pairs)

    def __str__(self) -> str:
        """Return a table of what changed."""
        lines = [
            f"{name:<24} {before:>10,} -> {after:,}"
            for name, (before, after) in [
                *self.ops.items(),
                *((f"bytes of {kind}", pair) for kind, pair in self.weight_bytes.items()),
            ]
            if before != after
        ]
        lines.append(f"{len(self.added)} nodes added, {len(self.removed)} removed")
        return "\n".join(lines)


def diff_graphs(before: Path | str, after: Path | str) -> GraphDiff:
    """Compare two ONNX files by their nodes (operator and name) and stored tensors.

    Raises:
        DataError: a file is missing or holds no ONNX graph.
    """
    first, second = load_graph(before), load_graph(after)
    nodes = [Counter(_label(node) for node in graph.node) for graph in (first, second)]
    return GraphDiff(
        ops=_side_by_side(*(Counter(node.op_type for node in graph.node) for graph in (first, second))),
        added=tuple(sorted((nodes[1] - nodes[0]).elements())),
        removed=tuple(sorted((nodes[0] - nodes[1]).elements())),
        weight_bytes=_side_by_side(_bytes_by_type(first), _bytes_by_type(second)),
    )


def load_graph(path: Path | str) -> Any:
    """Return the graph of an ONNX file (an ``onnx.GraphProto``).

    Raises:
        DataError: the file is missing or holds no ONNX graph.
    """
    onnx = require("onnx", extra="onnx")
    if not Path(path).is_file():
        raise DataError(
            f"there is no model file {str(path)!r}", hint="export it: scalelab.compress.export_onnx"
        )
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's classes differ between its implementations
        raise DataError(
            f"{path} is not an ONNX model: {type(error).__name__}", hint="export it again"
        ) from None
    if not graph.node:  # an empty file is a valid message of no fields
        raise DataError(f"{path} is not an ONNX model: it has no nodes", hint="export it again")
    return graph


def _label(node: Any) -> str:
    return f"{node.op_type} {node.name or '>'.join(node.output)}"


def _bytes_by_type(graph: Any) -> Counter[str]:
    onnx = require("onnx", extra="onnx")
    found: Counter[str] = Counter()
    for tensor in graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        found[kind] += onnx.numpy_helper.to_array(tensor).nbytes
    return found


def _side_by_side(first: Counter[str], second: Counter[str]) -> dict[str, tuple[int, int]]:
    return {name: (first[name], second[name]) for name in sorted(first.keys() | second.keys())}
