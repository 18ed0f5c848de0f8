"""Make the two models from torch with seeded random weights: speed and bytes are those of trained ones.

Shape suffixes: N = items, T = tokens, D = width, H = heads.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from peers.workload import DIGITS, TOKENS, Workload
from scalelab.compress.export import write_graph
from scalelab.compress.quantize import quiet_quantizer

D, LAYERS, HEADS, CLASSES = 256, 4, 4, 10
CHANNELS, HIDDEN = 20, 64


class Block(nn.Module):
    """One layer of a transformer, normalized before attention and before its two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_dense = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to the same shape."""
        parts = self.qkv(self.before_attention(x_NTD)).unflatten(-1, (3, HEADS, D // HEADS))
        q_NHTd, k_NHTd, v_NHTd = (part.transpose(1, 2) for part in parts.unbind(2))
        shares_NHTT = (q_NHTd @ k_NHTd.transpose(-1, -2) * (D // HEADS) ** -0.5).softmax(-1)
        x_NTD = x_NTD + self.out((shares_NHTT @ v_NHTd).transpose(1, 2).flatten(2))
        return x_NTD + self.down(nn.functional.relu(self.up(self.before_dense(x_NTD))))


class Transformer(nn.Module):
    """Token ids ``(N, T) int64`` to class scores ``(N, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(TOKENS.highest, D)
        self.places = nn.Parameter(torch.randn(TOKENS.shape[0], D) * 0.02)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.head = nn.Linear(D, CLASSES)

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Return the scores."""
        return self.head(self.blocks(self.words(ids_NT) + self.places)[:, 0])


class Cnn(nn.Module):
    """Images ``(N, 28, 28) uint8`` to class scores ``(N, 10)``; so cheap that a request costs more."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, CHANNELS, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * CHANNELS * 49, HIDDEN), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores."""
        return self.head(self.layers(images.unsqueeze(1).float() / 255))


@torch.no_grad()
def _spread_labels(module: nn.Module, items: Tensor) -> None:
    """Center and scale the scores: random weights would give each item the same label."""
    head: nn.Linear = module.head  # type: ignore[assignment]
    scores = module(items)
    scale = 1 / scores.std(0)
    head.weight *= scale[:, None]
    head.bias.copy_((head.bias - scores.mean(0)) * scale)


def make_model(workload: Workload, folder: Path, *, seed: int = 0) -> Path:
    """Write the model of a workload as one ONNX file, the transformer in dynamic int8; keep what is there.

    Raises:
        MissingDependency: torch or onnx is not installed.
        RunFailed: torch has no graph for it.
    """
    path = folder / f"{workload.name}-{seed}.onnx"
    if path.exists():
        return path
    torch.manual_seed(seed)
    module = {TOKENS: Transformer, DIGITS: Cnn}[workload]().eval()
    _spread_labels(module, torch.from_numpy(workload.items(256, seed=1)))
    draft = path.with_suffix(".draft.onnx")
    example = {workload.field: torch.from_numpy(workload.items(2))}
    with torch.no_grad():
        write_graph(module, example, draft, output="scores", free={0: "batch"})
    if workload is TOKENS:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with quiet_quantizer():
            quantize_dynamic(str(draft), str(draft), weight_type=QuantType.QInt8)
    draft.replace(path)
    return path
