"""The prototype: a small convolutional stem, then dense layers far wider than the task needs.

Shape suffixes in this file: N = images, H = rows (28), W = columns (168), C = channels, F = features of the
stem, P = digits of a PIN code (6), K = classes (10).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scalelab.core.errors import ConfigError

HEIGHT, WIDTH, N_DIGITS, N_CLASSES = 28, 168, 6, 10
ARCHITECTURE = "scalelab.PinReader/1"


class PinReader(nn.Module):
    """Reads six digits from one image: ``(N, 28, 168) uint8`` to logits ``(N, 6, 10) float32``.

    The dense layers see the whole image at once. Their weights (`width` 2048: 53 MiB) are read from memory
    once a call, for one image or for many: a single prediction waits for memory, a batch computes.

    Args:
        width: units of each of the two dense layers.
        channels: channels of the three convolutions; each halves or keeps the picture's side.
        dropout: share of dense units switched off in training.
    """

    def __init__(
        self, width: int = 2048, channels: tuple[int, int, int] = (16, 32, 16), dropout: float = 0.0
    ):
        super().__init__()
        if width < 1 or len(channels) != 3 or min(channels) < 1:
            raise ConfigError(
                f"a reader of width {width} and channels {tuple(channels)} cannot be built",
                hint="give a width of at least 1 (tests use 32) and three channel counts",
            )
        self.config: dict[str, Any] = {"width": width, "channels": list(channels), "dropout": dropout}
        """what builds this network again: ``PinReader(**config)``"""
        first, second, third = channels
        features = third * (HEIGHT // 4) * (WIDTH // 4)
        self.stem = nn.Sequential(
            *_conv(1, first),  # (N, C, 28, 168)
            nn.MaxPool2d(2),  # (N, C, 14, 84)
            *_conv(first, second),
            nn.MaxPool2d(2),  # (N, C, 7, 42)
            *_conv(second, third),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, N_DIGITS * N_CLASSES),
        )

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return logits ``(N, 6, 10) float32`` of ``(N, 28, 168) uint8`` images."""
        x_N1HW = images_NHW.unsqueeze(1).to(torch.float32) * (1 / 255)
        logits: Tensor = self.head(self.stem(x_N1HW))
        return logits.reshape(-1, N_DIGITS, N_CLASSES)


def _conv(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """A 3x3 convolution; its batch norm is two numbers a channel in evaluation, which exporters fold away."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
