"""The worker's side of a broker over Redis Streams, for Redis and Valkey (6.2 or later).

Why a claim by heartbeat and not by idle time: XAUTOCLAIM cannot tell a slow worker from a dead one, so its
idle time must exceed the longest batch. A dead worker's heartbeat ends at once.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.lazy import require
from scalelab.serve.broker import Answer, BrokerAway, BrokerLimits, Delivery, give_up, shown_url
from scalelab.serve.protocol import PRIORITIES, Task
from scalelab.serve.redis_scripts import BEAT, FINISH, GIVE_BACK, GROUP, TAKE, TAKE_OVER

log = logging.getLogger("scalelab.broker")
CONNECTION = {"protocol": 2, "socket_connect_timeout": 2.0, "socket_timeout": 10.0}
"""no retries inside the client: both sides of the broker know better what may be repeated"""
_WORKER_SCRIPTS = (TAKE, TAKE_OVER, FINISH, GIVE_BACK)
_REFUSALS = {
    "maxmemory": "its memory is full: raise maxmemory, or add workers; what was accepted is kept",
    "MISCONF": "its disk is full or cannot be written: see its log; what was accepted is kept",
    "NOREPLICAS": "too few of its replicas answer; it is tried again",
}
"""a word of the server's refusal (the client cuts off "OOM"), and the next step"""


def key_prefix(queue: str) -> str:
    """Return the prefix of all keys of a queue."""
    return f"scalelab:{{{queue}}}:"


def stream_keys(queue: str) -> list[str]:
    """Return the streams of a queue, that of the highest priority first."""
    return [f"{key_prefix(queue)}tasks:{priority}" for priority in range(len(PRIORITIES))]


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
    except (redis.RedisError, OSError, ValueError) as error:
        raise unusable(url, error) from None
    return client


def unusable(url: str, error: Exception) -> ConfigError:
    """Return the error that names the URL, what its server said, and the next step."""
    said = str(error)
    if "invalid username-password" in said or any(word in said.upper() for word in ("AUTH", "NOPERM")):
        hint = "put the password into the URL: redis://:PASSWORD@HOST:PORT/0"
    elif "CERTIFICATE" in said:
        hint = "name the authority that signed its certificate: rediss://HOST?ssl_ca_certs=/PATH/ca.pem"
    elif any(word in said for word in ("ERR", "unknown command", "Protocol Error")):
        hint = "is this a Redis?"
    else:
        hint = "is a Redis or Valkey running there? Without --broker one is started for you"
    return ConfigError(f"the broker at {shown_url(url)} cannot be used: {said}", hint=hint)


@contextmanager
def reaching() -> Iterator[None]:
    """Turn errors of connection, and of a server that cannot write, into `BrokerAway`; others are bugs."""
    from redis import ConnectionError, ReadOnlyError, ResponseError, TimeoutError

    try:
        yield
    except (ConnectionError, TimeoutError, ReadOnlyError, OSError) as error:
        raise BrokerAway(f"no broker: {error}", hint="it is tried again") from None
    except ResponseError as error:
        hint = next((hint for word, hint in _REFUSALS.items() if word in str(error)), "")
        if not hint:
            raise
        said = str(error).partition(" script:")[0]
        raise BrokerAway(f"the broker refuses to write: {said}", hint=hint) from None


