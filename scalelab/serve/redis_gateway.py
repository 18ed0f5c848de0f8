"""The gateway's side of a broker over Redis Streams: many requests a round trip, one stream of replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalelab.serve.broker import BrokerLimits, Health, Placed, Put, PutReport
from scalelab.serve.redis_broker import CONNECTION, key_prefix, reaching
from scalelab.serve.redis_scripts import GROUP, HEALTH, PUT

_BLOCK_MS = 1000


class RedisGatewaySide:
    """Queues tasks and hears of their answers."""

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._client: Any = redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **CONNECTION)
        self._prefix = key_prefix(queue)
        self._tasks = self._prefix + "tasks"
        self._replies = f"{self._prefix}replies:{name}"
        self._limits = limits
        self._put = self._client.register_script(PUT)
        self._health = self._client.register_script(HEALTH)
        self._last_reply: bytes | str = "0"

    async def start(self) -> None:
        """Nothing to do: the connection is made at the first call."""

    async def put(self, puts: Sequence[Put]) -> PutReport:
        """Queue tasks in one round trip. Safe to repeat: a task that stands is not queued again."""
        args: list[Any] = [self._prefix, self._limits.max_depth]
        for put in puts:
            ttl_ms = round((put.task.deadline_s + self._limits.result_ttl_s) * 1000)
            args += [put.task.task_id, put.task.pack(), put.key, put.digest, ttl_ms]
        with reaching():
            depth, finished, said = await self._put(keys=[self._tasks], args=args)
        placed = [Placed(*word.split(":")) for word in said.decode().split(" ")]
        return PutReport(placed, depth, finished)

    async def look_up(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""
        with reaching():
            found = await self._client.mget([f"{self._prefix}task:{task_id}" for task_id in task_ids])
        return [b"" if value == b"queued" else value for value in found]

    async def cancel(self, task_id: str) -> bytes | None:
        """Answer a task that has no answer with "cancelled"; return what stands, None if it is unknown."""
        raise NotImplementedError

    async def next_answers(self) -> list[tuple[str, bytes]]:
        """Wait up to a second for answers to this gateway's tasks.

        A stream and not publish/subscribe: after a broken connection the reading goes on where it ended.
        """
        command = ("XREAD", "COUNT", 256, "BLOCK", _BLOCK_MS, "STREAMS", self._replies, self._last_reply)
        with reaching():
            found = await self._client.execute_command(*command)
        if not found:
            return []
        answers = []
        for entry, fields in found[0][1]:
            self._last_reply = entry
            answers += [(line[:32].decode(), line[33:]) for line in fields[b"b"].split(b"\n")]
        return answers

    async def health(self) -> Health:
        """Return the state of the queue."""
        keys = [self._tasks, self._prefix + "alive", self._prefix + "dead"]
        with reaching():
            depth, workers, dead, in_flight, oldest_ms = await self._health(keys=keys, args=[GROUP])
        return Health(depth, workers, dead, in_flight, oldest_ms / 1000)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()
