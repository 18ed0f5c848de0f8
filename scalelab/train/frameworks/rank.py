"""What one rank of `compare_frameworks` does. Each way is the shortest honest loop of its kind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scalelab.data import load_text
from scalelab.models import CharGpt
from scalelab.train.accumulate import MicroBatch, accumulate_step, relative_distance
from scalelab.train.data_parallel import BucketedModel, Wire, parallel_step
from scalelab.train.data_parallel.step import take
from scalelab.train.frameworks import others
from scalelab.train.frameworks.compare import BASES, FrameworksConfig
from scalelab.train.frameworks.others import CLIP, Step, loss_of, make_optimizer
from scalelab.train.rank import Rank
from scalelab.train.turns import take_turns

_ALONE = ("bare torch", "ours alone")


def measure(rank: Rank, **settings: Any) -> dict[str, Any]:
    """Let each way take a block of steps, turn by turn; return seconds a step, weights apart, world sizes."""
    config = FrameworksConfig(**settings)
    # each base right before what is compared with it: a pair is close in time
    names = list(dict.fromkeys(name for way in config.ways for name in (BASES[way], way)))
    models = {name: _gpt(config) for name in names}
    made = {name: MAKE[name](models[name]) for name in names}
    windows = torch.from_numpy(load_text(50_000, seed=config.seed).windows(config.context))
    share = config.batch_size // rank.world_size

    def block(step: Step, turn: int) -> None:
        for number in range(turn * config.block_steps, (turn + 1) * config.block_steps):
            first = (number * config.batch_size + rank.number * share) % (len(windows) - share)
            step(take(windows, range(first, first + share)))

    ways = {name: functools.partial(block, step) for name, (step, _) in made.items()}
    seconds = take_turns(rank, ways, config.blocks, alone=_ALONE)
    weights = {name: _flat(model) for name, model in models.items()}
    return {
        "seconds": {
            name: [took_s / config.block_steps for took_s in turns] for name, turns in seconds.items()
        },
        "differences": {way: relative_distance(weights[way], weights[BASES[way]]) for way in config.ways},
        "world_sizes": {name: size for name, (_, size) in made.items()},
    }


def bare_torch(model: nn.Module) -> tuple[Step, int]:
    """The loop as a first notebook has it."""
    optimizer = make_optimizer(model)

    def step(batch: MicroBatch) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return step, 1


def ours_alone(model: nn.Module) -> tuple[Step, int]:
    """`accumulate_step` on one micro-batch."""
    optimizer = make_optimizer(model)
    return lambda batch: accumulate_step(model, optimizer, [batch], max_grad_norm=CLIP), 1


def raw_ddp(model: nn.Module) -> tuple[Step, int]:
    """The same loop around torch's DDP."""
    ddp = DistributedDataParallel(model)
    step, _ = bare_torch(ddp)
    return step, ddp.process_group.size()


def ours_over_ddp(model: nn.Module) -> tuple[Step, int]:
    """`parallel_step` over torch's DDP."""
    ddp, optimizer, wire = DistributedDataParallel(model), make_optimizer(model), Wire()
    return lambda batch: parallel_step(ddp, optimizer, [batch], wire, max_grad_norm=CLIP), wire.world_size


def our_buckets(model: nn.Module) -> tuple[Step, int]:
    """`parallel_step` over buckets in Python."""
    wire = Wire()
    bucketed, optimizer = BucketedModel(model, wire), make_optimizer(model)
    return lambda batch: parallel_step(
        bucketed, optimizer, [batch], wire, max_grad_norm=CLIP
    ), wire.world_size


MAKE: dict[str, Callable[[nn.Module], tuple[Step, int]]] = {
    "bare torch": bare_torch,
    "ours alone": ours_alone,
    "raw DDP": raw_ddp,
    "ours over DDP": ours_over_ddp,
    "our buckets": our_buckets,
    "accelerate": others.by_accelerate,
    "Lightning": others.by_lightning,
    "DeepSpeed": others.by_deepspeed,
}


def _gpt(config: FrameworksConfig) -> CharGpt:
    torch.manual_seed(config.seed)
    return CharGpt(context=config.context, layers=config.layers, heads=config.heads, width=config.width)


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])
