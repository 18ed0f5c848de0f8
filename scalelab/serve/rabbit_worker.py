"""A worker's side of a broker over RabbitMQ.

The connection lives in a thread of its own, so that it answers heartbeats while the model runs. RabbitMQ
pushes up to a batch ahead; what was pushed and not taken is no attempt: attempts are counted in the log, by
the line that a worker writes when it takes a task.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from scalelab.core.lazy import require
from scalelab.serve.broker import Answer, BrokerLimits, Delivery, give_up
from scalelab.serve.rabbit_inbox import Inbox
from scalelab.serve.rabbit_link import DEAD, Link
from scalelab.serve.rabbit_table import answered

Result = TypeVar("Result")


class RabbitWorkerSide:
    """Takes tasks and hands in their answers; the calls are plain, `beat` may come from another thread."""

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        require("aio_pika", extra="rabbitmq")
        self._limits = limits
        unique = f"{name}.{time.time_ns():x}"
        beat_s = limits.worker_ttl_s / 2
        self._link = Link(
            url, queue=queue, name=unique, limits=limits, keeps_bodies=False, heartbeat_s=beat_s
        )
        self._inbox = Inbox(self._link)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rabbitmq", daemon=True)
        self._thread.start()
        try:
            self._run(self._inbox.open())
        except BaseException:
            self._end()
            raise

    def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return what is queued, up to `max_tasks`; wait up to `wait_s` for the first."""
        return self._run(self._inbox.take(max_tasks, wait_s))

    def take_over(self) -> list[Delivery]:
        """Return at most one task that was taken before; bury those that were tried too often."""
        while found := self._run(self._inbox.take_orphan()):
            if found[0].attempt <= self._limits.max_attempts:
                return found
            self.finish([give_up(found[0], self._limits.max_attempts)])
        return []

    def finish(self, answers: Sequence[Answer]) -> int:
        """Store, announce and acknowledge answers; return how many were the first for their task."""
        return self._run(self._finish(answers)) if answers else 0

    def post(self, answers: Sequence[Answer], max_tasks: int, run_s: float, wait_s: float = 0.0) -> None:
        """Do what `finish` does."""
        self.finish(answers)

    def settle(self) -> int:
        """Return 0: nothing is ever left to store."""
        return 0

    def give_back(self, deliveries: Sequence[Delivery], *, after_s: float) -> None:
        """Let tasks be taken again, by anyone, `after_s` from now; bury those with too many attempts.

        Until then this worker keeps them, unfinished: if it dies, others get them at once.
        """
        limit = self._limits.max_attempts
        self.finish([give_up(one, limit) for one in deliveries if one.attempt >= limit])
        self._run(self._inbox.give_back([one for one in deliveries if one.attempt < limit], after_s))

    def beat(self) -> None:
        """Make sure that the connection stands: its own heartbeats say that this worker lives."""
        self._run(self._inbox.open())

    def leave(self) -> None:
        """Say that this worker ends in order."""
        self.sever()
        self._end()

    def sever(self) -> None:
        """Let the connection go, as the death of this process would; the next call opens another."""
        self._run(self._link.close())

    async def _finish(self, answers: Sequence[Answer]) -> int:
        await self._inbox.open()
        for done in answers:
            task = done.delivery.task
            if done.dead_letter and not self._link.table.stands(task.task_id):
                headers = {"reason": done.dead_letter, "at": round(time.time() * 1000)}
                await self._link.publish(DEAD, task.pack(), message_id=task.task_id, headers=headers)
        ttl_s = self._limits.result_ttl_s
        first = await self._link.write(
            [
                answered(one.delivery.task.task_id, ttl_s, one.delivery.task.reply_to, one.body)
                for one in answers
            ]
        )
        await self._inbox.acknowledge([done.delivery for done in answers])
        return len(first)

    def _run(self, step: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
