"""What the gateway keeps between events: calls that share a round trip, waiting requests, the drain rate."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")


class SharedCall(Generic[Item, Reply]):
    """Turns many single calls into few calls of many.

    While one round trip is under way, new items gather; then all of them go together. An idle gateway sends
    an item at once; the busier it is, the more items share the cost. At most one round trip at a time.
    """

    def __init__(self, call: Callable[[list[Item]], Awaitable[Sequence[Reply]]], *, max_items: int = 128):
        self._call, self._max_items = call, max_items
        self._items: list[tuple[Item, asyncio.Future[Reply]]] = []
        self._sending: asyncio.Task[None] | None = None

    def __call__(self, item: Item) -> asyncio.Future[Reply]:
        """Return the future of the item's reply; it carries the exception of the shared call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._items.append((item, future))
        if self._sending is None:
            self._sending = loop.create_task(self._send())
        return future

    async def _send(self) -> None:
        try:
            while self._items:
                batch, self._items = self._items[: self._max_items], self._items[self._max_items :]
                try:
                    replies = await self._call([item for item, _ in batch])
                except Exception as error:  # belongs to each of the callers, who know what to say
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for (_, future), reply in zip(batch, replies, strict=True):
                        if not future.done():
                            future.set_result(reply)
        finally:
            self._sending = None


class Waiters:
    """The requests that wait for the answer to a task."""

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[bytes | None]]] = {}

    def add(self, task_id: str) -> asyncio.Future[bytes | None]:
        """Return a future for the answer. Add it before the task is queued, or the answer may be first."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._futures.setdefault(task_id, []).append(future)
        return future

    def announce(self, task_id: str, answer: bytes) -> None:
        """Give the answer to all who wait for it."""
        for future in self._futures.pop(task_id, ()):
            if not future.done():
                future.set_result(answer)

    async def wait(self, future: asyncio.Future[bytes | None], timeout_s: float) -> bytes | None:
        """Return the answer, or None when the time is over; cheaper than `asyncio.wait_for`."""
        timer = asyncio.get_running_loop().call_later(timeout_s, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def drop(self, task_id: str, future: asyncio.Future[bytes | None]) -> None:
        """Forget a future that nobody waits for any more."""
        waiting = self._futures.get(task_id, [])
        if future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._futures[task_id]

    def __len__(self) -> int:
        return sum(map(len, self._futures.values()))


class DrainRate:
    """How fast the queue empties, from the count of answers over the last seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, window_s: float = 2.0):
        self._clock, self._window_s = clock, window_s
        self._mark: tuple[float, int] | None = None
        self.per_second = 0.0

    def note(self, finished: int) -> None:
        """Take the number of answers ever given into account."""
        now_s = self._clock()
        if self._mark is None:
            self._mark = (now_s, finished)
        elif now_s - self._mark[0] >= self._window_s:
            self.per_second = max(0.0, (finished - self._mark[1]) / (now_s - self._mark[0]))
            self._mark = (now_s, finished)

    def retry_after_s(self, depth: int) -> int:
        """Return whole seconds until half of the queue is answered at the measured rate, 1 to 60."""
        if self.per_second <= 0:
            return 1 if self._mark is None else 5
        return min(60, max(1, math.ceil(depth / 2 / self.per_second)))


def _give_up(future: asyncio.Future[bytes | None]) -> None:
    if not future.done():
        future.set_result(None)
