"""The dead letters of a queue over RabbitMQ: messages of a queue that nobody else consumes."""

from __future__ import annotations

import asyncio
import builtins
import secrets
from collections.abc import Sequence
from typing import Any

from scalelab.core.lazy import require
from scalelab.serve.broker import BrokerLimits, DeadLetter
from scalelab.serve.protocol import Task
from scalelab.serve.rabbit_link import Link
from scalelab.serve.rabbit_table import retried


class RabbitDeadLetters:
    """Each call reads the whole queue through a connection of its own; what it keeps returns to its place."""

    def __init__(self, url: str, *, queue: str, limits: BrokerLimits):
        require("aio_pika", extra="rabbitmq")
        self._url, self._queue, self._limits = url, queue, limits

    def list(self, limit: int) -> list[DeadLetter]:
        """Return the newest letters, newest last."""
        return asyncio.run(self._list())[-limit:]

    def retry(self, ids: Sequence[str]) -> int:
        """Queue these tasks anew, with all attempts before them and without their answer; return how many."""
        return asyncio.run(self._retry(set(ids)))

    def drop(self, ids: Sequence[str]) -> int:
        """Forget these letters; return how many there were. The answer "failed" stays."""
        return asyncio.run(self._drop(set(ids)))

    async def _list(self) -> builtins.list[DeadLetter]:
        link = self._link()
        try:
            return [
                DeadLetter(
                    message.message_id,
                    str(message.headers["reason"]),
                    message.headers["at"] / 1000,
                    Task.unpack(message.body).payload,
                )
                for message in await self._read(link)
            ]
        finally:
            await link.close()

    async def _retry(self, ids: set[str]) -> int:
        link = self._link()
        try:
            found = [message for message in await self._read(link) if message.message_id in ids]
            for message in found:
                task = Task.unpack(message.body)
                ttl_s = task.deadline_s + self._limits.result_ttl_s
                # in this order: a worker that finds an answer standing would not run the task
                await link.write([retried(task.task_id, ttl_s, task.reply_to)])
                await link.enqueue(task, ttl_s)
                await link.settle(message.ack())
            return len(found)
        finally:
            await link.close()

    async def _drop(self, ids: set[str]) -> int:
        link = self._link()
        try:
            found = [message for message in await self._read(link) if message.message_id in ids]
            for message in found:
                await link.settle(message.ack())
            return len(found)
        finally:
            await link.close()

    def _link(self) -> Link:
        name = f"letters.{secrets.token_hex(6)}"
        return Link(self._url, queue=self._queue, name=name, limits=self._limits, keeps_bodies=False)

    async def _read(self, link: Link) -> builtins.list[Any]:
        found = []
        while (message := await link.next_letter()) is not None:
            found.append(message)
        return found
