"""What RabbitMQ has pushed to a worker: what is new, what was taken before, what the worker holds."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from scalelab.serve.broker import BrokerAway, Delivery
from scalelab.serve.protocol import Task
from scalelab.serve.rabbit_link import TASKS, WORKERS, Link, log
from scalelab.serve.rabbit_table import taken

Pushed = tuple[Any, Task]
"""the message, and the task in it"""


class Inbox:
    """The messages of one connection, none of which is acknowledged; all methods run in its loop."""

    def __init__(self, link: Link):
        self._link = link
        self._numbers = count()
        self._generation = 0
        self._opening = asyncio.Lock()
        self._forget()

    async def open(self) -> None:
        """Connect, and be counted as a living worker."""
        async with self._opening:
            await self._link.open()
            if self._generation != self._link.generation:
                self._forget()  # what was held through the old connection is anybody's by now
                await self._link.consume(WORKERS, self._ignore, 1)
                self._generation = self._link.generation

    async def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return new tasks, the highest priority first."""
        await self.open()
        await self._subscribe(max_tasks)
        until_s = time.monotonic() + wait_s
        while True:
            self._came.clear()
            await self._settle(max_tasks)
            found = await self._pick(max_tasks)
            left_s = until_s - time.monotonic()
            if found or left_s <= 0:
                return await self._deliver(found)
            try:
                await asyncio.wait_for(self._came.wait(), left_s)
            except asyncio.TimeoutError:
                return []

    async def take_orphan(self) -> list[Delivery]:
        """Return one task that was taken before."""
        await self.open()
        await self._subscribe(1)
        await self._sort()
        while self._orphans:
            message, task = self._orphans.pop(0)
            if not await self._is_answered(message, task):
                return await self._deliver([(message, task)])
        return []

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Let RabbitMQ forget these deliveries."""
        for delivery in deliveries:
            message = self._held.pop(delivery.receipt, None)
            if message is not None:
                await self._link.settle(message.ack())

    async def give_back(self, deliveries: Sequence[Delivery], after_s: float) -> None:
        """Return deliveries to the queue after a time."""
        loop = asyncio.get_running_loop()
        for delivery in deliveries:
            loop.call_later(
                after_s, lambda receipt: loop.create_task(self._return(receipt)), delivery.receipt
            )

    async def _return(self, receipt: str) -> None:
        message = self._held.pop(receipt, None)
        if message is not None:
            try:
                await self._link.settle(message.nack(requeue=True))
            except BrokerAway as error:  # then the end of the connection has returned it
                log.debug("%s", error)

    async def _receive(self, message: Any) -> None:
        try:
            task = Task.unpack(message.body)
        except ValueError as error:  # not of our writing: nobody waits for it, and it must not come again
            log.warning("a message is no task and was removed: %s", error)
            await message.ack()
            return
        self._unsorted.append((message, task))
        self._came.set()

    async def _ignore(self, message: Any) -> None:
        """Nothing is ever sent to the queue that counts workers."""

    async def _subscribe(self, more: int) -> None:
        """Let RabbitMQ push as much as is held and wanted: what exceeds it comes through another channel."""
        missing = len(self._held) + more - self._prefetch
        if missing > 0:
            self._prefetch += missing
            self._channels.append(await self._link.consume(TASKS, self._receive, missing))

    async def _settle(self, wanted: int) -> None:
        """Wait until all that lies in the queue, or as much as is wanted, has been pushed to us.

        The count comes from the queue, and what it has sent before is ahead of the second answer.
        """
        for _ in range(100):
            pushed = len(self._unsorted) + len(self._new)
            if pushed >= wanted or len(self._held) + len(self._orphans) + pushed >= self._prefetch:
                return
            waiting = 0
            for _ in range(2):
                for channel in self._channels:
                    waiting = (await self._link.count(TASKS, channel)).message_count
            if waiting == 0:
                return

    async def _sort(self) -> None:
        """Put what was taken before, by anyone, apart from what is new."""
        while self._unsorted:
            batch, self._unsorted = self._unsorted, []
            if any(message.redelivered for message, _ in batch):
                await self._link.sync()  # or we might not know yet who took it
            for message, task in batch:
                if self._link.table.attempts(task.task_id):
                    self._orphans.append((message, task))
                else:
                    heapq.heappush(self._new, (task.priority, next(self._numbers), message, task))

    async def _pick(self, max_tasks: int) -> list[Pushed]:
        await self._sort()
        found: list[Pushed] = []
        while self._new and len(found) < max_tasks:
            _, _, message, task = heapq.heappop(self._new)
            if not await self._is_answered(message, task):
                found.append((message, task))
        return found

    async def _is_answered(self, message: Any, task: Task) -> bool:
        """Tell whether a task needs no run, and let RabbitMQ forget it then."""
        if self._link.table.stands(task.task_id):
            await self._link.sync()  # a dead letter that is tried again has lost its answer
        if not self._link.table.stands(task.task_id):
            return False
        await self._link.settle(message.ack())
        return True

    async def _deliver(self, found: Sequence[Pushed]) -> list[Delivery]:
        deliveries = []
        now_s, table = time.monotonic(), self._link.table
        for message, task in found:
            receipt = str(next(self._numbers))
            self._held[receipt] = message
            entry = table.entries.get(task.task_id)
            waited_s = now_s - entry.seen_s if entry else 0.0
            attempt = table.attempts(task.task_id) + 1
            deliveries.append(Delivery(task, receipt, attempt, waited_s > task.deadline_s, waited_s))
        if deliveries:
            await self._link.note([taken(one.task.task_id) for one in deliveries])
        return deliveries

    def _forget(self) -> None:
        self._held: dict[str, Any] = {}
        self._unsorted: list[Pushed] = []
        self._new: list[tuple[int, int, Any, Task]] = []
        self._orphans: list[Pushed] = []
        self._channels: list[Any] = []
        self._prefetch = 0
        self._came = asyncio.Event()
