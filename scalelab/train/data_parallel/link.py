"""A slow link between ranks of one machine, INJECTED: messages really travel over loopback, then wait.

A message of M bytes takes ``alpha + M / bandwidth`` (Hockney 1994): a latency, and its bytes. With it,
scaling, overlap and compression can be studied without a cluster. It is an emulation and every result must
say so: it knows no congestion, no loss, no other traffic, and sending costs no computation. All ranks must
run on one machine, whose monotonic clock they share.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future

from scalelab.core.errors import ConfigError
from scalelab.train.data_parallel.ring import ring_bytes
from scalelab.train.data_parallel.wire import Pending, Wire

LABEL = "injected link"
"""what a table or a figure calls numbers taken over an `InjectedWire`"""


@dataclass(frozen=True)
class Link:
    """What one rank's link to the next one is like; each rank sends and receives at this rate at once."""

    alpha_s: float
    """latency of a message [s]"""
    bytes_per_s: float
    """bandwidth; 1 Gbit/s is 125e6"""

    def __post_init__(self) -> None:
        if not (self.alpha_s >= 0 and self.bytes_per_s > 0):
            raise ConfigError(
                f"a link with {self.alpha_s} s latency and {self.bytes_per_s} bytes/s",
                hint="give a latency from 0 up and a bandwidth above 0",
            )

    def message_s(self, size_bytes: int) -> float:
        """Return how long one message takes."""
        return self.alpha_s + size_bytes / self.bytes_per_s

    def all_reduce_s(self, size_bytes: int, world_size: int) -> float:
        """Return how long a ring all-reduce takes: 2(N - 1) messages of M/N bytes, one after the other."""
        steps = 2 * (world_size - 1)
        return steps * self.alpha_s + ring_bytes(size_bytes, 1, world_size) / self.bytes_per_s

    def all_gather_s(self, size_bytes: int, world_size: int) -> float:
        """Return how long a ring all-gather of M bytes a rank takes: N - 1 messages of M bytes."""
        return (world_size - 1) * self.message_s(size_bytes)


def fit_link(sizes_bytes: Sequence[int], seconds: Sequence[float], world_size: int) -> Link:
    """Return latency and bandwidth that explain the times of ring all-reduces best.

    Least squares of *relative* residuals, since noise grows with the time. Take the smallest of several
    timings of each size: what disturbs a timing only ever makes it longer.

    Raises:
        ConfigError: fewer than two different sizes, or times that do not grow with the size.
    """
    steps, times = 2 * (world_size - 1), np.asarray(seconds, dtype=float)
    if len(set(sizes_bytes)) < 2 or len(sizes_bytes) != len(times) or world_size < 2 or not (times > 0).all():
        raise ConfigError(
            f"{len(sizes_bytes)} sizes and {len(times)} times on {world_size} ranks give no link",
            hint="time two different sizes or more, on two ranks or more",
        )
    moved = np.asarray([ring_bytes(size, 1, world_size) for size in sizes_bytes], dtype=float)
    columns = np.stack([np.full_like(times, steps), moved], axis=1) / times[:, None]
    (alpha_s, s_per_byte), *_ = np.linalg.lstsq(columns, np.ones_like(times), rcond=None)
    if s_per_byte <= 0:
        raise ConfigError(
            "the times do not grow with the size: the machine was too noisy, or the sizes too small",
            hint="take larger sizes and more repeats",
        )
    return Link(max(float(alpha_s), 0.0), float(1 / s_per_byte))


class _HeldBack:
    """Looks like torch's work; it is done when the link lets go of it."""

    def __init__(self) -> None:
        self.future: Future = Future()

    def wait(self) -> None:
        self.future.wait()

    def get_future(self) -> Future:
        return self.future


class InjectedWire(Wire):
    """A wire over which messages take as long as an injected link says; the numbers that arrive are real.

    A message's time begins when its sender sends it, a collective's when the last rank has come to it, and
    a collective waits until the one before it is done: the link is one. Where loopback itself takes longer
    than the link would, the message takes that long, and `late_share` grows: if it is much, the injected link
    is faster than this machine, or the machine busy, and times say more about that.
    """

    def __init__(self, link: Link, group: Any = None):
        super().__init__(group)
        self.link = link
        self._messages = self._late = 0
        """by how much loopback overran the injected times, in all"""
        self._free_at_s = 0.0
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, name="link", daemon=True).start()

    def exchange(self, outgoing: Tensor, to: int, incoming: Tensor, source: int) -> None:
        """Send and receive at the same time; return when the link would have delivered both."""
        self._count_message(outgoing)
        own, other = _now(), _now()
        self._swap(own, to, other, source)  # when the sender began; not counted, it stands for no traffic
        self._swap(outgoing, to, incoming, source)
        takes_s = self.link.message_s(max(outgoing.nbytes, incoming.nbytes))
        self._hold(max(own.item(), other.item()) + takes_s, takes_s)

    def all_reduce(self, tensor: Tensor) -> Pending:
        """Begin to sum over all ranks; it is done when the link would be."""
        self._count_collective(tensor)
        latest, arrival = self._arrive()
        work = self._reduce(tensor)
        takes_s = self.link.all_reduce_s(tensor.nbytes, self.world_size)
        return Pending(self._hold_back(latest, arrival, work, takes_s), lambda: tensor)

    def all_gather(self, tensor: Tensor) -> Pending:
        """Begin to collect every rank's tensor; it is done when the link would be."""
        self._count_collective(tensor)
        latest, arrival = self._arrive()
        parts, work = self._gather(tensor)
        takes_s = self.link.all_gather_s(tensor.nbytes, self.world_size)
        return Pending(self._hold_back(latest, arrival, work, takes_s), lambda: torch.stack(parts))

    @property
    def late_share(self) -> float:
        """Share of the messages that came over a tenth of their time later than the link would bring them."""
        return self._late / max(1, self._messages)

    def leave(self) -> None:
        """Close the connections."""
        super().leave()
        self._waiting.put(None)

    def _arrive(self) -> tuple[Tensor, Any]:
        """Begin to learn when the last rank comes: on the caller's thread, since gloo goes by the order."""
        latest = _now()
        return latest, self._reduce(latest, dist.ReduceOp.MAX)

    def _hold_back(self, latest: Tensor, arrival: Any, work: Any, takes_s: float) -> _HeldBack:
        held = _HeldBack()
        self._waiting.put((latest, arrival, work, takes_s, held))
        return held

    def _deliver(self) -> None:
        while (job := self._waiting.get()) is not None:
            latest, arrival, work, takes_s, held = job
            try:
                arrival.wait()
                work.wait()
                self._free_at_s = max(latest.item(), self._free_at_s) + takes_s
                self._hold(self._free_at_s, takes_s)
                held.future.set_result(None)
            except RuntimeError as error:
                held.future.set_exception(error)

    def _hold(self, until_s: float, takes_s: float) -> None:
        rest_s = until_s - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)
        self._messages += 1
        self._late += time.monotonic() - until_s > 0.1 * takes_s


def _now() -> Tensor:
    return torch.tensor([time.monotonic()], dtype=torch.float64)
