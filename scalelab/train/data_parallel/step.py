"""One optimizer step over all ranks, equal to one process's step on all their samples together.

Shape suffixes in this file: B = sequences of a micro-batch, T = positions, V = vocabulary.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.train.accumulate import IGNORE, MicroBatch, StepReport
from scalelab.train.data_parallel.wire import Wire


def parallel_step(
    model: Any,
    optimizer: Optimizer,
    micro_batches: Sequence[MicroBatch],
    wire: Wire,
    *,
    max_grad_norm: float = 1.0,
) -> StepReport:
    """Take one optimizer step on the micro-batches of all ranks; return what it saw, over all ranks.

    Law: the result equals `accumulate_step` in one process on the micro-batches of all ranks together,
    however unequal the shares: each target weighs the same. Gradients are exchanged once, in the backward
    pass of the last micro-batch. A loss that is no number raises on all ranks, before weights are touched.

    Args:
        model: a `BucketedModel`, or torch's `DistributedDataParallel`: both average over ranks.
        micro_batches: this rank's ``(ids, targets)`` pairs, at least one (`take` makes it of an empty share).
        wire: to the other ranks; carries two numbers a step beside the gradients.
        max_grad_norm: clip the global L2 norm to this; ``inf`` switches clipping off.

    Raises:
        ConfigError: no micro-batch of any rank holds a target.
        RunFailed: the loss is no longer a number.
    """
    started_s = time.perf_counter()
    own = sum(int((targets != IGNORE).sum()) for _, targets in micro_batches)
    targets_everywhere = wire.all_reduce(
        torch.tensor([own], dtype=torch.float64)
    )  # travels beside the forward
    model.zero_grad(set_to_none=True)
    nats_here = torch.zeros(1, dtype=torch.float64)
    total = 0
    for i, (ids_BT, targets_BT) in enumerate(micro_batches):
        is_last = i == len(micro_batches) - 1
        with contextlib.nullcontext() if is_last else model.no_sync():
            logits_BTV = model(ids_BT)
            nats = F.cross_entropy(
                logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORE, reduction="sum"
            )
            nats_here += nats.detach()
            if i == 0:
                total = _count(targets_everywhere.wait())
            if is_last:
                nats_everywhere = wire.all_reduce(nats_here.clone())  # travels beside the backward
            (nats * (wire.world_size / total)).backward()  # the mean over ranks divides by world_size again
    loss = nats_everywhere.wait().item() / total
    if not math.isfinite(loss):
        raise RunFailed(
            f"the loss became {loss}; rank {wire.rank}'s part of it is {nats_here.item()}",
            hint="lower the learning rate, or look for a damaged sample",
        )
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return StepReport(loss, float(grad_norm), total, time.perf_counter() - started_s)


def take(windows: Tensor, share: Sequence[int]) -> MicroBatch:
    """Return inputs and targets ``(B, T) int64`` of some rows of ``windows (n, T + 1)``.

    An empty share gives one row without targets: it has no gradient, but its rank takes part in the exchange.
    """
    rows = windows[list(share) or [0]]
    ids_BT, targets_BT = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    return ids_BT, targets_BT if len(share) else torch.full_like(targets_BT, IGNORE)


def _count(targets: Tensor) -> int:
    total = int(targets.item())
    if total == 0:
        raise ConfigError(
            f"all targets of all ranks are IGNORE ({IGNORE})", hint="check that the mask is not inverted"
        )
    return total
