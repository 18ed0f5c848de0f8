"""A transformer block split over ranks by hand: each holds some heads, and some of the dense layer's units.

A linear layer can be split by *columns* (each rank computes some outputs) or by *rows* (each takes some
inputs, and the partial results are added). Columns first and rows after need no exchange in between, so a
branch costs one all-reduce forward and one backward (Shoeybi et al. 2019, "Megatron-LM", section 3).

Shape suffixes in this file: B = sequences, T = positions, D = width.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from scalelab.core.errors import ConfigError
from scalelab.models import CharGpt
from scalelab.models.gpt import Attention, Dense
from scalelab.train.data_parallel.wire import Wire


def split_gpt(model: CharGpt, wire: Wire) -> CharGpt:
    """Return a copy of which this rank holds its share: ``1/N`` of the blocks' matrices, all of the rest.

    Law: logits and gradients are those of the whole model (rounding aside). A block costs 2 all-reduces
    forward and 2 backward, of B x T x D numbers each, whatever the number of ranks.

    Raises:
        ConfigError: the ranks do not divide the heads.
    """
    heads = model.config["heads"]
    if heads % wire.world_size:
        raise ConfigError(
            f"{heads} heads cannot be shared equally by {wire.world_size} ranks",
            hint="take a number of ranks that divides the heads",
        )
    model = copy.deepcopy(model)
    for block in model.blocks:
        block.attention = SplitBranch(block.attention, wire)
        block.dense = SplitBranch(block.dense, wire)
    return model


class SplitBranch(nn.Module):
    """One rank's share of a branch: layers that open it split by columns, the one that ends it by rows."""

    def __init__(self, branch: Attention | Dense, wire: Wire):
        super().__init__()
        self.wire = wire
        ends = "out" if isinstance(branch, Attention) else "down"
        self.bias = nn.Parameter(getattr(branch, ends).bias.detach().clone())
        """of the last layer: added once, after the sum over ranks"""
        for name, layer in list(branch.named_children()):
            split = split_rows if name == ends else split_columns
            setattr(branch, name, split(layer, wire.rank, wire.world_size))
        self.share = branch

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return ``(B, T, D)``, the same on all ranks."""
        partial_BTD = self.share(_Enter.apply(x_BTD, self.wire))
        return _Leave.apply(partial_BTD, self.wire) + self.bias


def split_columns(layer: nn.Linear, rank: int, world_size: int) -> nn.Linear:
    """Return the part of a layer that gives this rank's outputs: rows of its ``(out, in)`` weight."""
    part = _part(layer.out_features, rank, world_size)
    bias = None if layer.bias is None else layer.bias[part]
    return _linear(layer.weight[part], bias)


def split_rows(layer: nn.Linear, rank: int, world_size: int) -> nn.Linear:
    """Return the part of a layer that takes this rank's inputs, without bias: its results are to be added."""
    return _linear(layer.weight[:, _part(layer.in_features, rank, world_size)], None)


class _Enter(torch.autograd.Function):
    """Forward: nothing. Backward: every rank's part of the model has a gradient for x, and they add up."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, wire: Wire) -> Tensor:
        ctx.wire = wire
        return x_BTD.view_as(x_BTD)

    @staticmethod
    def backward(ctx: Any, gradient_BTD: Tensor) -> tuple[Tensor, None]:
        return ctx.wire.all_reduce(gradient_BTD.clone(memory_format=torch.contiguous_format)).wait(), None


class _Leave(torch.autograd.Function):
    """Forward: partial results are added over ranks. Backward: each part gets the sum's gradient as it is."""

    @staticmethod
    def forward(ctx: Any, partial_BTD: Tensor, wire: Wire) -> Tensor:
        return wire.all_reduce(partial_BTD.clone(memory_format=torch.contiguous_format)).wait()

    @staticmethod
    def backward(ctx: Any, gradient_BTD: Tensor) -> tuple[Tensor, None]:
        return gradient_BTD, None


def _part(size: int, rank: int, world_size: int) -> slice:
    if size % world_size:
        raise ConfigError(
            f"{size} features cannot be shared equally by {world_size} ranks",
            hint="take ranks that divide them",
        )
    share = size // world_size
    return slice(rank * share, (rank + 1) * share)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer
