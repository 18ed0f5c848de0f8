"""The reader's stem rewritten for the kernels that run it: the same function, in half of the time.

A CPU kernel computes 16 (AVX-512) or 8 (AVX2) output channels at once: a first convolution of four channels
leaves most of them idle, and its output must be put into another order for the next one. Here a 2 x 2 block
of the first layer's positions becomes channels of one position (space to depth): four channels become 16, at
a quarter of the positions. Batch norm and the scaling of pixels are folded into the weights.

Shapes: C1, C2 are the channels of the first two convolutions; "phase" (p, q) is the place in the block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.models import PinReader

_BLOCK = 2
"""stride of the second convolution: the side of a block"""


class BlockedReader(nn.Module):
    """A trained `PinReader` with a blocked stem, for inference: ``(N, 28, 168) uint8`` to ``(N, 6, 10)``.

    Law: its logits are the reader's in evaluation, up to the order of sums.
    """

    def __init__(self, reader: PinReader):
        super().__init__()
        (w1, b1), (w2, b2), (w3, b3) = (_folded(reader, place) for place in (0, 3, 6))
        first, second, third = w1.shape[0], w2.shape[0], w3.shape[0]
        self.first = nn.Conv2d(1, first * _BLOCK**2, 7, stride=4, padding=2)  # (N, 4 C1, 7, 42)
        self.second = nn.Conv2d(first * _BLOCK**2, second, 2)  # (N, C2, 7, 42)
        self.third = nn.Conv2d(second, third, 7, stride=7)  # (N, C3, 1, 6)
        self.head = reader.head
        with torch.no_grad():
            self.first.weight.copy_(_into_phases(w1 / 255))
            self.first.bias.copy_(b1.repeat(_BLOCK**2))
            self.second.weight.copy_(_from_phases(w2))
            self.second.bias.copy_(b2)
            self.third.weight.copy_(w3)
            self.third.bias.copy_(b3)
        self.eval()

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return logits ``(N, 6, 10) float32``."""
        x = F.relu(self.first(images_NHW.unsqueeze(1).to(self.first.weight.dtype)))
        x = F.relu(self.second(F.pad(x, (1, 0, 1, 0))))  # a block reaches up and left, never down or right
        logits: Tensor = self.head(F.relu(self.third(x)))
        return logits.reshape(-1, 6, 10)


def _folded(reader: PinReader, place: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution of the stem with its batch norm in them."""
    convolution, norm = reader.stem[place], reader.stem[place + 1]
    with torch.no_grad():
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        return convolution.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def _into_phases(w: Tensor) -> Tensor:
    """Turn ``(C1, 1, 5, 5)`` at stride 2 into ``(4 C1, 1, 7, 7)`` at stride 4: (p, q) shifts by (2p, 2q)."""
    phases = [F.pad(w, (2 * q, 2 - 2 * q, 2 * p, 2 - 2 * p)) for p in range(_BLOCK) for q in range(_BLOCK)]
    return torch.cat(phases)


def _from_phases(w: Tensor) -> Tensor:
    """Turn ``(C2, C1, 3, 3)`` at stride 2 into ``(C2, 4 C1, 2, 2)`` over blocks.

    Tap k reads position ``2 i + k - 1``: the second of the block before for k = 0, else k - 1 of this block.
    """
    blocked = w.new_zeros(w.shape[0], _BLOCK**2, w.shape[1], 2, 2)
    for k in range(3):
        for m in range(3):
            (row, p), (column, q) = ((0, 1) if tap == 0 else (1, tap - 1) for tap in (k, m))
            blocked[:, p * _BLOCK + q, :, row, column] = w[:, :, k, m]
    return blocked.flatten(1, 2)
