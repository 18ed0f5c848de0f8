"""What the gateway keeps between events: calls that share a round trip, waiting requests, alarms."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")


class SharedCall(Generic[Item, Reply]):
    """Turns many single calls into few calls of many.

    While one round trip is under way, new items gather; then all of them go together. An idle gateway sends
    an item at once; the busier it is, the more items share the cost. At most one round trip at a time.

    Args:
        call: sends the items of one round trip.
        max_items: of one round trip.
        is_immediate: the call never waits, so it needs no task of the event loop.
    """

    def __init__(
        self,
        call: Callable[[list[Item]], Coroutine[Any, Any, Sequence[Reply]]],
        *,
        max_items: int = 128,
        is_immediate: bool = False,
    ):
        self._call, self._max_items, self._is_immediate = call, max_items, is_immediate
        self._items: list[tuple[Item, Callable[[Reply | Exception], None]]] = []
        self._sending: asyncio.Task[None] | asyncio.Handle | None = None

    def send(self, item: Item, then: Callable[[Reply | Exception], None]) -> None:
        """Have `then` called with the item's reply, or with the exception of the shared call."""
        self._items.append((item, then))
        if self._sending is None:
            loop = asyncio.get_running_loop()
            is_immediate = self._is_immediate
            self._sending = loop.call_soon(self._send_now) if is_immediate else loop.create_task(self._send())

    def __call__(self, item: Item) -> asyncio.Future[Reply]:
        """Return the future of the item's reply; it carries the exception of the shared call."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def settle(reply: Reply | Exception) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.send(item, settle)
        return future

    async def _send(self) -> None:
        try:
            while self._items:
                await self._send_some()
        finally:
            self._sending = None

    def _send_now(self) -> None:
        self._sending = None
        while self._items:
            try:
                self._send_some().send(None)
            except StopIteration:
                continue
            raise RuntimeError("a call that never waits did wait")

    async def _send_some(self) -> None:
        batch, self._items = self._items[: self._max_items], self._items[self._max_items :]
        try:
            replies: Sequence[Reply | Exception] = await self._call([item for item, _ in batch])
        except Exception as error:  # belongs to each of the callers, who know what to say
            replies = [error] * len(batch)
        for (_, then), reply in zip(batch, replies, strict=True):
            then(reply)


class Waiters:
    """The requests that wait for the answer to a task."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Callable[[bytes], None]]] = {}

    def call(self, task_id: str, then: Callable[[bytes], None]) -> None:
        """Have `then` called with the answer. Ask before the task is queued, or the answer may be first."""
        self._calls.setdefault(task_id, []).append(then)

    def forget(self, task_id: str, then: Callable[[bytes], None]) -> None:
        """Take back what `call` was told; nothing happens if the answer has come."""
        calls = self._calls.get(task_id, [])
        if then in calls:
            calls.remove(then)
            if not calls:
                del self._calls[task_id]

    def announce(self, task_id: str, answer: bytes) -> None:
        """Give the answer to all who wait for it."""
        for then in self._calls.pop(task_id, ()):
            then(answer)

    @contextmanager
    def listening(self, task_id: str) -> Iterator[Callable[[float], Awaitable[bytes]]]:
        """Give a function that waits so many seconds for the answer, and returns nothing after them."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()

        def settle(answer: bytes = b"") -> None:
            if not future.done():
                future.set_result(answer)

        async def wait(timeout_s: float) -> bytes:
            timer = loop.call_later(timeout_s, settle)  # cheaper than `asyncio.wait_for`
            try:
                return await future
            finally:
                timer.cancel()

        self.call(task_id, settle)
        try:
            yield wait
        finally:
            self.forget(task_id, settle)

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))


class Alarms:
    """Calls when a time is over, at the next hundredth of a second.

    asyncio's timers live in a heap whose order is compared in Python: thousands that are set and cancelled
    each second cost a tenth of a request's time. Here all alarms of one hundredth share one timer.
    """

    def __init__(self, *, grain_s: float = 0.01):
        self._grain_s = grain_s
        self._slots: dict[int, dict[object, Callable[[], None]]] = {}

    def set(self, owner: object, after_s: float, call: Callable[[], None]) -> int:
        """Have `call` called in `after_s`; return what `cancel` wants. One alarm an owner and slot."""
        loop = asyncio.get_running_loop()
        slot = math.ceil((loop.time() + after_s) / self._grain_s)
        calls = self._slots.get(slot)
        if calls is None:
            calls = self._slots[slot] = {}
            loop.call_at(slot * self._grain_s, self._ring, slot)
        calls[owner] = call
        return slot

    def cancel(self, owner: object, slot: int) -> None:
        """Take an alarm back; nothing happens if it rang."""
        calls = self._slots.get(slot)
        if calls is not None:
            calls.pop(owner, None)

    def _ring(self, slot: int) -> None:
        for call in self._slots.pop(slot).values():
            call()
