"""The gateway's side of a broker over Redis Streams: many requests a round trip, one stream of replies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from scalelab.core.lazy import require
from scalelab.serve.broker import BrokerAway, BrokerLimits, Health, Placed, Put, PutReport
from scalelab.serve.protocol import CANCELLED, answer
from scalelab.serve.redis_broker import CONNECTION, key_prefix, reaching, stream_keys, unusable
from scalelab.serve.redis_scripts import CANCEL, GROUP, HEALTH, PUT

log = logging.getLogger("scalelab.broker")
_BLOCK_MS = 1000


class RedisGatewaySide:
    """Queues tasks and hears of their answers."""

    is_immediate = False

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        require("redis", extra="serve")
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._url = url
        self._client: Any = redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **CONNECTION)
        self._prefix, self._streams = key_prefix(queue), stream_keys(queue)
        self._replies = f"{self._prefix}replies:{name}"
        self._limits = limits
        self._scripts = {text: self._client.register_script(text) for text in (PUT, CANCEL, HEALTH)}
        self._last_reply: bytes | str = "0"

    async def start(self) -> None:
        """Make sure that the server lets us in; one that is away is waited for by the other calls.

        Raises:
            ConfigError: it wants another password, or it is no Redis.
        """
        from redis import AuthenticationError, ResponseError

        try:
            with reaching():
                try:
                    await self._client.ping()
                except (AuthenticationError, ResponseError) as error:
                    raise unusable(self._url, error) from None
        except BrokerAway as error:
            log.warning("%s", error)

    async def put(self, puts: Sequence[Put]) -> PutReport:
        """Queue tasks in one round trip. Safe to repeat: a task that stands is not queued again."""
        args: list[Any] = [self._limits.max_depth]
        for put in puts:
            task = put.task
            args += [task.task_id, task.pack(), task.priority, task.reply_to, put.key, put.digest]
            args.append(round((task.deadline_s + self._limits.result_ttl_s) * 1000))
        depth, finished, said = await self._call(PUT, *args)
        placed = [Placed(*word.split(":")) for word in said.decode().split(" ")]
        return PutReport(placed, depth, finished)

    async def look_up(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""
        with reaching():
            found = await self._client.mget([f"{self._prefix}task:{task_id}" for task_id in task_ids])
        return [b"" if value and value.startswith(b"queued ") else value for value in found]

    async def cancel(self, task_id: str) -> bytes | None:
        """Answer a task that has no answer with "cancelled"; return what stands, None if it is unknown."""
        ttl_ms = round(self._limits.result_ttl_s * 1000)
        body = answer(task_id, CANCELLED, error="cancelled before it was answered")
        stands: bytes | None = await self._call(CANCEL, task_id, body, ttl_ms)
        return stands

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
        depth, workers, dead, in_flight, oldest_ms = await self._call(HEALTH)
        return Health(depth, workers, dead, in_flight, oldest_ms / 1000)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _call(self, script: str, *args: Any) -> Any:
        with reaching():
            return await self._scripts[script](keys=self._streams, args=[self._prefix, GROUP, *args])
