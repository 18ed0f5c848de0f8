"""Pruning single weights: a mask of zeros that changes neither the shapes nor the bytes.

Sources: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (magnitude);
Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks" (2 of 4, which some GPUs compute at twice the
rate; CPU kernels multiply the zeros like any other number).
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from scalelab.core.errors import ConfigError, DataError

Masks = Mapping[str, Tensor]
"""name of a weight -> bool of its shape; True stays"""


def magnitude_masks(model: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """Return masks that drop the smallest weights of all layers together, biases and norms left alone.

    Law: ``round(sparsity * n)`` of the n weights are dropped, and none of them is larger than one that stays.

    Args:
        sparsity: share of the weights to drop, from 0 to below 1.

    Raises:
        ConfigError: another share.
        DataError: the model has no weights of two or more axes, or they are not finite.
    """
    if not 0 <= sparsity < 1:
        raise ConfigError(f"a sparsity of {sparsity}", hint="give a share from 0 to below 1, as 0.9")
    weights = prunable(model)
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    if not torch.isfinite(sizes).all():
        raise DataError("a weight is NaN or infinite", hint="was the model trained?")
    keep = torch.ones_like(sizes, dtype=torch.bool)
    # the order and not a threshold: weights of equal size would be dropped together or kept together
    keep[sizes.argsort(stable=True)[: round(sparsity * len(sizes))]] = False
    parts = keep.split([weight.numel() for weight in weights.values()])
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, parts, strict=True)}


def n_of_m_masks(model: nn.Module, n: int = 2, m: int = 4) -> dict[str, Tensor]:
    """Return masks that keep the `n` largest of every `m` neighbours along a row of inputs.

    A layer whose rows are no multiple of `m` gets no mask: hardware with this pattern leaves it dense too.

    Raises:
        ConfigError: not ``0 < n <= m``.
    """
    if not 0 < n <= m:
        raise ConfigError(f"{n} of {m} weights cannot stay", hint="give n from 1 to m, as 2 of 4")
    masks = {}
    for name, weight in prunable(model).items():
        if weight[0].numel() % m == 0:
            groups = weight.detach().abs().reshape(-1, m)
            largest = groups.argsort(dim=1, descending=True, stable=True)[:, :n]
            keep = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, largest, True)
            masks[name] = keep.reshape(weight.shape)
    return masks


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set the dropped weights of `model` to zero, in place; after each optimizer step they stay dropped.

    Raises:
        ConfigError: a mask of no weight of the model, or of another shape; nothing was changed.
    """
    weights = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in weights or weights[name].shape != mask.shape:
            raise ConfigError(
                f"no weight {name!r} {tuple(mask.shape)}", hint="make the masks from this model"
            )
    for name, mask in masks.items():
        weights[name].mul_(mask)


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of two axes or more: those of convolutions and dense layers.

    Raises:
        DataError: there is none.
    """
    found = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
    if not found:
        raise DataError(f"{type(model).__name__} has no weights to prune", hint="give a model with layers")
    return found


def share_of_zeros(model: nn.Module) -> float:
    """Return the share of exact zeros among the weights that can be pruned."""
    weights = prunable(model).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@dataclass(frozen=True)
class FileSizes:
    """What a file takes, as it lies and packed."""

    bytes: int
    gzip_bytes: int
    """after gzip -6: what zeros buy on the wire, and nowhere else"""


def file_sizes(path: Path | str) -> FileSizes:
    """Return the size of a file, plain and by gzip.

    Raises:
        DataError: there is no such file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint="save or export it first") from None
    return FileSizes(len(content), len(gzip.compress(content, 6, mtime=0)))
