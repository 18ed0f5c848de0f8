"""Ranks that are threads and talk through memory: no socket, no clock, and a deadlock is told at once.

A `MemoryGroup` stands where gloo's process group would, so a `Wire` over it counts as over any other. All
that is missing of a real group is time. For exercises and their checks: where every rank waits and nothing is
on its way, that is known without waiting for a timeout, and who waits for whom can be said.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.train.data_parallel.wire import Wire

MOST_MESSAGES = 10_000
"""of one rank; whoever sends more is in a loop without end"""
STOPPED = "the run was broken off"


class RanksStuck(RunFailed):
    """The ranks cannot go on; `kind` says why, in a word.

    ``waits`` (each for another), ``misfit`` (a message has another size than its place), ``untaken`` (nobody
    took a message), ``nobody`` (there is no such rank to speak with), ``endless``, ``stopped``.
    """

    def __init__(self, message: str, *, hint: str, kind: str):
        super().__init__(message, hint=hint)
        self.kind = kind


def run_in_memory(function: Callable[[Wire], Any], world_size: int) -> list[Any]:
    """Call ``function(wire)`` on `world_size` ranks that are threads; return all results.

    Raises:
        RanksStuck: no rank can go on, a message does not fit, or one was sent that nobody took.
        Exception: what a rank raised, as it is.
    """
    if world_size < 1:
        raise ConfigError(f"{world_size} ranks", hint="give 1 or more")
    post = _Post(world_size)
    results: list[Any] = [None] * world_size
    failures: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = function(Wire(MemoryGroup(post, rank)))
        except BaseException as error:
            failures.append(error)
        finally:
            post.end(rank)

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(world_size)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:  # also where Ctrl-C or a time limit ends the waiting
        post.stop()
        for thread in threads:
            if thread.is_alive() and thread.ident is not None:
                raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                raise_in(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    own = [error for error in failures if not isinstance(error, RanksStuck)]
    if failures:
        raise (own or failures)[0]
    post.need_empty()
    return results


class _Post:
    """What is on its way between ranks, and who waits for what."""

    def __init__(self, world_size: int):
        self.world_size = world_size
        self.changed = threading.Condition()
        self.letters: defaultdict[tuple[int, int], deque[Tensor]] = defaultdict(deque)
        """by sender and receiver"""
        self.meetings: defaultdict[int, dict[int, tuple[str, Tensor]]] = defaultdict(dict)
        """what each rank brought to the first, second, ... collective"""
        self._waiting: dict[int, tuple[Callable[[], bool], str]] = {}
        self._ended: set[int] = set()
        self._told = ""

    def wait(self, rank: int, is_there: Callable[[], bool], what: str) -> None:
        """Let a rank wait; the caller holds `changed`."""
        self._waiting[rank] = (is_there, what)
        while not is_there():
            if not self._told and self._is_stuck():
                self._told = self._who_waits()
                self.changed.notify_all()
            if self._told:
                kind = "stopped" if self._told == STOPPED else "waits"
                raise RanksStuck(
                    self._told, hint="all ranks take part in each exchange, in one order", kind=kind
                )
            self.changed.wait()
        del self._waiting[rank]

    def end(self, rank: int) -> None:
        """Take note that a rank will send nothing more."""
        with self.changed:
            self._ended.add(rank)
            self.changed.notify_all()

    def stop(self) -> None:
        """Let every rank that waits give up."""
        with self.changed:
            self._told = self._told or STOPPED
            self.changed.notify_all()

    def need_empty(self) -> None:
        """Make sure that each message was taken."""
        left = [f"{len(sent)} from rank {a} to rank {b}" for (a, b), sent in self.letters.items() if sent]
        if left:
            raise RanksStuck(
                f"messages that nobody took: {', '.join(left[:3])}",
                hint="each rank must receive as often as its neighbour sends",
                kind="untaken",
            )

    def _is_stuck(self) -> bool:
        others = set(range(self.world_size)) - self._ended
        return all(rank in self._waiting and not self._waiting[rank][0]() for rank in others)

    def _who_waits(self) -> str:
        told = [f"rank {rank} waits for {what}" for rank, (_, what) in sorted(self._waiting.items())]
        ended = [f"rank {rank} has ended" for rank in sorted(self._ended)]
        more = len(told) - 4
        return "nothing is on its way: " + "; ".join(
            [*told[:4], *([f"{more} more wait"] if more > 0 else []), *ended[:2]]
        )


@dataclass(frozen=True)
class _Work:
    """Looks like torch's work: begun, and waited for."""

    finish: Callable[[], object]

    def wait(self) -> None:
        self.finish()


