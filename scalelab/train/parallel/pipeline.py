"""A model cut into stages, one a rank, through which micro-batches flow (torch.distributed.pipelining).

With p stages and m micro-batches a rank waits for ``(p - 1)/(m + p - 1)`` of the time: while the pipeline
fills and empties. GPipe (Huang et al. 2019) runs all forward passes first and holds m micro-batches;
1F1B (Narayanan et al. 2019, "PipeDream") begins a backward pass as soon as it can, and rank r holds p - r.

Two processor cores cannot show the bubble of four stages that compute, so it is measured with *emulated*
stages that sleep (`measure_bubble`); gradients and activations are those of real ones (`run_pipeline`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.models import CharGpt
from scalelab.train.launch import run_ranks
from scalelab.train.parallel.memory import HeldActivations
from scalelab.train.rank import Rank

SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


def bubble(stages: int, micro_batches: int) -> float:
    """Return the share of the time in which a rank waits, if all stages take the same time."""
    return (stages - 1) / (micro_batches + stages - 1)


def cut_stage(model: CharGpt, stage: int, stages: int) -> nn.Sequential:
    """Return one stage of a model: its share of the blocks; the first embeds, the last has the head.

    Raises:
        ConfigError: more stages than blocks.
    """
    blocks = list(model.blocks)
    if not 0 <= stage < stages <= len(blocks):
        raise ConfigError(
            f"stage {stage} of {stages} from a model of {len(blocks)} blocks",
            hint=f"take at most {len(blocks)} stages: each needs a block",
        )
    first, last = (side * len(blocks) // stages for side in (stage, stage + 1))
    parts = [*([model.embed] if stage == 0 else []), *blocks[first:last]]
    return nn.Sequential(*parts, *([model.head] if stage == stages - 1 else []))


@dataclass(frozen=True)
class PipelineReport:
    """What one rank saw of one batch."""

    loss: float | None
    """mean over the batch; the last rank knows it, the others have None"""
    most_in_flight: int
    """micro-batches, at most, that this rank had taken forward and not yet backward"""
    most_held_bytes: int
    """activations that it held for them"""
    seconds: float


class Pipeline:
    """This rank's stage of a pipeline, with a schedule.

    Args:
        stage: what this rank computes.
        micro_batches: equal parts of a batch.
        schedule: ``gpipe`` or ``1f1b``.
        loss: of outputs and targets, a mean; the gradient is that of the mean over the batch.
    """

    def __init__(
        self,
        stage: nn.Module,
        rank: Rank,
        *,
        micro_batches: int,
        schedule: str = "1f1b",
        loss: Callable[[Tensor, Tensor], Tensor],
    ):
        if schedule not in SCHEDULES:
            raise ConfigError(f"there is no schedule {schedule!r}", hint=did_you_mean(schedule, SCHEDULES))
        least = rank.world_size if schedule == "1f1b" else 1
        if micro_batches < least:
            raise ConfigError(
                f"{micro_batches} micro-batches for {rank.world_size} stages under {schedule}",
                hint=f"give at least {least}",
            )
        self.rank, self.micro_batches = rank, micro_batches
        self.stage = _Counting(stage)
        place = PipelineStage(self.stage, rank.number, rank.world_size, torch.device("cpu"))
        self.schedule = SCHEDULES[schedule](place, micro_batches, loss_fn=loss)

    def run(self, inputs: Tensor, targets: Tensor) -> PipelineReport:
        """Take a batch forward and backward; gradients add to ``.grad`` of the stage.

        Args:
            inputs: the whole batch; only the first rank's counts.
            targets: only the last rank's count.

        Raises:
            ConfigError: the micro-batches do not divide the batch.
        """
        if len(inputs) % self.micro_batches:
            raise ConfigError(
                f"a batch of {len(inputs)} cannot be cut into {self.micro_batches} equal micro-batches",
                hint=f"give a multiple of {self.micro_batches}: a mean of unequal parts is not the batch's",
            )
        first, last = self.rank.number == 0, self.rank.number == self.rank.world_size - 1
        losses: list[Tensor] = []
        self.stage.events.clear()
        self.rank.arrive()
        started_s = time.perf_counter()
        with HeldActivations(self.stage.parameters()) as held:
            self.schedule.step(
                *([inputs] if first else []),
                **({"target": targets, "losses": losses} if last else {}),
                return_outputs=False,
            )
        seconds = time.perf_counter() - started_s
        loss = torch.stack(losses).mean().item() if last else None
        return PipelineReport(loss, self.stage.most_in_flight(self.micro_batches), held.most, seconds)


def character_loss(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Return the mean cross-entropy of a micro-batch [nats/character]."""
    return F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def measure_bubble(
    stages: int,
    micro_batches: int,
    *,
    schedule: str = "1f1b",
    forward_s: float = 0.02,
    timeout_s: float = 180.0,
) -> float:
    """Return the share of the time that ranks wait, measured with EMULATED stages on `stages` ranks.

    Each stage sleeps `forward_s` forward and twice that backward; messages and the schedule are real. Law:
    not below `bubble`, and above it by what messages and the machine take.
    """
    arguments = {"micro_batches": micro_batches, "schedule": schedule, "forward_s": forward_s}
    report = run_ranks(
        "scalelab.train.parallel.pipeline:emulate", arguments, world_size=stages, timeout_s=timeout_s
    )
    return 1 - micro_batches * 3 * forward_s / max(report.results)


def emulate(rank: Rank, micro_batches: int, schedule: str, forward_s: float) -> float:
    """Run emulated stages on this rank; return the seconds of a batch, the first one left out."""
    pipeline = Pipeline(
        _Sleeping(forward_s),
        rank,
        micro_batches=micro_batches,
        schedule=schedule,
        loss=lambda outputs, targets: (outputs - targets).square().mean(),
    )
    batch = torch.ones(micro_batches, 4)
    pipeline.run(batch, batch)  # connects the ranks, and lets them tell each other their shapes
    rank.barrier()
    return pipeline.run(batch, batch).seconds


class _Counting(nn.Module):
    """Notes when a micro-batch goes forward (+1) and when it comes back (-1)."""

    def __init__(self, stage: nn.Module):
        super().__init__()
        self.stage = stage
        self.events: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.stage(x)
        self.events.append(+1)
        if out.requires_grad:
            out.register_hook(lambda _: self.events.append(-1))
        return out

    def most_in_flight(self, micro_batches: int) -> int:
        """Return the most that were on their way; forward passes before the batch's own tried the shapes."""
        tried = self.events.count(+1) - micro_batches
        first = [place for place, event in enumerate(self.events) if event == +1][tried]
        return max(itertools.accumulate(self.events[first:]))


class _Sleeping(nn.Module):
    """An emulated stage: takes its time, and computes next to nothing."""

    def __init__(self, forward_s: float):
        super().__init__()
        self.forward_s = forward_s
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return _Sleep.apply(x + self.shift, self.forward_s)


class _Sleep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward_s: float) -> Tensor:
        ctx.forward_s = forward_s
        if x.device.type != "meta":
            time.sleep(forward_s)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        time.sleep(2 * ctx.forward_s)
        return gradient, None
