"""A connection to RabbitMQ, and the log of a queue read through it.

Of a queue there are, all durable::

    scalelab.QUEUE.tasks      the packed tasks, by priority; RabbitMQ gives out again what a dead worker held
    scalelab.QUEUE.log        a stream: what `rabbit_table` applies
    scalelab.QUEUE.dead       the dead letters
    scalelab.QUEUE.workers    empty: its consumers are the living workers

A side reads the log back to the last hour when it opens, and knows that a line of its own is stored, and what
came of it, when it reads it. Laws that hold in a weaker form than on Redis, since the readers are many:

- an answer or a cancel is known to *other* gateways and workers some milliseconds later;
- the limit of the queue counts what this gateway has read: several may be over it by what they put at once;
- a task's queue lies on one node: in a cluster, that node's loss makes the queue wait for it;
- a node that is killed seconds after the first stream of its life was made comes back without its leader
  (seen with 3.10.8): what was accepted is on its disk, but the log stays away until it is made anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.lazy import require
from scalelab.serve.broker import BrokerAway, BrokerLimits, shown_url
from scalelab.serve.options import MAX_DEADLINE_S
from scalelab.serve.protocol import PRIORITIES, Task
from scalelab.serve.rabbit_table import Answered, Table

log = logging.getLogger("scalelab.broker")
for _client in ("aio_pika", "aiormq"):
    logging.getLogger(_client).setLevel(logging.CRITICAL)  # what they log, our errors say
TASKS, LOG, DEAD, WORKERS = "tasks", "log", "dead", "workers"
MAX_LETTERS = 1000
_PATIENCE_S = 5.0
_CONNECT_S = 3.0
_PAUSE_S = 0.5
"""at least so long between two attempts to connect"""
_LOG = {"x-queue-type": "stream", "x-max-age": "2h", "x-stream-max-segment-size-bytes": 20_000_000}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    TASKS: {"x-max-priority": len(PRIORITIES) - 1},
    LOG: _LOG,
    DEAD: {"x-max-length": MAX_LETTERS},
    WORKERS: {},
}


_HINTS = {
    "CERTIFICATE": "name the authority that signed its certificate: amqps://HOST?cafile=/PATH/ca.pem",
    "Connection.OpenOk": "is there such a virtual host (the path of the URL)? rabbitmqctl list_vhosts",
    "": "is a RabbitMQ running there? Without --broker one of our own is used",
}
"""a word of what was said, and the next step"""


class Link:
    """One side's connection: opened when it is needed, and again after it broke."""

    def __init__(
        self,
        url: str,
        *,
        queue: str,
        name: str,
        limits: BrokerLimits,
        keeps_bodies: bool = True,
        heartbeat_s: float = 5.0,
    ):
        """`heartbeat_s`: a peer that was silent for two or three of these is dead; whole seconds to AMQP."""
        self._url, self._prefix, self._name = url, f"scalelab.{queue}.", name
        self._horizon_s = MAX_DEADLINE_S + limits.result_ttl_s
        self._keeps_bodies, self._heartbeat_s = keeps_bodies, max(1, round(heartbeat_s))
        self.table = Table(keeps_bodies=keeps_bodies)
        self.on_answer: Callable[[str, str, bytes], None] = lambda task_id, gateway, body: None
        self.generation = 0
        """of the connection: what was received through an older one cannot be acknowledged"""
        self._connection: Any = None
        self._tried_s = float("-inf")
        self._lock = asyncio.Lock()
        self._written = 0
        self._reading: dict[str, asyncio.Future[list[Answered]]] = {}
        self._next_offset: int | None = None
        self._is_live = False

    async def open(self) -> None:
        """Connect, unless that is done, and read the log to its end."""
        if self._connection is not None:
            return
        async with self._lock:
            if self._connection is None:
                wait_s = self._tried_s + _PAUSE_S - time.monotonic()
                if wait_s > 0:  # a server that is starting has better to do than to refuse us
                    await asyncio.sleep(wait_s)
                self._tried_s = time.monotonic()
                with reaching(self._url):
                    await self._open()

    async def write(self, lines: Sequence[bytes]) -> list[Answered]:
        """Append lines to the log; return, when they are stored, the answers among them that count."""
        await self.open()
        with reaching(self._url):
            return await self._write(lines)

    async def note(self, lines: Sequence[bytes]) -> None:
        """Append lines to the log without waiting until they are stored."""
        await self.open()
        with reaching(self._url):
            await self._append(lines, "")

    async def sync(self) -> None:
        """Read the log to its end, as it is now."""
        await self.write([])

    async def publish(self, queue: str, body: bytes, **properties: Any) -> None:
        """Put a message into a queue; it is on the server's disk when this returns."""
        import aio_pika

        await self.open()
        with reaching(self._url):
            message = aio_pika.Message(body, delivery_mode=2, **properties)
            exchange = self._sure.default_exchange
            await exchange.publish(message, self._prefix + queue, timeout=_PATIENCE_S)

    async def enqueue(self, task: Task, ttl_s: float) -> None:
        """Put a task into the queue of tasks."""
        urgency = len(PRIORITIES) - 1 - task.priority  # the larger number goes first
        await self.publish(TASKS, task.pack(), priority=urgency, expiration=timedelta(seconds=ttl_s))

    async def consume(self, queue: str, callback: Callable[[Any], Awaitable[None]], prefetch: int) -> Any:
        """Let messages come, `prefetch` at most that are not acknowledged; return the channel."""
        with reaching(self._url):
            if self._connection is None:
                raise ConnectionError("the connection was closed")
            subscribing = self._subscribe(self._connection, queue, callback, prefetch)
            return await asyncio.wait_for(subscribing, _PATIENCE_S)

    async def settle(self, step: Awaitable[None]) -> None:
        """Acknowledge or return a message."""
        with reaching(self._url):
            await step

    async def count(self, queue: str, channel: Any = None) -> Any:
        """Return `message_count` (those that no worker holds) and `consumer_count` of a queue."""
        await self.open()
        with reaching(self._url):
            channel = channel or self._sure
            found = await channel.declare_queue(self._prefix + queue, passive=True, timeout=_PATIENCE_S)
            return found.declaration_result

    async def next_letter(self) -> Any:
        """Return a dead letter that is not acknowledged yet, or None."""
        await self.open()
        with reaching(self._url):
            letters = await self._sure.get_queue(self._prefix + DEAD, ensure=False)
            return await letters.get(fail=False)  # waits five seconds at most

    async def close(self) -> None:
        """Let go of the connection; what was not acknowledged goes to others."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)

    async def _open(self) -> None:
        import yarl

        url = yarl.URL(self._url)
        if "heartbeat" not in url.query:
            url = url.update_query(heartbeat=self._heartbeat_s)
        connection = await _connect(url)
        connection.close_callbacks.add(self._closed)
        try:
            await asyncio.wait_for(self._prepare(connection), _PATIENCE_S)
            await self._write([])
        except BaseException:
            await _close(connection)
            raise
        self._is_live = True
        self.generation += 1
        self._connection = connection

    async def _prepare(self, connection: Any) -> None:
        self._sure = await connection.channel(publisher_confirms=True)
        for name, arguments in _ARGUMENTS.items():
            await self._sure.declare_queue(self._prefix + name, durable=True, arguments=arguments)
        start = self._next_offset
        if start is None:
            start = datetime.now(timezone.utc) - timedelta(seconds=self._horizon_s)
        self._log = await self._subscribe(connection, LOG, self._read, 256, {"x-stream-offset": start})

    async def _subscribe(
        self, connection: Any, queue: str, callback: Any, prefetch: int, arguments: Any = None
    ) -> Any:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=prefetch)
        found = await channel.get_queue(self._prefix + queue, ensure=False)
        await found.consume(callback, arguments=arguments)
        return channel

    async def _write(self, lines: Sequence[bytes]) -> list[Answered]:
        self._written += 1
        number = f"{self._name}.{self._written}"
        done = self._reading[number] = asyncio.get_running_loop().create_future()
        try:
            await self._append(lines, number)
            return await self._wait(done)
        except asyncio.TimeoutError:
            self._next_offset = None  # the server may have come back without its data: read anew
            self.table = Table(keeps_bodies=self._keeps_bodies)
            await self.close()
            raise
        finally:
            del self._reading[number]

    async def _wait(self, done: asyncio.Future[list[Answered]]) -> list[Answered]:
        """Wait for a line of ours; at the first opening as long as the log moves on, it may be long."""
        while True:
            before = self._next_offset
            try:
                return await asyncio.wait_for(asyncio.shield(done), _PATIENCE_S)
            except asyncio.TimeoutError:
                if self._is_live or self._next_offset == before:
                    raise

    async def _append(self, lines: Sequence[bytes], number: str) -> None:
        import aio_pika

        headers = {"at": round(time.time() * 1000)}
        message = aio_pika.Message(b"\n".join(lines), message_id=number, headers=headers)
        await self._log.default_exchange.publish(message, self._prefix + LOG, timeout=_PATIENCE_S)

    async def _read(self, message: Any) -> None:
        headers = message.headers
        offset = int(headers["x-stream-offset"])
        if self._next_offset is not None and offset < self._next_offset:
            return  # a stream is read in whole chunks: this one began before
        self._next_offset = offset + 1
        # how long ago matters only for what was written before we came: a clock may jump
        age_s = 0.0 if self._is_live else max(0.0, time.time() - int(headers["at"]) / 1000)
        lines = message.body.split(b"\n") if message.body else []
        first = self.table.apply(lines, now_s=time.monotonic(), age_s=age_s)
        for new in first:
            self.on_answer(*new)
        done = self._reading.get(message.message_id or "")
        if done is not None and not done.done():
            done.set_result(first)
        await message.ack()

    def _closed(self, connection: Any, error: BaseException | None) -> None:
        if connection is self._connection:
            self._connection = None
        for done in self._reading.values():
            if not done.done():
                done.set_exception(ConnectionError("the connection was closed"))


async def _connect(url: Any) -> Any:
    import aio_pika

    class Connection(aio_pika.Connection):
        def __del__(self) -> None:
            """Theirs begins to close itself, in the thread that happens to collect it: without a loop."""

    return await aio_pika.connect(url, timeout=_CONNECT_S, connection_class=Connection)


async def _close(connection: Any) -> None:
    """Close a connection in order, if the server takes part in it soon."""
    with suppress(Exception):
        await asyncio.wait_for(connection.close(), _CONNECT_S)


def reach(url: str) -> None:
    """Make sure that a RabbitMQ answers at this URL.

    Raises:
        ConfigError: nobody answers, or it wants another name and password.
        MissingDependency: the package ``aio-pika`` is not installed.
    """
    require("aio_pika", extra="rabbitmq")

    async def connect() -> None:
        await _close(await _connect(url))

    try:
        with reaching(url):
            asyncio.run(connect())
    except BrokerAway as error:
        said = error.message.removeprefix("no broker: ")
        hint = next((hint for word, hint in _HINTS.items() if word in said), _HINTS[""])
        raise ConfigError(f"the broker at {shown_url(url)} cannot be used: {said}", hint=hint) from None


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn errors of connection into `BrokerAway`, and those that time does not mend into `ConfigError`."""
    from aio_pika import exceptions as errors

    try:
        yield
    except (errors.AuthenticationError, errors.ProbableAuthenticationError) as error:
        raise ConfigError(
            f"the broker at {shown_url(url)} cannot be used: {error}",
            hint="put name and password into the URL: amqp://NAME:PASSWORD@HOST:5672",
        ) from None
    except (errors.ChannelPreconditionFailed, errors.IncompatibleProtocolError) as error:
        raise ConfigError(
            f"the broker at {shown_url(url)} cannot be used: {error}",
            hint="RabbitMQ 3.9 or later is needed; another --queue, if one of this name was made otherwise",
        ) from None
    except asyncio.TimeoutError:
        raise BrokerAway(
            f"RabbitMQ did not answer within {_PATIENCE_S:g} s: is an alarm of its memory or disk on?",
            hint="it is tried again; see its log",
        ) from None
    except (errors.AMQPError, errors.ChannelInvalidStateError, ConnectionError, OSError) as error:
        raise BrokerAway(f"no broker: {error or type(error).__name__}", hint="it is tried again") from None
