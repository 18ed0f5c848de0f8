"""Train the character GPT on several ranks so that a killed one costs the steps since the last checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.train.launch import run_ranks


@dataclass(frozen=True)
class ElasticConfig:
    """What every rank is told. Another folder of checkpoints belongs to each config."""

    world_size: int = 2
    batch_size: int = 16
    """windows of text in a step, over all ranks; an odd rest is shared as evenly as it goes"""
    steps: int = 60
    save_every: int = 10
    """steps between two checkpoints"""
    characters: int = 50_000
    """of text to train on"""
    context: int = 64
    layers: int = 2
    heads: int = 4
    width: int = 64
    dropout: float = 0.1
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("world_size", "batch_size", "steps", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if self.batch_size < self.world_size:
            raise ConfigError(
                f"a batch of {self.batch_size} windows leaves {self.world_size - self.batch_size} of "
                f"{self.world_size} ranks without work",
                hint=f"give a batch of at least {self.world_size}, or fewer ranks",
            )
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ConfigError(f"a learning rate of {self.learning_rate}", hint="try 3e-3")


@dataclass(frozen=True)
class ElasticReport:
    """How the training went."""

    losses: tuple[float, ...]
    """mean cross-entropy [nats/character] of each step since `resumed_from`"""
    resumed_from: int
    """step of the checkpoint that the last life of the ranks began with; 0 without one"""
    restarts: int
    """how often torchrun started all ranks again"""
    checksums: tuple[str, ...]
    """sha256 of each rank's weights at the end"""
    handed_bytes_per_step: int
    """gradients that each rank hands to all-reduce, and two numbers"""
    seconds: float
    """wall time of everything, start of the processes included"""


def run_elastic(
    config: ElasticConfig,
    folder: Path,
    *,
    max_restarts: int = 3,
    timeout_s: float = 600.0,
    stall_s: float = 60.0,
    on_poll: Callable[[], None] | None = None,
    function: str = "scalelab.train.elastic.rank:train",
) -> ElasticReport:
    """Train under torchrun, which starts all ranks again when one dies; they go on from the last checkpoint.

    Law: with the same config, the weights end bit for bit as those of a training that nothing disturbed.
    A folder that holds checkpoints of this config is gone on with.

    Args:
        folder: for the checkpoints.
        function: what each rank runs (tests put a kill into it).

    Raises:
        RunFailed: a rank raised, hung, or died more than `max_restarts` times.
        DataError: the folder holds checkpoints of another model.
    """
    report = run_ranks(
        function,
        {"folder": str(folder), **asdict(config)},
        world_size=config.world_size,
        max_restarts=max_restarts,
        timeout_s=timeout_s,
        stall_s=stall_s,
        on_poll=on_poll,
    )
    first: dict[str, Any] = report.results[0]
    return ElasticReport(
        tuple(first["losses"]),
        first["resumed_from"],
        report.restarts,
        tuple(first["checksums"]),
        first["handed_bytes_per_step"],
        report.seconds,
    )
