"""One rank's place in a group: what it sends is counted.

All of `data_parallel` sends through a `Wire`, so that the same code runs under torchrun, on ranks that are
threads (`run_in_threads`), and over an injected slow link (`link`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future

from scalelab.core.errors import ConfigError, RunFailed, ScalelabError


@dataclass
class Traffic:
    """What one rank has sent so far."""

    messages: int = 0
    """point-to-point messages"""
    sent_bytes: int = 0
    """in those messages, by the tensors' own size"""
    launches: int = 0
    """collectives: all-reduce and all-gather"""
    handed_bytes: int = 0
    """that this rank handed to collectives; what they send for it is theirs to decide"""


@dataclass(frozen=True)
class Pending:
    """A collective that was begun."""

    work: Any
    """has ``wait()`` and ``get_future()``, as torch's own works have"""
    finish: Callable[[], Tensor]
    """makes the result of what came"""

    def wait(self) -> Tensor:
        """Return the result when it is there."""
        self.work.wait()
        return self.finish()

    def then(self, change: Callable[[Tensor], Tensor]) -> Pending:
        """Return what will be the changed result."""
        return Pending(self.work, lambda: change(self.finish()))

    def future(self) -> Future:
        """Return the result as a torch future, for DDP; it is made on the thread that received it.

        Not for ranks that are threads: a group that is let go on its own thread aborts the process.
        """
        return self.work.get_future().then(lambda _: self.finish())


class Wire:
    """A rank of a process group (None: the group of this process), with a count of what it sends."""

    def __init__(self, group: Any = None):
        self.group = dist.group.WORLD if group is None else group
        self.rank: int = self.group.rank()
        self.world_size: int = self.group.size()
        self.traffic = Traffic()

    def exchange(self, outgoing: Tensor, to: int, incoming: Tensor, source: int) -> None:
        """Send one tensor and receive another at the same time; both are contiguous."""
        self._count_message(outgoing)
        self._swap(outgoing, to, incoming, source)

    def all_reduce(self, tensor: Tensor) -> Pending:
        """Begin to sum `tensor` over all ranks in place; it is the result."""
        self._count_collective(tensor)
        return Pending(self._reduce(tensor), lambda: tensor)

    def all_gather(self, tensor: Tensor) -> Pending:
        """Begin to collect every rank's `tensor`; the result is ``(world_size, *shape)``."""
        self._count_collective(tensor)
        parts, work = self._gather(tensor)
        return Pending(work, lambda: torch.stack(parts))

    def broadcast(self, tensor: Tensor) -> None:
        """Give every rank rank 0's `tensor`, in place; not counted."""
        self.group.broadcast(tensor.detach(), 0).wait()

    def leave(self) -> None:
        """Close the connections: whoever waits for this rank learns at once that it is gone."""
        self.group = None

    def _swap(self, outgoing: Tensor, to: int, incoming: Tensor, source: int) -> None:
        sent = self.group.send([outgoing], to, 0)
        self.group.recv([incoming], source, 0).wait()
        sent.wait()

    def _reduce(self, tensor: Tensor, operation: Any = dist.ReduceOp.SUM) -> Any:
        options = dist.AllreduceOptions()
        options.reduceOp = operation
        return self.group.allreduce([tensor], options)

    def _gather(self, tensor: Tensor) -> tuple[list[Tensor], Any]:
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        return parts, self.group.allgather([parts], [tensor])

    def _count_message(self, tensor: Tensor) -> None:
        self.traffic.messages += 1
        self.traffic.sent_bytes += tensor.numel() * tensor.element_size()

    def _count_collective(self, tensor: Tensor) -> None:
        self.traffic.launches += 1
        self.traffic.handed_bytes += tensor.numel() * tensor.element_size()


def run_in_threads(
    function: Callable[[Any], Any],
    world_size: int,
    *,
    make_wire: Callable[[Any], Any] = Wire,
    timeout_s: float = 60.0,
) -> list[Any]:
    """Call ``function(wire)`` on `world_size` ranks that are threads of this process; return all results.

    The ranks talk over loopback by gloo, as processes do; only the processor and the interpreter's lock are
    shared, so nothing can be timed this way. A notebook's own functions can run here.

    Args:
        make_wire: makes a rank's wire of its process group.
        timeout_s: for one message; whoever waits longer for another rank gives up.

    Raises:
        RunFailed: a rank raised (the message names the first), or did not come to an exchange.
    """
    if world_size < 1:
        raise ConfigError(f"{world_size} ranks", hint="give 1 or more")
    store, lock = dist.HashStore(), threading.Lock()
    results: list[Any] = [None] * world_size
    wires: list[Any] = []
    failures: list[tuple[int, BaseException]] = []

    def run(rank: int) -> None:
        wire = None
        try:
            wire = make_wire(_gloo(store, rank, world_size, timeout_s))
            wires.append(wire)
            results[rank] = function(wire)
        except BaseException as error:
            with lock:
                failures.append((rank, error))
            if wire is not None:
                wire.leave()

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for wire in wires:
        wire.leave()
    if failures:
        rank, error = failures[0]
        said = error.message if isinstance(error, ScalelabError) else f"{type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, ScalelabError) else "all ranks must take part in each exchange"
        raise RunFailed(f"rank {rank}: {said}", hint=hint) from error
    return results


def _gloo(store: Any, rank: int, world_size: int, timeout_s: float) -> Any:
    options = dist.ProcessGroupGloo._Options()
    options._devices = [dist.ProcessGroupGloo.create_device(hostname="127.0.0.1")]
    options._timeout = timedelta(seconds=timeout_s)
    options._threads = 2
    return dist.ProcessGroupGloo(store, rank, world_size, options)
