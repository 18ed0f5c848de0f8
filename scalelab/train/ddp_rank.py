"""What one rank of `run_ddp` does.

Three ways to train take turns, so that a busy moment of the machine meets all of them:
``alone``    rank 0 trains on the whole batch, the others wait;
``ddp``      every rank takes its share of the batch, gradients are averaged at each step;
``no_sync``  the same, but gradients are exchanged once in several batches.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from scalelab.data import compose_pins
from scalelab.models import PinReader
from scalelab.train.accumulate import (
    MicroBatch,
    accumulate_gradients,
    flat_gradient,
    freeze_batch_norm,
    relative_distance,
)
from scalelab.train.ddp import DdpConfig
from scalelab.train.rank import Rank

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
        torch.manual_seed(config.seed)
        self.model = PinReader(config.width).train()
        freeze_batch_norm(self.model)  # live statistics would be those of the share, not of the batch
        self.ddp = DistributedDataParallel(self.model, **{_SYNC_BUFFERS: False})
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.exchanged = Exchanged()
        self.ddp.register_comm_hook(None, self.exchanged.hook)
        whole = [compose_pins(config.batch_size, "train", seed=config.seed + i) for i in range(_BATCHES)]
        self.batches = [(torch.from_numpy(b.images), torch.from_numpy(b.labels).long()) for b in whole]

    def share(self, i: int) -> MicroBatch:
        """Return this rank's part of batch `i`."""
        images, labels = self.batches[i % _BATCHES]
        size = self.config.batch_size // self.config.processes
        part = slice(self.rank.number * size, (self.rank.number + 1) * size)
        return images[part], labels[part]

    def train(self, batches: int, every: int) -> float:
        """Train on `batches` shares, exchange gradients once in `every`; return the seconds."""
        started_s = time.perf_counter()
        for i in range(batches):
            exchanges = (i + 1) % every == 0
            if i % every == 0:
                self.ddp.zero_grad(set_to_none=True)
            images, labels = self.share(i)
            with contextlib.nullcontext() if exchanges else self.ddp.no_sync():
                loss = nn.functional.cross_entropy(self.ddp(images).flatten(0, 1), labels.flatten()) / every
                if exchanges:
                    self.rank.arrive()
                loss.backward()
            if exchanges:
                self.optimizer.step()
            self.rank.step += 1
        return time.perf_counter() - started_s


def measure(rank: Rank, **settings: Any) -> dict[str, Any] | None:
    """Train in the three ways, round by round; rank 0 returns the fields of `DdpReport` that ranks know."""
    config = DdpConfig(**settings)
    replica = Replica(config, rank)
    alone = copy.deepcopy(replica.model)
    alone_optimizer = torch.optim.AdamW(alone.parameters(), lr=1e-3)

    gradient_error = compare_gradients(replica, alone)
    rounds = -(-config.steps // config.accumulate)
    seconds: dict[str, list[float]] = {"alone": [], "ddp": [], "no_sync": []}
    moved = dict.fromkeys(seconds, 0)
    for turn in range(-1, rounds):  # the first round warms up and is not counted
        order = list(seconds) if turn % 2 == 0 else list(reversed(seconds))
        for name in order:
            rank.barrier()
            replica.exchanged.bytes = 0
            if name == "alone":
                took_s = train_alone(alone, alone_optimizer, replica) if rank.number == 0 else 0.0
            else:
                took_s = replica.train(config.accumulate, 1 if name == "ddp" else config.accumulate)
            rank.barrier()
            if turn >= 0:
                seconds[name].append(took_s)
                moved[name] += replica.exchanged.bytes

    sums = gather_checksums(replica.model)
    if rank.number > 0:  # it timed only its own share
        return None
    return summary(config, seconds, moved, sums, gradient_error, count_parameters(alone))


def compare_gradients(replica: Replica, alone: nn.Module) -> float:
    """Return how far the averaged gradient of the ranks is from one process's gradient of the whole batch."""
    images, labels = replica.share(0)
    replica.ddp.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(replica.ddp(images).flatten(0, 1), labels.flatten()).backward()
    accumulate_gradients(alone, [replica.batches[0]])
    return relative_distance(flat_gradient(replica.model), flat_gradient(alone))


def train_alone(model: nn.Module, optimizer: Optimizer, replica: Replica) -> float:
    """Train on whole batches in this process; return the seconds."""
    started_s = time.perf_counter()
    for i in range(replica.config.accumulate):
        accumulate_gradients(model, [replica.batches[i % _BATCHES]])
        optimizer.step()
    return time.perf_counter() - started_s


def gather_checksums(model: nn.Module) -> list[str]:
    """Return sha256 of the parameters of every rank."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    mine = torch.tensor(list(digest.digest()), dtype=torch.uint8)
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
    ratios = {
        key: [a / b for a, b in zip(seconds["alone"], took, strict=True)] for key, took in seconds.items()
    }
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
        "ratios": ratios["ddp"],
        "ratios_no_sync": ratios["no_sync"],
    }
