"""The same step by frameworks of others: the loop that their own examples show, in torchrun's group.

Each function takes a model and returns a step and the number of ranks that it runs on, as the framework sees
it. Imports stand inside: none of these packages need be installed.

Shape suffixes in this file: B = sequences of a rank, T = positions.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scalelab.core.lazy import require
from scalelab.train.accumulate import MicroBatch

Step = Callable[[MicroBatch], object]
CLIP = 1.0
"""global L2 norm of the gradient, at most"""


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of all ways."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


def loss_of(model: nn.Module, batch: MicroBatch) -> Tensor:
    """Return the mean cross-entropy [nats/character]."""
    ids_BT, targets_BT = batch
    return F.cross_entropy(model(ids_BT).flatten(0, 1), targets_BT.flatten())


def by_accelerate(model: nn.Module) -> tuple[Step, int]:
    """Hugging Face accelerate; it finds torchrun's group by the environment."""
    accelerator = require("accelerate", extra="frameworks").Accelerator(cpu=True)
    prepared, optimizer = accelerator.prepare(model, make_optimizer(model))
    # it wraps nothing where it thinks that it is alone, and would then look faster than DDP
    size = accelerator.num_processes if isinstance(prepared, DistributedDataParallel) else 1

    def step(batch: MicroBatch) -> None:
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss_of(prepared, batch))
        accelerator.clip_grad_norm_(prepared.parameters(), CLIP)
        optimizer.step()

    return step, size


def by_lightning(model: nn.Module) -> tuple[Step, int]:
    """Lightning's Fabric, which leaves the loop to its user."""
    fabric_of = require("lightning.fabric", extra="frameworks").Fabric
    fabric = fabric_of(accelerator="cpu", devices=int(os.environ["LOCAL_WORLD_SIZE"]), strategy="ddp")
    fabric.launch()
    prepared, optimizer = fabric.setup(model, make_optimizer(model))
    is_wrapped = any(isinstance(module, DistributedDataParallel) for module in prepared.modules())

    def step(batch: MicroBatch) -> None:
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss_of(prepared, batch))
        fabric.clip_gradients(prepared, optimizer, max_norm=CLIP)
        optimizer.step()

    return step, fabric.world_size if is_wrapped else 1


def by_deepspeed(model: nn.Module) -> tuple[Step, int]:
    """DeepSpeed with ZeRO stage 1: each rank keeps its part of the optimizer's state."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before the import, which looks for GPUs
    deepspeed = require("deepspeed", extra="frameworks")
    config = {
        "train_micro_batch_size_per_gpu": 1,  # only its own data loader would look at it
        "gradient_clipping": CLIP,
        "zero_optimization": {"stage": 1},
        "zero_allow_untested_optimizer": True,
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=make_optimizer(model), config=config)

    def step(batch: MicroBatch) -> None:
        engine.backward(loss_of(engine, batch))
        engine.step()  # clips, and clears the gradients

    return step, engine.dp_world_size
