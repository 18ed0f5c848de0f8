"""Pruning whole channels of the PIN reader: what is left is a smaller dense network, so any runtime gains.

A channel is scored by the L1 norm of the weights that make it (Li et al. 2017, "Pruning Filters for Efficient
ConvNets"), its batch norm folded in, since that is what reaches the next layer.

Shapes: a filter ``(C_out, C_in, k, k)``, a dense weight ``(units, inputs)``; the first dense layer's input
``c * 6 + p`` is channel c of digit p.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalelab.core.errors import ConfigError
from scalelab.models import PinReader

N_DIGITS = 6
_CONVOLUTIONS, _NORMS, _DENSE, _LAST = (0, 3, 6), (1, 4, 7), (1, 4), 7
"""places of the layers in the reader's `stem` and `head`"""


@dataclass(frozen=True)
class Kept:
    """What stays of a reader, as sorted indices into each layer's outputs."""

    channels: tuple[Tensor, Tensor, Tensor]
    units: tuple[Tensor, Tensor]
    """of the two dense layers"""


@torch.no_grad()
def choose_channels(model: PinReader, width: int, channels: Sequence[int]) -> Kept:
    """Choose the channels and units with the largest norms.

    Args:
        width: units that stay in each of the two dense layers.
        channels: channels that stay of each of the three convolutions.

    Raises:
        ConfigError: more than the reader has, or none.
    """
    had = (*model.config["channels"], model.config["width"])
    wanted = (*channels, width)
    if len(wanted) != 4 or not all(1 <= want <= have for want, have in zip(wanted, had, strict=True)):
        raise ConfigError(
            f"channels {tuple(channels)} and width {width} cannot stay of {had[:3]} and {had[3]}",
            hint="give three channel counts and a width, from 1 to what the reader has",
        )
    scores = []
    for convolution, norm in _stem_layers(model):
        gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).abs()
        scores.append(convolution.weight.abs().flatten(1).sum(1) * gain)
    scores += [model.head[place].weight.abs().sum(1) for place in _DENSE]
    counts = (*channels, width, width)
    first, second, third, *units = (
        score.topk(count).indices.sort().values for score, count in zip(scores, counts, strict=True)
    )
    return Kept((first, second, third), (units[0], units[1]))


@torch.no_grad()
def mask_channels(model: PinReader, kept: Kept) -> PinReader:
    """Return a copy of the same shapes, in which everything that does not stay gives 0.

    As large and as slow as before; `remove_channels` gives the same logits.
    """
    masked = copy.deepcopy(model)
    for (_, norm), stays in zip(_stem_layers(masked), kept.channels, strict=True):
        off = _others(norm.num_features, stays)
        norm.weight[off], norm.bias[off] = 0.0, 0.0
    for place, stays in zip(_DENSE, kept.units, strict=True):
        off = _others(masked.head[place].out_features, stays)
        masked.head[place].weight[off], masked.head[place].bias[off] = 0.0, 0.0
    return masked


@torch.no_grad()
def remove_channels(model: PinReader, kept: Kept) -> PinReader:
    """Return a smaller reader, in which what does not stay is gone: rows of its layer, columns of the next.

    Law: in evaluation its logits are those of ``mask_channels(model, kept)``, up to the order of sums. Its
    dropout is off: what is left has no units to spare.
    """
    first, second, third = map(len, kept.channels)
    small = PinReader(width=len(kept.units[0]), channels=(first, second, third))
    inputs = torch.arange(1)
    for (old, old_norm), (new, new_norm), stays in zip(
        _stem_layers(model), _stem_layers(small), kept.channels, strict=True
    ):
        new.weight.copy_(old.weight[stays][:, inputs])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(new_norm, name).copy_(getattr(old_norm, name)[stays])
        inputs = stays
    inputs = (inputs[:, None] * N_DIGITS + torch.arange(N_DIGITS)).flatten()
    all_logits = torch.arange(model.head[_LAST].out_features)
    for place, stays in zip((*_DENSE, _LAST), (*kept.units, all_logits), strict=True):
        small.head[place].weight.copy_(model.head[place].weight[stays][:, inputs])
        small.head[place].bias.copy_(model.head[place].bias[stays])
        inputs = stays
    return small.train(model.training)


def prune_channels(model: PinReader, width: int, channels: Sequence[int]) -> PinReader:
    """Return the smaller reader made of the channels and units with the largest norms; train it on a little.

    Raises:
        ConfigError: as `choose_channels`.
    """
    return remove_channels(model, choose_channels(model, width, channels))


def _stem_layers(model: PinReader) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    return [(model.stem[conv], model.stem[norm]) for conv, norm in zip(_CONVOLUTIONS, _NORMS, strict=True)]  # type: ignore[misc]


def _others(count: int, stays: Tensor) -> Tensor:
    off = torch.ones(count, dtype=torch.bool)
    off[stays] = False
    return off
