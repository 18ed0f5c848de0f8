"""What one rank of `run_ddp` does.

Three ways to train take turns, so that a busy moment of the machine meets all of them:
``alone``    rank 0 trains on the whole batch, the others wait;
``ddp``      every rank takes its share of the batch, gradients are averaged at each step;
``no_sync``  the same, but gradients are exchanged once in several batches.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import inspect
import statistics
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from scalelab.train.accumulate import MicroBatch, accumulate_gradients, flat_gradient, relative_distance
from scalelab.train.ddp import DdpConfig
from scalelab.train.rank import Rank
from scalelab.train.turns import take_turns
from scalelab.train.workload import make_workload

_BATCHES = 4
"""different batches, composed beforehand: the clock sees training only"""
_SYNC_BUFFERS = next(
    name  # newer torch, older torch
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


@dataclass
class Exchanged:
    """Counts what this rank hands to all-reduce."""

    bytes: int = 0

    def hook(self, group: Any, bucket):  # type: ignore[no-untyped-def]  # DDP refuses annotations as text
        """All-reduce a bucket of gradients as DDP does by default, and add up its bytes."""
        self.bytes += bucket.buffer().numel() * bucket.buffer().element_size()
        return allreduce_hook(group, bucket)


class Replica:
    """What one rank holds: its copy of the model, and its share of each batch."""

    def __init__(self, config: DdpConfig, rank: Rank):
        self.config, self.rank = config, rank
        self.work = make_workload(
            config.model,
            batch_size=config.batch_size,
            batches=_BATCHES,
            width=config.width,
            seed=config.seed,
            device=rank.device,
        )
        self.model = self.work.model
        self.ddp = DistributedDataParallel(self.model, **{_SYNC_BUFFERS: False})
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.exchanged = Exchanged()
        self.ddp.register_comm_hook(None, self.exchanged.hook)

    def share(self, i: int) -> MicroBatch:
        """Return this rank's part of batch `i`."""
        inputs, targets = self.work.batches[i % _BATCHES]
        size = self.config.batch_size // self.config.processes
        part = slice(self.rank.number * size, (self.rank.number + 1) * size)
        return inputs[part], targets[part]

    def train(self, batches: int, every: int) -> None:
        """Train on `batches` shares, exchange gradients once in `every`."""
        for i in range(batches):
            exchanges = (i + 1) % every == 0
            if i % every == 0:
                self.ddp.zero_grad(set_to_none=True)
            with contextlib.nullcontext() if exchanges else self.ddp.no_sync():
                loss = self.work.loss(self.ddp, self.share(i)) / every
                if exchanges:
                    self.rank.arrive()
                loss.backward()
            if exchanges:
                self.optimizer.step()
            self.rank.step += 1


def measure(rank: Rank, **settings: Any) -> dict[str, Any] | None:
    """Train in the three ways, round by round; rank 0 returns the fields of `DdpReport` that ranks know."""
    config = DdpConfig(**settings)
    replica = Replica(config, rank)
    alone = copy.deepcopy(replica.model)
    optimizer = torch.optim.AdamW(alone.parameters(), lr=1e-3)
    gradient_error = compare_gradients(replica, alone)
    moved = {"alone": 0, "ddp": 0, "no_sync": 0}

    def train_alone(turn: int) -> None:
        for i in range(config.accumulate):
            accumulate_gradients(alone, [replica.work.batches[i % _BATCHES]])
            optimizer.step()

    def train_together(turn: int, name: str) -> None:
        before = replica.exchanged.bytes
        replica.train(config.accumulate, 1 if name == "ddp" else config.accumulate)
        if turn > 0:  # the first one warms up and is not counted
            moved[name] += replica.exchanged.bytes - before

    ways = {
        "alone": train_alone,
        "ddp": functools.partial(train_together, name="ddp"),
        "no_sync": functools.partial(train_together, name="no_sync"),
    }
    seconds = take_turns(rank, ways, -(-config.steps // config.accumulate), alone=("alone",))
    sums = gather_checksums(replica.model)
    if rank.number > 0:  # it timed only its own share
        return None
    found = summary(config, seconds, moved, sums, gradient_error, count_parameters(alone))
    return {**found, "device": rank.device.type}


def compare_gradients(replica: Replica, alone: nn.Module) -> float:
    """Return how far the averaged gradient of the ranks is from one process's gradient of the whole batch."""
    replica.ddp.zero_grad(set_to_none=True)
    replica.work.loss(replica.ddp, replica.share(0)).backward()
    accumulate_gradients(alone, [replica.work.batches[0]])
    return relative_distance(flat_gradient(replica.model), flat_gradient(alone))


def gather_checksums(model: nn.Module) -> list[str]:
    """Return sha256 of the parameters of every rank."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
        device = parameter.device
    mine = torch.tensor(list(digest.digest()), dtype=torch.uint8, device=device)
    everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, mine)
    return [bytes(one.tolist()).hex() for one in everyone]


def count_parameters(model: nn.Module) -> int:
    """Return the number of trained numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def summary(
    config: DdpConfig,
    seconds: dict[str, list[float]],
    moved: dict[str, int],
    checksums: list[str],
    gradient_error: float,
    parameters: int,
) -> dict[str, Any]:
    """Return the fields of `DdpReport` that the ranks know."""
    steps = len(seconds["ddp"]) * config.accumulate
    images = config.accumulate * config.batch_size
    names = {
        "alone": "one process",
        "ddp": f"DDP, {config.processes} processes",
        "no_sync": f"DDP, exchange every {config.accumulate} batches",
    }
    rows = [
        {
            "name": names[key],
            "images_per_s": images / statistics.median(seconds[key]),
            "bytes_per_step": moved[key] / steps,
        }
        for key in seconds
    ]
    assert moved["ddp"] % steps == 0, (moved, steps)
    return {
        "world_size": dist.get_world_size(),
        "parameters": parameters,
        "steps": steps,
        "same_parameters": len(set(checksums)) == 1,
        "checksums": checksums,
        "gradient_error": gradient_error,
        "bytes_per_step": moved["ddp"] // steps,
        "expected_bytes_per_step": parameters * 4,
        "rows": rows,
        "seconds": seconds,
    }
