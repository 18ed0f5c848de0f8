"""What one rank of `run_elastic` does: the plain loop of a data parallel training, with checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from scalelab.core.errors import RunFailed
from scalelab.data import load_text
from scalelab.models import CharGpt
from scalelab.models.gpt import ARCHITECTURE
from scalelab.train.data_parallel import BucketedModel, ShardedSampler, Wire, parallel_step
from scalelab.train.data_parallel.step import take
from scalelab.train.ddp_rank import gather_checksums
from scalelab.train.elastic.checkpoint import (
    Checkpoint,
    checkpoint_path,
    drop_old_checkpoints,
    newest_checkpoint,
    restore,
    save_checkpoint,
)
from scalelab.train.elastic.run import ElasticConfig
from scalelab.train.rank import Rank


def train(rank: Rank, folder: str, **settings: Any) -> dict[str, Any]:
    """Train from the newest checkpoint, or from nothing, to the last step; return the report's fields."""
    config = ElasticConfig(**settings)
    wire = Wire()
    torch.manual_seed(config.seed)
    gpt = CharGpt(
        context=config.context,
        layers=config.layers,
        heads=config.heads,
        width=config.width,
        dropout=config.dropout,
    )
    model = BucketedModel(gpt, wire)
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=config.learning_rate)
    windows = torch.from_numpy(load_text(config.characters, seed=config.seed).windows(config.context))
    sampler = ShardedSampler(
        len(windows), config.batch_size, rank=rank.number, world_size=rank.world_size, seed=config.seed
    )
    torch.manual_seed(config.seed + 1 + rank.number)  # dropout differs between ranks

    saved = newest_checkpoint(folder, architecture=ARCHITECTURE, config=gpt.config)
    if saved is not None:
        restore(saved, gpt, optimizer, sampler, rank=rank.number)
    step = resumed_from = saved.step if saved else 0
    losses: list[float] = []
    while step < config.steps:
        for share in sampler:
            rank.arrive(step)
            try:
                losses.append(parallel_step(model, optimizer, [take(windows, share)], wire).loss)
            except RunFailed as error:
                raise RunFailed(f"step {step + 1}: {error.message}", hint=error.hint) from None
            step += 1
            if step % config.save_every == 0 or step == config.steps:
                random_states = Wire().all_gather(torch.get_rng_state()).wait()  # all ranks take part
                if rank.number == 0:
                    _save(Path(folder), step, gpt, optimizer, sampler, random_states)
            if step == config.steps:
                break
    return {
        "losses": losses,
        "resumed_from": resumed_from,
        "checksums": gather_checksums(gpt),
        "handed_bytes_per_step": wire.traffic.handed_bytes // max(1, len(losses)),
    }


def _save(
    folder: Path,
    step: int,
    gpt: CharGpt,
    optimizer: torch.optim.Optimizer,
    sampler: ShardedSampler,
    random_states: torch.Tensor,
) -> None:
    checkpoint = Checkpoint(
        step,
        ARCHITECTURE,
        gpt.config,
        gpt.state_dict(),
        optimizer.state_dict(),
        sampler.state(),
        tuple(random_states),
    )
    save_checkpoint(checkpoint, checkpoint_path(folder, step))
    drop_old_checkpoints(folder)
