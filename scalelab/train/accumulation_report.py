"""What accumulation keeps (the gradient), saves (activations) and costs (time), measured side by side."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalelab.core.errors import ConfigError
from scalelab.data import compose_pins
from scalelab.models import PinReader
from scalelab.train.accumulate import (
    MicroBatch,
    accumulate_gradients,
    accumulate_step,
    average_step_means,
    cut,
    flat_gradient,
    freeze_batch_norm,
    relative_distance,
)

RAGGED = (32, 32, 6)
"""the cuts on which "divide by the number of steps" is shown to be wrong"""


@dataclass(frozen=True)
class AccumulationRow:
    """One size of micro-batch."""

    micro_batch: int
    """images in each but the last"""
    cuts: tuple[int, ...]
    """images in every micro-batch; the last may be shorter"""
    relative_error: float
    """L2 distance of the gradient to the full batch's, relative to its norm, computed in float64"""
    float32_error: float
    """the same in float32: on top of the rule, the order in which a convolution adds up (up to about 1e-6)"""
    saved_bytes: int
    """most bytes of activations that autograd held for a backward pass at once (weights left out)"""
    seconds: float
    """forward and backward over the whole batch, median of interleaved rounds"""


@dataclass(frozen=True)
class AccumulationReport:
    """The full batch first, then ever smaller micro-batches of the same images."""

    batch_size: int
    rows: tuple[AccumulationRow, ...]
    error_of_step_mean: float
    """relative error of the gradient if 32 + 32 + 6 images are averaged "by the number of steps\""""
    error_of_batch_statistics: float
    """relative error over the same cuts if batch norm is left to look at each micro-batch"""


def measure_accumulation(
    batch_size: int = 250,
    width: int = 2048,
    seed: int = 0,
    *,
    micro_batches: Sequence[int] = (120, 32, 16),
    rounds: int = 3,
    warmup_steps: int = 10,
) -> AccumulationReport:
    """Compare the gradient of a batch with that of its micro-batches: equality, memory and time.

    Law: every row's `relative_error` is rounding (near 1e-15). The sizes are timed on one thread and in turn,
    round by round, so that a busy moment meets all of them.

    Args:
        micro_batches: sizes to compare with the full batch; those not smaller than it are left out.
        warmup_steps: optimizer steps before measuring: at the random start all images pull the same way,
            and a wrong weighting would look harmless.

    Raises:
        ConfigError: a size below 1.
    """
    if batch_size < 1 or rounds < 1 or min(micro_batches, default=1) < 1:
        raise ConfigError(
            f"a batch of {batch_size} in micro-batches of {list(micro_batches)}, {rounds} rounds",
            hint="give sizes and rounds of at least 1",
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads on a busy machine wait for each other, and the times mean nothing
    try:
        return _measure(batch_size, width, seed, micro_batches, rounds, warmup_steps)
    finally:
        torch.set_num_threads(threads)


def equal_cuts(batch_size: int, micro_batch: int) -> tuple[int, ...]:
    """Return the sizes of the micro-batches: all equal, the last takes what is left."""
    whole, rest = divmod(batch_size, micro_batch)
    return (micro_batch,) * whole + ((rest,) if rest else ())


def _measure(
    batch_size: int, width: int, seed: int, micro_batches: Sequence[int], rounds: int, warmup_steps: int
) -> AccumulationReport:
    model = _trained_a_little(width, seed, warmup_steps)
    images_NHW, labels_NP = _batch(batch_size, seed)
    sizes = [batch_size, *(size for size in micro_batches if size < batch_size)]
    cuts = {size: equal_cuts(batch_size, size) for size in sizes}
    split = {size: cut(images_NHW, labels_NP, cuts[size]) for size in sizes}

    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            started_s = time.perf_counter()
            accumulate_gradients(model, split[size])
            seconds[size].append(time.perf_counter() - started_s)

    exact = copy.deepcopy(model).double()
    wanted, wanted_exactly = (_gradient(m, split[batch_size]) for m in (model, exact))
    rows = tuple(
        AccumulationRow(
            size,
            cuts[size],
            relative_distance(_gradient(exact, split[size]), wanted_exactly),
            relative_distance(_gradient(model, split[size]), wanted),
            saved_bytes(model, split[size][0][0]),  # the first is the largest
            statistics.median(seconds[size]),
        )
        for size in sizes
    )
    return AccumulationReport(batch_size, rows, *_wrong_ways(model, seed))


def saved_bytes(model: nn.Module, images_BHW: Tensor) -> int:
    """Return the bytes that autograd keeps between forward and backward, weights and buffers left out.

    A tensor that several operations keep counts once, and counts with its own bytes: a slice of a large
    storage is as large as the slice.
    """
    own = [*model.parameters(), *model.buffers()]
    weights = {tensor.untyped_storage().data_ptr() for tensor in own}
    kept: dict[tuple[int, int], Tensor] = {}  # holding the tensors keeps their addresses from being reused

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.data_ptr(), tensor.numel() * tensor.element_size()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images_BHW)
    return sum(size for _, size in kept)


def _trained_a_little(width: int, seed: int, steps: int) -> PinReader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PinReader(width).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        accumulate_step(model, optimizer, [_batch(64, seed + 1 + step)])
    freeze_batch_norm(model)
    return model


def _wrong_ways(model: PinReader, seed: int) -> tuple[float, float]:
    """Return the relative errors of averaging by steps, and of live batch statistics, over 32 + 32 + 6."""
    images_NHW, labels_NP = _batch(sum(RAGGED), seed)
    whole, ragged = [(images_NHW, labels_NP)], cut(images_NHW, labels_NP, RAGGED)
    wanted = _gradient(model, whole)
    average_step_means(model, ragged)
    by_steps = relative_distance(flat_gradient(model), wanted)
    model.train()
    by_statistics = relative_distance(_gradient(model, ragged), _gradient(model, whole))
    freeze_batch_norm(model)
    return by_steps, by_statistics


def _gradient(model: nn.Module, micro_batches: Sequence[MicroBatch]) -> Tensor:
    accumulate_gradients(model, micro_batches)
    return flat_gradient(model)


def _batch(n: int, seed: int) -> MicroBatch:
    batch = compose_pins(n, "train", seed=seed)
    return torch.from_numpy(batch.images), torch.from_numpy(batch.labels).long()
