"""The gateway's side of a broker over RabbitMQ: tasks into a queue, everything else into and from its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from scalelab.core.lazy import require
from scalelab.serve.broker import BrokerAway, BrokerLimits, Health, Placed, Put, PutReport
from scalelab.serve.protocol import CANCELLED, Task, answer
from scalelab.serve.rabbit_link import DEAD, TASKS, WORKERS, Link
from scalelab.serve.rabbit_table import answered, claimed, queued

_BLOCK_S = 1.0
_CLAIM_S = 2.0
"""so long the gateway that claimed a key may take to queue its task; then another one does"""


class RabbitGatewaySide:
    """Queues tasks and hears of their answers."""

    is_immediate = False

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        require("aio_pika", extra="rabbitmq")
        self._url, self._queue, self._name, self._limits = url, queue, name, limits

    async def start(self) -> None:
        """Connect; a server that is away is waited for by the other calls.

        Raises:
            ConfigError: it wants another name and password, or cannot hold our queues.
        """
        # a new name at each opening: answers to one's own lines are known by it
        name = f"{self._name}.{time.time_ns():x}"
        self._link = Link(self._url, queue=self._queue, name=name, limits=self._limits)
        self._link.on_answer = self._hear
        self._heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        with suppress(BrokerAway):
            await self._link.open()

    async def put(self, puts: Sequence[Put]) -> PutReport:
        """Queue tasks: one round trip; with keys one before it, to claim them, and one after it.

        Safe to repeat: a task that stands is not queued again.
        """
        await self._link.open()
        table = self._link.table
        table.forget(time.monotonic())
        new = [put for put in puts if not self._is_used(put)]
        new = new[: max(0, self._limits.max_depth - len(table.open))]
        if claims := [put for put in new if put.key]:
            await self._link.write(
                [claimed(put.task.task_id, self._ttl_s(put.task), put.digest, put.key) for put in claims]
            )
        tasks = {put.task.task_id: put.task for put in new if not put.key}
        keyed: dict[str, Task] = {}
        placed = []
        for put in puts:
            owner, digest = self._owner(put)
            entry = table.entries.get(owner)
            if entry is None and owner not in tasks:
                owner = ""
            elif entry and not (entry.is_queued or entry.answer or owner in keyed):
                is_ours = owner == put.task.task_id
                if is_ours or not await self._is_queued_soon(owner):  # else who claimed the key died
                    keyed[owner] = replace(put.task, task_id=owner)
            placed.append(Placed(owner, digest))
        sending = [self._link.enqueue(task, self._ttl_s(task)) for task in (*tasks.values(), *keyed.values())]
        await asyncio.gather(*sending, *([self._note_queued(tasks)] if tasks else []))
        if keyed:
            await self._note_queued(keyed)
        return PutReport(placed, len(table.open), table.finished)

    async def look_up(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""
        await self._link.open()
        self._link.table.forget(time.monotonic())
        return [self._link.table.stands(task_id) for task_id in task_ids]

    async def cancel(self, task_id: str) -> bytes | None:
        """Answer a task that has no answer with "cancelled"; return what stands, None if it is unknown."""
        (stands,) = await self.look_up([task_id])
        if stands == b"":
            body = answer(task_id, CANCELLED, error="cancelled before it was answered")
            gateway = self._link.table.entries[task_id].gateway
            await self._link.write([answered(task_id, self._limits.result_ttl_s, gateway, body)])
            (stands,) = await self.look_up([task_id])
        return stands

    async def next_answers(self) -> list[tuple[str, bytes]]:
        """Wait up to a second for answers to this gateway's tasks."""
        await self._link.open()
        try:
            found = [await asyncio.wait_for(self._heard.get(), _BLOCK_S)]
        except asyncio.TimeoutError:
            return []
        while not self._heard.empty():
            found.append(self._heard.get_nowait())
        return found

    async def health(self) -> Health:
        """Return the state of the queue."""
        await self._link.sync()
        table, now_s = self._link.table, time.monotonic()
        table.forget(now_s)
        workers, dead = await self._link.count(WORKERS), await self._link.count(DEAD)
        waiting = (await self._link.count(TASKS)).message_count
        oldest = next(iter(table.open.values()), None)
        return Health(
            len(table.open),
            workers.consumer_count,
            dead.message_count,
            max(0, len(table.open) - waiting),
            now_s - oldest.seen_s if oldest else 0.0,
        )

    async def close(self) -> None:
        """Let go of the connection."""
        await self._link.close()

    def _hear(self, task_id: str, gateway: str, body: bytes) -> None:
        if gateway == self._name:
            self._heard.put_nowait((task_id, body))

    def _ttl_s(self, task: Task) -> float:
        return task.deadline_s + self._limits.result_ttl_s

    def _owner(self, put: Put) -> tuple[str, str]:
        """Return the task that a key names, and its digest; without a key, the task's own."""
        task_id, digest, _ = self._link.table.keys.get(put.key, (put.task.task_id, put.digest, 0.0))
        return task_id, digest

    def _is_used(self, put: Put) -> bool:
        owner, _ = self._owner(put)
        return owner != put.task.task_id or owner in self._link.table.entries

    async def _note_queued(self, tasks: Mapping[str, Task]) -> None:
        await self._link.write(
            [queued(task.task_id, self._ttl_s(task), task.reply_to) for task in tasks.values()]
        )

    async def _is_queued_soon(self, task_id: str) -> bool:
        until_s = time.monotonic() + _CLAIM_S
        while time.monotonic() < until_s:
            entry = self._link.table.entries.get(task_id)
            if entry is None or entry.is_queued or entry.answer:
                return True
            await asyncio.sleep(0.01)
        return False
