"""One step of a character GPT by the whole model and by each way to share it: how far apart, what is held.

For ranks: ``run_ranks("scalelab.train.parallel.beside_whole:compare_ways", world_size=2)``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from scalelab.models import CharGpt
from scalelab.train.accumulate import relative_distance
from scalelab.train.parallel.memory import state_bytes
from scalelab.train.parallel.pipeline import SCHEDULES, Pipeline, character_loss, cut_stage
from scalelab.train.parallel.sharded import shard, split_by_dtensor
from scalelab.train.rank import Rank

WAYS = {"dtensor": split_by_dtensor, "fsdp": shard}


def compare_ways(
    rank: Rank, *, batch: int = 8, micro_batches: int = 4, optimizer: str = "adamw", **sizes: int
) -> dict[str, dict[str, Any]]:
    """Return, for ``whole``, ``dtensor``, ``fsdp``, ``gpipe`` and ``1f1b``, what this rank saw of one step.

    Distances (``gradients``, ``weights``) are relative to the whole model's; bytes are those that this rank
    holds. Weights after a step are compared under ``sgd`` only: AdamW divides by gradients near 0.

    Args:
        optimizer: ``adamw`` or ``sgd`` (with momentum).
        sizes: of the `CharGpt`.
    """
    sizes = {"vocabulary": 11, "context": 8, "layers": 2, "heads": 2, "width": 32, **sizes}
    draws = torch.Generator().manual_seed(0)
    windows_BT = torch.randint(sizes["vocabulary"], (batch, sizes["context"] + 1), generator=draws)
    ids_BT, targets_BT = windows_BT[:, :-1], windows_BT[:, 1:]

    def gpt() -> CharGpt:
        torch.manual_seed(0)
        return CharGpt(**sizes)

    def stepped(model: nn.Module) -> tuple[float, dict[str, Tensor], dict[str, Tensor], dict[str, int]]:
        if optimizer == "sgd":
            steps: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        else:
            steps = torch.optim.AdamW(model.parameters(), lr=1e-3)
        rank.arrive()
        loss = character_loss(model(ids_BT), targets_BT)
        loss.backward()
        gradients = {name: _whole(p.grad) for name, p in model.named_parameters()}
        steps.step()
        weights = {name: _whole(p) for name, p in model.named_parameters()}
        return loss.item(), gradients, weights, dataclasses.asdict(state_bytes(model, steps))

    loss, gradients, weights, held = stepped(gpt())
    found: dict[str, dict[str, Any]] = {
        "whole": {"loss": 0.0, "gradients": 0.0, "weights": 0.0, "held": held}
    }
    for name, share in WAYS.items():
        its_loss, its_gradients, its_weights, its_held = stepped(share(gpt(), rank.world_size))
        found[name] = {
            "loss": abs(its_loss - loss),
            "gradients": _apart(its_gradients, gradients),
            "weights": _apart(its_weights, weights),
            "held": its_held,
        }
    for schedule in SCHEDULES:
        model = gpt()
        stage = cut_stage(model, rank.number, rank.world_size)
        pipeline = Pipeline(stage, rank, micro_batches=micro_batches, schedule=schedule, loss=character_loss)
        report = pipeline.run(ids_BT, targets_BT)
        mine = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found[schedule] = {
            "loss": abs(report.loss - loss) if report.loss is not None else None,
            "parameters": len(mine),
            "gradients": _apart(mine, {name: gradients[name] for name in mine}),
            "in_flight": report.most_in_flight,
            "held_bytes": report.most_held_bytes,
        }
    return found


def _whole(tensor: Any) -> Tensor:
    """Return all of a tensor that is spread over ranks."""
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()


def _apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    return relative_distance(
        *(torch.cat([side[name].flatten() for name in wanted]) for side in (found, wanted))
    )