class MemoryGroup:
    """One rank's side of a group in memory, with the methods of torch's `ProcessGroup` that `Wire` uses."""

    def __init__(self, post: _Post, rank: int):
        self._post, self._rank = post, rank
        self._sent = self._met = 0

    def rank(self) -> int:
        """Who this is."""
        return self._rank

    def size(self) -> int:
        """How many there are."""
        return self._post.world_size

    def send(self, tensors: list[Tensor], to: int, tag: int) -> _Work:
        """Put a copy of the tensor on its way."""
        self._need_other(to, "sends to")
        self._sent += 1
        if self._sent > MOST_MESSAGES:
            told = f"rank {self._rank} sent over {MOST_MESSAGES:,} messages"
            raise RanksStuck(told, hint="does a loop never end?", kind="endless")
        with self._post.changed:
            self._post.letters[self._rank, to].append(tensors[0].detach().clone())
            self._post.changed.notify_all()
        return _Work(lambda: None)

    def recv(self, tensors: list[Tensor], source: int, tag: int) -> _Work:
        """Take the oldest message of `source`."""
        self._need_other(source, "waits for")
        return _Work(lambda: self._take(tensors[0], source))

    def allreduce(self, tensors: list[Tensor], options: Any = None) -> _Work:
        """Bring a tensor to the next meeting; on waiting, it becomes the sum of all."""
        number = self._bring("a sum", tensors[0])
        return _Work(lambda: tensors[0].detach().copy_(torch.stack(self._meet(number, tensors[0])).sum(0)))

    def allgather(self, parts: list[list[Tensor]], tensors: list[Tensor]) -> _Work:
        """Bring a tensor to the next meeting; on waiting, get everybody's."""
        number = self._bring("a gathering", tensors[0])

        def finish() -> None:
            for part, brought in zip(parts[0], self._meet(number, tensors[0]), strict=True):
                part.copy_(brought)

        return _Work(finish)

    def broadcast(self, tensor: Tensor, root: int) -> _Work:
        """Bring a tensor to the next meeting; on waiting, it becomes that of `root`."""
        number = self._bring("a broadcast", tensor)
        return _Work(lambda: tensor.copy_(self._meet(number, tensor)[root]))

    def _need_other(self, rank: int, does: str) -> None:
        if not 0 <= rank < self.size() or rank == self._rank:
            raise RanksStuck(
                f"rank {self._rank} of {self.size()} {does} rank {rank}",
                hint=f"ranks count from 0 to {self.size() - 1}: take the remainder (% {self.size()}); "
                "nobody writes to themselves",
                kind="nobody",
            )

    def _take(self, incoming: Tensor, source: int) -> None:
        box = self._post.letters[source, self._rank]
        with self._post.changed:
            self._post.wait(self._rank, lambda: bool(box), f"a message from rank {source}")
            came = box.popleft()
        if came.numel() != incoming.numel() or came.dtype != incoming.dtype:
            raise RanksStuck(
                f"rank {source} sent {_in_words(came)}, rank {self._rank} has room for {_in_words(incoming)}",
                hint="what goes out on one side is as large as what comes in on the other",
                kind="misfit",
            )
        with torch.no_grad():
            incoming.copy_(came.view_as(incoming))

    def _bring(self, kind: str, tensor: Tensor) -> int:
        with self._post.changed:
            self._met += 1
            self._post.meetings[self._met][self._rank] = (kind, tensor.detach().clone())
            self._post.changed.notify_all()
        return self._met

    def _meet(self, number: int, own: Tensor) -> list[Tensor]:
        brought = self._post.meetings[number]
        with self._post.changed:
            self._post.wait(self._rank, lambda: len(brought) == self.size(), f"the others, exchange {number}")
        kinds = {(kind, tuple(tensor.shape), tensor.dtype) for kind, tensor in brought.values()}
        if len(kinds) > 1:
            told = "; ".join(f"rank {rank} {kind} of {_in_words(tensor)}"
                             for rank, (kind, tensor) in sorted(brought.items())[:3])  # fmt: skip
            raise RanksStuck(
                f"exchange {number} is not the same on all ranks: {told}",
                hint="all ranks exchange the same tensors in the same order",
                kind="misfit",
            )
        return [brought[rank][1] for rank in range(self.size())]


def _in_words(tensor: Tensor) -> str:
    count = tensor.numel()
    return f"{count} number{'s' * (count != 1)} ({str(tensor.dtype).removeprefix('torch.')})"
