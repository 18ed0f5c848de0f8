"""What one rank of `compare_over_real_link` does: the same optimizer steps in several ways, in turn."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from scalelab.train.accumulate import relative_distance
from scalelab.train.data_parallel.cable import sent_bytes
from scalelab.train.data_parallel.real_link import ALONE, EACH, RANKS, RARE, RAW, RealLinkConfig
from scalelab.train.data_parallel.wire import Wire
from scalelab.train.ddp_rank import Exchanged
from scalelab.train.rank import Rank
from scalelab.train.turns import take_turns
from scalelab.train.workload import make_workload


def measure(rank: Rank, **settings: Any) -> dict[str, Any]:
    """Take turns on this rank; return seconds of each turn, bytes of all turns, weights apart."""
    config = RealLinkConfig(**settings)
    work = make_workload(
        "mlp", batch_size=config.batch_size, batches=config.accumulate, width=config.width, seed=config.seed
    )
    size = config.batch_size // RANKS
    part = slice(rank.number * size, (rank.number + 1) * size)
    shares = [(inputs[part], targets[part]) for inputs, targets in work.batches]
    gradients = torch.zeros(sum(p.numel() for p in work.model.parameters()))
    models = {way: copy.deepcopy(work.model) for way in (ALONE, EACH, RARE)}
    counts = {way: Exchanged() for way in models}
    handed, wire = dict.fromkeys(models, 0), dict.fromkeys([*models, RAW], 0)

    def accumulate(model: Any, optimizer: Any, way: str) -> None:
        optimizer.zero_grad(set_to_none=True)
        for i, share in enumerate(shares):
            is_last = i == len(shares) - 1
            with model.no_sync() if way == RARE and not is_last else contextlib.nullcontext():
                (work.loss(model, share) / len(shares)).backward()
        optimizer.step()

    def counted(act: Callable[[], object], way: str, turn: int) -> None:
        rank.arrive()
        before = (counts[way].bytes if way in counts else 0, sent_bytes())
        act()
        if turn > 0:  # the first one warms up
            wire[way] += sent_bytes() - before[1]
            if way in counts:
                handed[way] += counts[way].bytes - before[0]

    ways = {}
    for way, model in models.items():
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        wrapped = model if way == ALONE else DistributedDataParallel(model)
        if way != ALONE:
            wrapped.register_comm_hook(None, counts[way].hook)
        ways[way] = functools.partial(counted, functools.partial(accumulate, wrapped, optimizer, way), way)
    ways[RAW] = functools.partial(counted, lambda: Wire().all_reduce(gradients).wait(), RAW)
    seconds = take_turns(rank, ways, config.turns)
    weights = {way: torch.cat([p.detach().flatten() for p in models[way].parameters()]) for way in models}
    return {
        "seconds": seconds,
        "handed": handed,
        "wire": wire,
        "gradient_bytes": gradients.nbytes,
        "difference": relative_distance(weights[RARE], weights[EACH]),
    }
