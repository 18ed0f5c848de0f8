"""What ranks train when ways of training are compared: a model, and batches made beforehand.

All are trained on the mean cross-entropy of ``model(inputs).flatten(0, 1)`` and ``targets.flatten()``.

Shape suffixes in this file: N = samples of a batch, H = rows (28), W = columns (168), P = digits (6).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.data import compose_pins, load_text
from scalelab.models import CharGpt, PinReader
from scalelab.train.accumulate import MicroBatch, freeze_batch_norm

WIDTHS = {"reader": 2048, "gpt": 128, "mlp": 1024}
"""of each model's layers, if no other is asked for"""
_CONTEXT = 64


@dataclass(frozen=True)
class Workload:
    """A model, and whole batches ``(inputs, targets)`` on its device."""

    model: nn.Module
    batches: list[MicroBatch]

    def loss(self, model: nn.Module, batch: MicroBatch) -> Tensor:
        """Return the mean cross-entropy [nats/target]; `model` may be a wrapped one."""
        inputs, targets = batch
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def make_workload(
    name: str,
    *,
    batch_size: int,
    batches: int,
    width: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Workload:
    """Return the model of that name, the same weights for the same seed, and batches of its own data.

    ``reader`` is the PIN reader (batch norm frozen, so that a sample's gradient does not depend on its
    neighbours), ``gpt`` the character GPT on windows of 64 characters: much arithmetic for its bytes. ``mlp``
    reads the same images as the reader by dense layers alone: few operations for 24 MB of gradients.
    """
    width = WIDTHS[name] if width is None else width
    torch.manual_seed(seed)
    if name == "gpt":
        model: nn.Module = CharGpt(context=_CONTEXT, width=width)
        windows = torch.from_numpy(load_text(50_000, seed=seed).windows(_CONTEXT))
        rows = [torch.arange(i * batch_size, (i + 1) * batch_size) % len(windows) for i in range(batches)]
        made = [(windows[row, :-1].contiguous(), windows[row, 1:].contiguous()) for row in rows]
    else:
        model = PinReader(width).train() if name == "reader" else _wide_mlp(width)
        freeze_batch_norm(model)
        whole = [compose_pins(batch_size, "train", seed=seed + i) for i in range(batches)]
        made = [(torch.from_numpy(b.images), torch.from_numpy(b.labels).long()) for b in whole]
    return Workload(model.to(device), [(x.to(device), y.to(device)) for x, y in made])


class _Scale(nn.Module):
    """Images ``(N, 28, 168) uint8`` as rows of numbers from 0 to 1: ``(N, 4704) float32``."""

    def forward(self, images_NHW: Tensor) -> Tensor:
        return images_NHW.flatten(1).float() / 255


def _wide_mlp(width: int) -> nn.Module:
    return nn.Sequential(
        _Scale(),
        nn.Linear(28 * 168, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 6 * 10),
        nn.Unflatten(1, (6, 10)),
    )