class RedisWorkerSide:
    """Takes tasks as one consumer of the group, and gives their answers back."""

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        self._client = connect(url)
        self._beats = connect(url)  # a connection of its own: `beat` is called from another thread
        self._prefix, self._name, self._limits = key_prefix(queue), name, limits
        self._names = (f"{name}.{number}" for number in itertools.count(2))
        self._streams = stream_keys(queue)
        self._scripts = {text: self._client.register_script(text) for text in _WORKER_SCRIPTS}
        self._beat = self._beats.register_script(BEAT)
        redis = require("redis", extra="serve")
        self._refusal, self._no_script = redis.ResponseError, redis.exceptions.NoScriptError
        self._server_ahead_s = 0.0
        self._extra: list[Delivery] = []
        self.beat()

    def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return what is queued, up to `max_tasks`; wait up to `wait_s` for the first.

        One round trip where something is queued, none where `post` has brought some. Only an empty queue is
        waited at, which a script cannot do: then the first task comes alone, one for each priority at most.
        """
        with self._no_reply_is_lost():
            return self._take(max_tasks, wait_s)

    def _take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        ready, self._extra = self._extra[:max_tasks], self._extra[max_tasks:]
        if not ready:
            ready = self._read(self._call(TAKE, self._name, max_tasks))
        if not ready and wait_s > 0:
            found = self._wait(wait_s)
            ready, self._extra = found[:max_tasks], found[max_tasks:]
        return ready

    def take_over(self) -> list[Delivery]:
        """Return at most one task that was given back or that a dead worker held; bury those tried too often.

        One at a time, so that a task which kills its worker is alone when it does so again: the attempts of
        its neighbours are not counted up with it.
        """
        while found := self._claim():
            *entry, attempt = found
            for delivery in self._read([entry], attempt):
                if attempt <= self._limits.max_attempts:
                    return [delivery]
                self.finish([give_up(delivery, self._limits.max_attempts)])
        return []

    def finish(self, answers: Sequence[Answer]) -> int:
        """Store, announce and acknowledge answers; return how many were the first for their task."""
        return int(self._call(FINISH, *self._finish_args(answers))) if answers else 0

    def post(self, answers: Sequence[Answer], max_tasks: int, run_s: float, wait_s: float = 0.0) -> None:
        """Do what `finish` does, and take the next tasks in the same round trip, if there are any."""
        if self._extra or not max_tasks:
            self.finish(answers)
            return
        calls = ((FINISH, self._finish_args(answers)), (TAKE, [self._name, max_tasks]))
        both = self._client.pipeline(transaction=False)
        for script, args in calls:
            both.evalsha(
                self._scripts[script].sha, len(self._streams), *self._streams, self._prefix, GROUP, *args
            )
        with self._no_reply_is_lost(), reaching():
            finished, taken = both.execute(raise_on_error=False)
        if not isinstance(taken, Exception):  # else the next `take` meets the same error and says so
            self._extra = self._read(taken)
        if isinstance(finished, self._no_script):
            self.finish(answers)
        elif isinstance(finished, Exception):
            with reaching():
                raise finished

    def _finish_args(self, answers: Sequence[Answer]) -> list[Any]:
        args: list[Any] = [round(self._limits.result_ttl_s * 1000)]
        for done in answers:
            task = done.delivery.task
            args += [task.task_id, done.delivery.receipt, task.reply_to, done.body, done.dead_letter]
        return args

    def settle(self) -> int:
        """Return 0: nothing is ever left to store."""
        return 0

    def give_back(self, deliveries: Sequence[Delivery], *, after_s: float) -> None:
        """Let tasks be taken again, by anyone, `after_s` from now; bury those with too many attempts."""
        limit = self._limits.max_attempts
        self.finish([give_up(one, limit) for one in deliveries if one.attempt >= limit])
        again = [one.receipt for one in deliveries if one.attempt < limit]
        if again:
            self._call(GIVE_BACK, self._name, round(after_s * 1000), *again)

    def beat(self) -> None:
        """Say that this worker lives, and learn the server's time."""
        ttl_ms = round(self._limits.worker_ttl_s * 1000)
        with reaching():
            server_ms = self._beat(keys=self._streams, args=[self._prefix, GROUP, self._name, ttl_ms])
        self._server_ahead_s = server_ms / 1000 - time.monotonic()

    def leave(self) -> None:
        """Say that this worker ends in order."""
        with reaching():
            forget_worker(self._client, self._prefix, self._name)
        self._client.close()
        self._beats.close()

    def _claim(self) -> Any:
        with self._no_reply_is_lost():
            return self._call(TAKE_OVER, self._name)

    @contextmanager
    def _no_reply_is_lost(self) -> Iterator[None]:
        """Go on under another name where a connection broke.

        The server may have given tasks to the old name in a reply that never came. They would stay with it as
        long as it lives; now it falls silent, and they go to others.
        """
        try:
            yield
        except BrokerAway:
            self._name = next(self._names)
            raise

    def _call(self, script: str, *args: Any) -> Any:
        with reaching():
            return self._scripts[script](keys=self._streams, args=[self._prefix, GROUP, *args])

    def _wait(self, wait_s: float) -> list[Delivery]:
        command = (
            "XREADGROUP",
            "GROUP",
            GROUP,
            self._name,
            "COUNT",
            1,
            "BLOCK",
            max(1, round(wait_s * 1000)),
        )
        new = [">"] * len(self._streams)
        try:
            with reaching():
                found = self._client.execute_command(*command, "STREAMS", *self._streams, *new)
        except self._refusal as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            return []  # the server was emptied or came back without its data: the next TAKE begins anew
        by_stream = {key.decode(): entries for key, entries in found or ()}
        return self._read(
            [
                (priority, entry, [part for field in fields.items() for part in field])
                for priority, key in enumerate(self._streams)
                for entry, fields in by_stream.get(key, ())
            ]
        )

    def _read(self, found: Sequence[Sequence[Any]], attempt: int = 1) -> list[Delivery]:
        """Turn entries ``(priority, id, fields)`` into deliveries; remove what is no task."""
        now_s = time.monotonic() + self._server_ahead_s  # no wall clock of ours: it may jump
        deliveries = []
        for priority, entry, (name, packed, *_) in found:
            try:
                task = Task.unpack(packed if name == b"p" else b"")
            except ValueError as error:  # not of our writing: nobody waits for it, and it must not come again
                log.warning("entry %s is no task and was removed: %s", entry.decode(), error)
                with reaching():
                    self._client.xack(self._streams[priority], GROUP, entry)
                    self._client.xdel(self._streams[priority], entry)
                continue
            # an entry's id is the time it was added
            waited_s = max(0.0, now_s - int(entry.partition(b"-")[0]) / 1000)
            receipt = f"{priority}:{entry.decode()}"
            deliveries.append(Delivery(task, receipt, attempt, waited_s > task.deadline_s, waited_s))
        return deliveries


def forget_worker(client: Any, prefix: str, name: str) -> None:
    """Take a worker from the living at once, so that others take over what it held."""
    client.zrem(prefix + "alive", name)
