"""The prototype: a small convolutional stem, then dense layers far wider than the task needs.

Shape suffixes in this file: N = images, H = rows (28), W = columns (168), C = channels,
P = digits of a PIN code (6), K = classes (10).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from scalelab.core.errors import ConfigError

N_DIGITS, N_CLASSES = 6, 10
ARCHITECTURE = "scalelab.PinReader/1"


class PinReader(nn.Module):
    """Reads six digits from one image: ``(N, 28, 168) uint8`` to logits ``(N, 6, 10) float32``.

    The stem sees one digit's 28 columns at a time; the dense layers see all six. Their weights (`width` 2048:
    40 MiB) are read from memory once a call, for one image or for many: a single prediction waits for memory,
    a batch computes.

    Args:
        width: units of each of the two dense layers.
        channels: of the three convolutions; the last one is the number of features of a digit.
        dropout: share of dense units switched off in training.
    """

    def __init__(
        self, width: int = 2048, channels: tuple[int, int, int] = (16, 24, 512), dropout: float = 0.0
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
        self.stem = nn.Sequential(
            *_conv(1, first, 5, stride=2, padding=2),  # (N, C, 14, 84)
            *_conv(first, second, 3, stride=2, padding=1),  # (N, C, 7, 42)
            *_conv(second, third, 7, stride=7),  # (N, C, 1, 6): a look at each digit as a whole
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(third * N_DIGITS, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, N_DIGITS * N_CLASSES),
        )

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return logits ``(N, 6, 10)`` of ``(N, 28, 168) uint8`` images, in the type of the weights."""
        x_N1HW = images_NHW.unsqueeze(1).to(self.stem[0].weight.dtype) * (1 / 255)
        logits: Tensor = self.head(self.stem(x_N1HW))
        return logits.reshape(-1, N_DIGITS, N_CLASSES)


def _conv(inputs: int, outputs: int, side: int, *, stride: int, padding: int = 0) -> tuple[nn.Module, ...]:
    """A convolution; its batch norm is two numbers a channel in evaluation, which exporters fold away."""
    convolution = nn.Conv2d(inputs, outputs, side, stride=stride, padding=padding, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()
