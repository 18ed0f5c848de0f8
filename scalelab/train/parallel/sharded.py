"""The same by torch's own tools: layers split by DTensor, and a training's state sharded by FSDP2."""

from __future__ import annotations

from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from scalelab.core.errors import ConfigError
from scalelab.models import CharGpt


def split_by_dtensor(model: CharGpt, world_size: int) -> CharGpt:
    """Split a model's blocks over all ranks, in place, as `split_gpt` does by hand; return it.

    Raises:
        ConfigError: the ranks do not divide the heads.
    """
    heads = model.config["heads"]
    if heads % world_size:
        raise ConfigError(
            f"{heads} heads cannot be shared equally by {world_size} ranks",
            hint="take a number of ranks that divides the heads",
        )
    mesh = init_device_mesh("cpu", (world_size,))
    columns = ("attention.query", "attention.key", "attention.value", "dense.up")
    rows = ("attention.out", "dense.down")
    for block in model.blocks:
        plan = {name: ColwiseParallel() for name in columns} | {name: RowwiseParallel() for name in rows}
        parallelize_module(block, mesh, plan)
    return model


def shard(model: CharGpt, world_size: int) -> nn.Module:
    """Shard parameters, and with them gradients and optimizer state, over all ranks, in place; return it.

    Law: a rank holds 1/N of all three (rows of each parameter; a rank more or less where N does not divide
    them). A block's whole weights exist only while it runs. Build the optimizer afterwards.
    """
    mesh = init_device_mesh("cpu", (world_size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)
