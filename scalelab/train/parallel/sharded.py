"""The same by torch's own tools: layers split by DTensor, and a training's state sharded by FSDP2."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from scalelab.core.errors import ConfigError
from scalelab.models import CharGpt
from scalelab.models.gpt import initialize


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


def make_sharded(config: dict[str, int], world_size: int, *, seed: int) -> nn.Module:
    """Return a sharded ``CharGpt(**config)`` of which no rank ever held the whole.

    It is built on the meta device (shapes without numbers), sharded, and only then gets its numbers, layer by
    layer: each rank draws a layer whole, keeps its rows, and lets go of the rest. Law: the weights are those
    that ``torch.manual_seed(seed); initialize(model)`` gives a whole model, on any number of ranks; the peak
    is the shards and one layer.
    """
    with torch.device("meta"):
        model = CharGpt(**config)
    pattern = copy.deepcopy(model)  # stays whole, and costs nothing
    shard(model, world_size)
    model.to_empty(device="cpu")
    shards = dict(model.named_parameters())
    torch.manual_seed(seed)
    for layer_name, layer in pattern.named_modules():
        names = [name for name, _ in layer.named_parameters(recurse=False)]
        if not names:
            continue
        layer.to_empty(device="cpu", recurse=False)
        if isinstance(layer, nn.LayerNorm):
            layer.reset_parameters()
        initialize(pattern)  # draws for this layer: all others are on meta, where nothing is drawn
        for name in names:
            _keep_rows(shards[f"{layer_name}.{name}"], getattr(layer, name))
        layer.to("meta")
    return model


@torch.no_grad()
def _keep_rows(own: nn.Parameter, whole: nn.Parameter) -> None:
    """Copy this rank's rows of a parameter: FSDP2 cuts the first dimension as ``chunk`` does."""
    rows, mesh = own.to_local(), own.device_mesh
    parts, rank = whole.chunk(mesh.size()), mesh.get_local_rank()
    if rank < len(parts):  # fewer rows than ranks: the last ones hold none
        rows.copy_(parts[rank])
