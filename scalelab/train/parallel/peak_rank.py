"""What one rank of `compare_peaks` does: a few steps in one way, and a look at its high-water mark."""

from __future__ import annotations

from typing import Any

import psutil
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scalelab.data import load_text
from scalelab.models import CharGpt
from scalelab.models.gpt import initialize
from scalelab.train.loop import peak_memory
from scalelab.train.parallel.memory import state_bytes
from scalelab.train.parallel.peak import DDP, FSDP, PeakConfig
from scalelab.train.parallel.pipeline import character_loss
from scalelab.train.parallel.sharded import make_sharded
from scalelab.train.rank import Rank


def measure(rank: Rank, way: str, **settings: Any) -> dict[str, Any]:
    """Train for a few steps; return what this rank held and needed at most [bytes], and its last loss."""
    config = PeakConfig(**settings)
    windows = torch.from_numpy(load_text(20_000, seed=config.seed).windows(config.context))
    rank.barrier()
    before_bytes = psutil.Process().memory_info().rss

    model = _make(way, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    share = config.batch_size // config.world_size
    for step in range(config.steps):
        optimizer.zero_grad(set_to_none=way != DDP)  # DDP's gradients are views of its buckets
        first = step * config.batch_size + rank.number * share
        rows = windows[first : first + share]
        rank.arrive(step)
        loss = character_loss(model(rows[:, :-1]), rows[:, 1:])
        loss.backward()
        optimizer.step()
    held = state_bytes(model, optimizer)
    return {
        "state_bytes": held.total,
        "before_bytes": before_bytes,
        "peak_bytes": peak_memory() - before_bytes,
        "loss": loss.item(),
    }


def _make(way: str, config: PeakConfig) -> nn.Module:
    shape = {name: getattr(config, name) for name in ("context", "layers", "heads", "width")}
    if way == FSDP:
        return make_sharded(shape, config.world_size, seed=config.seed)
    model = CharGpt(**shape)
    torch.manual_seed(config.seed)
    initialize(model)
    return DistributedDataParallel(model, gradient_as_bucket_view=True)
