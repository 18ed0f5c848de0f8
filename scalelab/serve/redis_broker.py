"""The worker's side of a broker over Redis Streams, for Redis and Valkey (6.2 or later).

Why a claim by heartbeat and not by idle time: XAUTOCLAIM cannot tell a slow worker from a dead one, so its
idle time must exceed the longest batch. A dead worker's heartbeat ends at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.lazy import require
from scalelab.serve.broker import Answer, BrokerAway, BrokerLimits, Delivery, shown_url
from scalelab.serve.protocol import FAILED, Task, answer
from scalelab.serve.redis_scripts import BEAT, FINISH, GROUP, TAKE_OVER

log = logging.getLogger("scalelab.broker")
CONNECTION = {"protocol": 2, "socket_connect_timeout": 2.0, "socket_timeout": 10.0}
"""no retries inside the client: both sides of the broker know better what may be repeated"""


def key_prefix(queue: str) -> str:
    """Return the prefix of all keys of a queue."""
    return f"scalelab:{{{queue}}}:"


def connect(url: str) -> Any:
    """Open a client and make sure that a server answers it.

    Raises:
        ConfigError: nobody answers at this URL, it wants another password, or it is no Redis.
        MissingDependency: the package ``redis`` is not installed.
    """
    redis = require("redis", extra="serve")
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **CONNECTION)
        client.ping()
    except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
        raise _unusable(url, error, "put the password into the URL: redis://:PASSWORD@HOST:PORT/0") from None
    except redis.ResponseError as error:
        auth = "AUTH" in str(error).upper()
        hint = "put the password into the URL: redis://:PASSWORD@HOST:PORT/0" if auth else "is this a Redis?"
        raise _unusable(url, error, hint) from None
    except (redis.RedisError, OSError, ValueError) as error:
        raise _unusable(
            url, error, "is a Redis or Valkey running there? Without --broker one is started for you"
        ) from None
    return client


@contextmanager
def reaching() -> Iterator[None]:
    """Turn the client's errors of connection into `BrokerAway`; a server that refuses a command is a bug."""
    from redis import ConnectionError, ReadOnlyError, TimeoutError

    try:
        yield
    except (ConnectionError, TimeoutError, ReadOnlyError, OSError) as error:
        raise BrokerAway(f"no broker: {error}", hint="it is tried again") from None


class RedisWorkerSide:
    """Takes tasks as one consumer of the group, and gives their answers back."""

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        self._client = connect(url)
        self._beats = connect(url)  # a connection of its own: `beat` is called from another thread
        self._prefix = key_prefix(queue)
        self._tasks, self._alive = self._prefix + "tasks", self._prefix + "alive"
        self._name, self._limits = name, limits
        self._finish = self._client.register_script(FINISH)
        self._take_over = self._client.register_script(TAKE_OVER)
        self._beat = self._beats.register_script(BEAT)
        self._refusal = require("redis", extra="serve").ResponseError
        self._server_ahead_s = 0.0
        self.beat()
        self._make_group()

    def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return what is queued, up to `max_tasks`; wait up to `wait_s` for the first."""
        block = ("BLOCK", max(1, round(wait_s * 1000))) if wait_s > 0 else ()
        command = ("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", max_tasks, *block)
        try:
            with reaching():
                found = self._client.execute_command(*command, "STREAMS", self._tasks, ">")
        except self._refusal as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            self._make_group()  # the server was emptied or came back without its data: begin anew
            return []
        deliveries = [
            self._delivery(entry, fields.get(b"p"), 1) for entry, fields in (found or [[0, []]])[0][1]
        ]
        return [delivery for delivery in deliveries if delivery is not None]

    def take_over(self) -> list[Delivery]:
        """Return at most one task that a dead worker held; those with too many attempts are buried.

        One at a time, so that a task which kills its worker is alone when it does so again: the attempts of
        its neighbours are not counted up with it.
        """
        while True:
            with reaching():
                found = self._take_over(keys=[self._tasks, self._alive], args=[GROUP, self._name])
            if not found:
                return []
            entry, payload, attempt = found
            delivery = self._delivery(entry, payload, attempt)
            if delivery is None:
                continue
            if attempt <= self._limits.max_attempts:
                return [delivery]
            reason = f"its worker died {self._limits.max_attempts} times"
            body = answer(delivery.task.task_id, FAILED, error=reason, attempts=self._limits.max_attempts)
            self.finish([Answer(delivery, body, dead_letter=reason)])

    def finish(self, answers: Sequence[Answer]) -> int:
        """Store, announce and acknowledge answers; return how many were the first for their task."""
        if not answers:
            return 0
        args: list[Any] = [self._prefix, GROUP, round(self._limits.result_ttl_s * 1000)]
        for done in answers:
            task = done.delivery.task
            args += [task.task_id, done.delivery.receipt, task.reply_to, done.body, done.dead_letter]
        with reaching():
            return int(self._finish(keys=[self._tasks], args=args))

    def give_back(self, deliveries: Sequence[Delivery], *, after_s: float) -> None:
        """Let tasks be taken again, by anyone, `after_s` from now."""
        raise NotImplementedError

    def beat(self) -> None:
        """Say that this worker lives, and learn the server's time."""
        ttl_ms = round(self._limits.worker_ttl_s * 1000)
        with reaching():
            server_ms = self._beat(keys=[self._alive], args=[self._name, ttl_ms])
        self._server_ahead_s = server_ms / 1000 - time.monotonic()

    def leave(self) -> None:
        """Say that this worker ends in order."""
        with reaching():
            forget_worker(self._client, self._prefix, self._name)
        self._client.close()
        self._beats.close()

    def _delivery(self, entry: bytes, payload: bytes | None, attempt: int) -> Delivery | None:
        try:
            task = Task.unpack(payload or b"")
        except ValueError as error:  # not of our writing: nobody waits for it, and it must not come again
            log.warning("entry %s is no task and was removed: %s", entry.decode(), error)
            with reaching():
                self._client.xack(self._tasks, GROUP, entry)
                self._client.xdel(self._tasks, entry)
            return None
        queued_s = int(entry.partition(b"-")[0]) / 1000  # an entry's id is the time it was added
        now_s = time.monotonic() + self._server_ahead_s  # no wall clock of ours: it may jump
        waited_s = max(0.0, now_s - queued_s)
        return Delivery(task, entry.decode(), attempt, waited_s > task.deadline_s, waited_s)

    def _make_group(self) -> None:
        try:
            with reaching():
                self._client.xgroup_create(self._tasks, GROUP, id="0", mkstream=True)
        except self._refusal as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


def forget_worker(client: Any, prefix: str, name: str) -> None:
    """Take a worker from the living at once, so that others take over what it held."""
    client.zrem(prefix + "alive", name)


def _unusable(url: str, error: Exception, hint: str) -> ConfigError:
    return ConfigError(f"the broker at {shown_url(url)} cannot be used: {error}", hint=hint)
