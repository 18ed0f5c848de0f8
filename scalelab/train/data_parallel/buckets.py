"""Gradients in buckets: few messages instead of one a parameter, sent while the backward pass still runs.

The backward pass finishes the last layer's gradients first, so buckets are filled from the end of the model.
A full bucket leaves at once, and its way is hidden behind the layers that are still to come (Li et al. 2020,
"PyTorch Distributed: Experiences on Accelerating Data Parallel Training").
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scalelab.core.errors import ConfigError
from scalelab.train.data_parallel.exchange import Exchange, exchange_plain
from scalelab.train.data_parallel.wire import Pending, Wire


@dataclass(frozen=True)
class BackwardReport:
    """How the exchange of one backward pass went."""

    launches: int
    """buckets"""
    ready_at_launch: tuple[int, ...]
    """gradients that were there when bucket 0, 1, ... left; if all of them each time, nothing overlapped"""
    exposed_s: float
    """how long the backward pass, done with its own work, waited for the others"""


def plan_buckets(sizes_bytes: Sequence[int], bucket_bytes: int) -> list[list[int]]:
    """Return which parameters share a bucket: numbers of parameters, from the last one to the first.

    Law: no bucket holds more than `bucket_bytes`, except one parameter that is larger all by itself, and two
    neighbouring buckets never fit into one.

    Raises:
        ConfigError: a bucket of no bytes.
    """
    if bucket_bytes < 1:
        raise ConfigError(f"buckets of {bucket_bytes} bytes hold nothing", hint="try 1 MiB: 1 << 20")
    buckets: list[list[int]] = []
    room = 0
    for number in reversed(range(len(sizes_bytes))):
        if not buckets or sizes_bytes[number] > room:
            buckets.append([])
            room = bucket_bytes
        buckets[-1].append(number)
        room -= sizes_bytes[number]
    return buckets


class BucketedModel(nn.Module):
    """A model whose ``loss.backward()`` leaves the mean of all ranks' gradients in ``.grad``.

    What torch's `DistributedDataParallel` does, in the open. All ranks begin with rank 0's parameters. A
    parameter that got no gradient on this rank counts as zeros. Buckets leave in the same order on every
    rank: one that is full waits for the one before it.

    Args:
        wire: to the other ranks.
        bucket_bytes: of gradients in a bucket, at most; torch's DDP takes 25 MiB (the first one 1 MiB).
        exchange: how a bucket is averaged.
        overlap: send while the backward pass runs; False sends all buckets at its end.
    """

    def __init__(
        self,
        model: nn.Module,
        wire: Wire,
        *,
        bucket_bytes: int = 1 << 20,
        exchange: Exchange = exchange_plain,
        overlap: bool = True,
    ):
        super().__init__()
        self.module, self.wire, self.exchange, self.overlap = model, wire, exchange, overlap
        self.parameters_in_order = [p for p in model.parameters() if p.requires_grad]
        self.buckets = plan_buckets(
            [p.numel() * p.element_size() for p in self.parameters_in_order], bucket_bytes
        )
        self.bucket_of = {number: i for i, bucket in enumerate(self.buckets) for number in bucket}
        self.syncs = True
        self.last: BackwardReport | None = None
        """how the latest exchange went"""
        self._begin()
        share_parameters(model, wire)
        for number, parameter in enumerate(self.parameters_in_order):
            parameter.register_post_accumulate_grad_hook(lambda _, number=number: self._arrived(number))

    def forward(self, *inputs: Any) -> Any:
        """Return what the model gives."""
        return self.module(*inputs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Let backward passes inside add to ``.grad`` and send nothing; the next one outside sends all."""
        before, self.syncs = self.syncs, False
        try:
            yield
        finally:
            self.syncs = before

    def _begin(self) -> None:
        self._ready: set[int] = set()
        self._launched: list[Pending] = []
        self._ready_at_launch: list[int] = []

    def _arrived(self, number: int) -> None:
        """Take note of one gradient, and send the buckets that are full."""
        if not self.syncs:
            return
        if not self._ready:
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)
        self._ready.add(number)
        if self.overlap:
            while (i := len(self._launched)) < len(self.buckets) and self._ready.issuperset(self.buckets[i]):
                self._launch()

    def _launch(self) -> None:
        bucket = self.buckets[len(self._launched)]
        for number in bucket:
            parameter = self.parameters_in_order[number]
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([self.parameters_in_order[number].grad.flatten() for number in bucket])
        self._ready_at_launch.append(len(self._ready))
        self._launched.append(self.exchange(self.wire, len(self._launched), flat))

    def _finish(self) -> None:
        """At the end of the backward pass: send what is left, wait, and put the means into ``.grad``."""
        started_s = time.perf_counter()
        while len(self._launched) < len(self.buckets):
            self._launch()
        for bucket, pending in zip(self.buckets, self._launched, strict=True):
            parameters = [self.parameters_in_order[number] for number in bucket]
            means = pending.wait().split([p.numel() for p in parameters])
            for parameter, mean in zip(parameters, means, strict=True):
                parameter.grad.copy_(mean.view_as(parameter))
        self.last = BackwardReport(
            len(self.buckets), tuple(self._ready_at_launch), time.perf_counter() - started_s
        )
        self._begin()


@torch.no_grad()
def share_parameters(model: nn.Module, wire: Wire) -> None:
    """Give every rank rank 0's parameters and buffers (not counted: it happens once)."""
    for tensor in [*model.parameters(), *model.buffers()]:
        wire.broadcast(tensor)
