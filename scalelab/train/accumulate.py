"""Gradient accumulation: a large batch on a small memory.

Shape suffixes in this file: B = images in a micro-batch, H = rows (28), W = columns (168), P = digits (6),
K = classes (10).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from scalelab.core.errors import ConfigError

IGNORE = -100
"""label of a digit that carries no loss: illegible, or not annotated"""
MicroBatch = tuple[Tensor, Tensor]
"""images ``(B, 28, 168) uint8`` and labels ``(B, 6) int64``"""


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step saw and cost."""

    loss: float
    """mean cross-entropy [nats/digit], over all micro-batches"""
    grad_norm: float
    """global L2 norm of the gradient before clipping"""
    targets: int
    """digits that carried loss"""
    seconds: float


def accumulate_step(
    model: nn.Module,
    optimizer: Optimizer,
    micro_batches: Sequence[MicroBatch],
    *,
    max_grad_norm: float = 1.0,
) -> StepReport:
    """Take one optimizer step on the gradient of several micro-batches.

    The result equals one step on their concatenation: each micro-batch weighs as much as it has target
    digits. (Averaging per-batch means instead would let a short last micro-batch count double.) Peak memory
    is that of the largest micro-batch. Layers that look at the whole batch break the law: put batch norm in
    evaluation mode (`freeze_batch_norm`) and leave dropout at 0.

    Args:
        model: maps images ``(B, 28, 168) uint8`` to logits ``(B, 6, 10) float32``.
        optimizer: built over ``model.parameters()``.
        micro_batches: ``(images, labels)`` pairs; B may differ between pairs. Labels equal to ``IGNORE``
            carry no loss.
        max_grad_norm: clip the global L2 norm to this; ``inf`` switches clipping off.

    Raises:
        ConfigError: no micro-batch holds a target digit.
    """
    started_s = time.perf_counter()
    loss, targets = accumulate_gradients(model, micro_batches)
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return StepReport(loss, float(grad_norm), targets, time.perf_counter() - started_s)


def accumulate_gradients(model: nn.Module, micro_batches: Sequence[MicroBatch]) -> tuple[float, int]:
    """Fill ``.grad`` as one backward pass over all micro-batches would; return mean loss and targets.

    Raises:
        ConfigError: no micro-batch holds a target digit.
    """
    targets = sum(int((labels_BP != IGNORE).sum()) for _, labels_BP in micro_batches)
    if targets == 0:
        raise ConfigError(
            f"all labels of {len(micro_batches)} micro-batches are IGNORE ({IGNORE}), or there is none",
            hint="check that the mask is not inverted",
        )
    model.zero_grad(set_to_none=True)
    loss_nats = 0.0
    for images_BHW, labels_BP in micro_batches:
        nats = _sum_of_losses(model(images_BHW), labels_BP)
        (nats / targets).backward()  # .grad adds up; the graph of this micro-batch is freed here
        loss_nats += nats.item()
    return loss_nats / targets, targets


def average_step_means(model: nn.Module, micro_batches: Sequence[MicroBatch]) -> None:
    """Fill ``.grad`` the wrong way that is often seen: each micro-batch's mean, divided by their number."""
    model.zero_grad(set_to_none=True)
    for images_BHW, labels_BP in micro_batches:
        nats = _sum_of_losses(model(images_BHW), labels_BP)
        (nats / int((labels_BP != IGNORE).sum()) / len(micro_batches)).backward()


def cut(images_NHW: Tensor, labels_NP: Tensor, sizes: Sequence[int]) -> list[MicroBatch]:
    """Cut a batch into micro-batches of the given sizes, which must add up to it."""
    if sum(sizes) != len(images_NHW) or min(sizes, default=0) < 1:
        raise ConfigError(
            f"micro-batches of {list(sizes)} do not make a batch of {len(images_NHW)}",
            hint="give positive sizes that add up to the batch",
        )
    return list(zip(images_NHW.split(list(sizes)), labels_NP.split(list(sizes)), strict=True))


def freeze_batch_norm(model: nn.Module) -> None:
    """Let batch norm use its running statistics: an image's gradient no longer depends on its neighbours."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def flat_gradient(model: nn.Module) -> Tensor:
    """Return all gradients as one vector ``(parameters,) float64``."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double()


def relative_distance(found: Tensor, wanted: Tensor) -> float:
    """Return ``|found - wanted| / |wanted|`` in the L2 norm."""
    return float((found - wanted).norm() / wanted.norm())


def _sum_of_losses(logits_BPK: Tensor, labels_BP: Tensor) -> Tensor:
    return F.cross_entropy(
        logits_BPK.flatten(0, 1), labels_BP.flatten(), ignore_index=IGNORE, reduction="sum"
    )
