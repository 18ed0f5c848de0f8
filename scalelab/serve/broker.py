"""What the service asks of a broker, and the choice of one by its URL.

Each broker gives two sides: an asynchronous one for the gateway, a plain one for the worker; and the dead
letters, for people. The laws, which one contract test checks on every broker:

- a task that `put` accepted is taken until an answer is stored (at least once);
- an answer is stored, announced and acknowledged in one step, and only the first answer counts (at most one):
  a task whose answer stands, because it was cancelled too, is not given out again;
- what a dead worker held is taken again, each task alone; after `max_attempts` it is a dead letter;
- what a worker gave back is taken again after the time it named, and counts as an attempt;
- the queue has a limit; a key that was used names the first task;
- a task of higher priority is taken first; of one priority, the older one.

URLs::

    local://:TOKEN@127.0.0.1:PORT/ABSOLUTE/FOLDER   inside the gateway's process, journalled in FOLDER
    embedded:                                       a Valkey of our own; the supervisor starts it
    redis://  rediss://  unix://                    Redis or Valkey
    amqp://  amqps://                               RabbitMQ
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.lazy import need_installed
from scalelab.serve.protocol import FAILED, Task, answer

LOCAL, EMBEDDED = "local:", "embedded:"
"""the two brokers that a stack starts itself"""
_REDIS = ("redis", "rediss", "unix")
_RABBIT = ("amqp", "amqps")
SCHEMES = ("local", *_REDIS, *_RABBIT)


class BrokerAway(RunFailed):
    """The broker does not answer now. What was to be done may be repeated: every step stands at most once."""


@dataclass(frozen=True)
class BrokerLimits:
    """How much is kept, for how long, and how patiently."""

    max_depth: int = 20_000
    """tasks in the queue and in work; about 5 KB each"""
    result_ttl_s: float = 300.0
    """how long an answer can be fetched"""
    max_attempts: int = 3
    """deliveries before a task that kills its worker becomes a dead letter"""
    worker_ttl_s: float = 2.0
    """a worker that was silent for so long is dead, and its tasks go to others"""


@dataclass(slots=True)
class Put:
    """A task to be queued; with a `key`, only if that key was not used."""

    task: Task
    key: str = ""
    digest: str = ""
    """of the payload: one key with two payloads is a mistake of the caller"""


@dataclass(slots=True)
class Placed:
    """What became of a `Put`."""

    task_id: str
    """the task's own id, or that of the task which used the key before; empty: the queue is full"""
    digest: str = ""


@dataclass(frozen=True)
class PutReport:
    """The answers to some `Put`s and the state of the queue after them."""

    placed: list[Placed]
    depth: int
    finished: int
    """answers ever stored in this queue: its growth is the drain rate"""


@dataclass(frozen=True)
class Health:
    """The state of the queue."""

    depth: int
    workers: int
    dead_letters: int
    in_flight: int = 0
    """of `depth`: in a worker's hands"""
    oldest_s: float = 0.0
    """age of the oldest task that has no answer; 0 if there is none"""


@dataclass(slots=True)
class Delivery:
    """A task in a worker's hands."""

    task: Task
    receipt: str
    """what the broker calls this delivery"""
    attempt: int
    """1 for the first delivery"""
    is_expired: bool
    waited_s: float = 0.0
    """since it was first queued, on the broker's clock"""


@dataclass(slots=True)
class Answer:
    """The final answer to a delivery."""

    delivery: Delivery
    body: bytes
    dead_letter: str = ""
    """if not empty: keep the task aside for people, with this reason"""


def give_up(delivery: Delivery, attempts: int) -> Answer:
    """Return the answer to a task that is tried no more."""
    reason = f"its worker died or gave it back {attempts} times"
    body = answer(delivery.task.task_id, FAILED, error=reason, attempts=attempts)
    return Answer(delivery, body, dead_letter=reason)


@dataclass(frozen=True)
class DeadLetter:
    """A task that was given up, kept for people."""

    task_id: str
    reason: str
    at_s: float
    """when it was given up, by the broker's clock [s since 1970]"""
    payload: bytes


class GatewaySide(Protocol):
    """A broker as the gateway sees it."""

    is_immediate: bool
    """whether `put` never waits"""

    async def start(self) -> None:
        """Be ready for the other calls; called once, inside the event loop that makes them."""

    async def put(self, puts: Sequence[Put]) -> PutReport:
        """Queue tasks in one round trip."""

    async def look_up(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""

    async def cancel(self, task_id: str) -> bytes | None:
        """Answer a task that has no answer with "cancelled"; return what stands, None if it is unknown."""

    async def next_answers(self) -> list[tuple[str, bytes]]:
        """Wait a moment for answers to this gateway's tasks; may return none."""

    async def health(self) -> Health:
        """Return the state of the queue."""

    async def close(self) -> None:
        """Let go of the connections."""


class WorkerSide(Protocol):
    """A broker as a worker sees it."""

    def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return what is queued, up to `max_tasks`; wait up to `wait_s` for the first.

        Where others work too, a broker may leave them their share.
        """

    def take_over(self) -> list[Delivery]:
        """Return at most one task that a dead worker held; those with too many attempts are buried."""

    def finish(self, answers: Sequence[Answer]) -> int:
        """Store, announce and acknowledge answers; return how many were the first for their task."""

    def post(self, answers: Sequence[Answer], max_tasks: int, run_s: float, wait_s: float = 0.0) -> None:
        """Do what `finish` does, perhaps later, and have tasks at hand for the next `take`.

        Answers that were posted are kept until they are stored. What goes wrong with them is raised by the
        next call, which repeats them: `BrokerAway`.

        Args:
            answers: one or more.
            max_tasks: how many the worker can begin now; under load it may be given as many again, to lie
                ready beside them.
            run_s: how long its last run of the model took; beside a long run, a round trip is nothing.
            wait_s: how long it will wait for the first of them, if none is queued: the next `take` may do so
                without a question of its own.
        """

    def settle(self) -> int:
        """Wait until what was posted is stored; return how many answers were the first for their task."""

    def give_back(self, deliveries: Sequence[Delivery], *, after_s: float) -> None:
        """Let tasks be taken again, by anyone, `after_s` from now; bury those with too many attempts."""

    def beat(self) -> None:
        """Say that this worker lives."""

    def leave(self) -> None:
        """Say that this worker ends in order."""


class DeadLetters(Protocol):
    """The tasks that were given up, newest last; opened by people while the service runs."""

    def list(self, limit: int) -> list[DeadLetter]:
        """Return the newest letters."""

    def retry(self, ids: Sequence[str]) -> int:
        """Queue these tasks anew, with all attempts before them and without their answer; return how many."""

    def drop(self, ids: Sequence[str]) -> int:
        """Forget these letters; return how many there were. The answer "failed" stays."""


def check_url(url: str) -> None:
    """Make sure that a broker of this URL exists.

    Raises:
        ConfigError: the scheme is unknown; the hint names those we know.
    """
    if url in (LOCAL, EMBEDDED):
        return
    try:
        parts = urlsplit(url)
        is_known = parts.scheme in SCHEMES and (parts.port or 1) > 0 and url.partition("://")[2] != ""
    except ValueError:  # a port that is no number from 0 to 65535, half an IPv6 address
        is_known = False
    if not is_known:
        raise ConfigError(
            f"{shown_url(url)!r} is no broker URL",
            hint="give redis://HOST:PORT/0 (Redis, Valkey), rediss:// for TLS, unix:///PATH, amqp://HOST "
            "(RabbitMQ), embedded: (a Valkey of our own), or no --broker",
        )


def need_client(url: str) -> None:
    """Make sure that what talks to the broker at `url` is installed; the local one needs nothing.

    Raises:
        MissingDependency: the hint says how to install it.
    """
    scheme = url.partition(":")[0]
    if scheme in ("embedded", *_REDIS):
        need_installed(("redis",), extra="serve")
    elif scheme in _RABBIT:
        need_installed(("aio_pika",), extra="rabbitmq")


def shown_url(url: str) -> str:
    """Return a URL without its password, fit for a screen or a log."""
    before, _, after = url.rpartition("@")
    scheme, _, credentials = before.partition("://")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}:***@{after}" if colon else url


def open_gateway_side(url: str, *, queue: str, name: str, limits: BrokerLimits) -> GatewaySide:
    """Open the gateway's side of the broker at `url`; `name` is this gateway's own."""
    scheme = _scheme_of(url)
    if scheme == "local":
        from scalelab.serve.local.gateway_side import LocalGatewaySide

        return LocalGatewaySide(url, queue=queue, name=name, limits=limits)
    if scheme in _RABBIT:
        from scalelab.serve.rabbit_gateway import RabbitGatewaySide

        return RabbitGatewaySide(url, queue=queue, name=name, limits=limits)
    from scalelab.serve.redis_gateway import RedisGatewaySide

    return RedisGatewaySide(url, queue=queue, name=name, limits=limits)


def open_worker_side(url: str, *, queue: str, name: str, limits: BrokerLimits) -> WorkerSide:
    """Open a worker's side of the broker at `url`; `name` is this worker's own."""
    scheme = _scheme_of(url)
    if scheme == "local":
        from scalelab.serve.local.worker_side import LocalWorkerSide

        return LocalWorkerSide(url, queue=queue, name=name, limits=limits)
    if scheme in _RABBIT:
        from scalelab.serve.rabbit_worker import RabbitWorkerSide

        return RabbitWorkerSide(url, queue=queue, name=name, limits=limits)
    from scalelab.serve.redis_broker import RedisWorkerSide

    return RedisWorkerSide(url, queue=queue, name=name, limits=limits)


def open_dead_letters(url: str, *, queue: str, limits: BrokerLimits | None = None) -> DeadLetters:
    """Open the dead letters of a queue on the broker at `url`."""
    limits = limits or BrokerLimits()
    scheme = _scheme_of(url)
    if scheme == "local":
        from scalelab.serve.local.letters import LocalDeadLetters

        return LocalDeadLetters(url, queue=queue)
    if scheme in _RABBIT:
        from scalelab.serve.rabbit_letters import RabbitDeadLetters

        return RabbitDeadLetters(url, queue=queue, limits=limits)
    from scalelab.serve.redis_letters import RedisDeadLetters

    return RedisDeadLetters(url, queue=queue, limits=limits)


def reach(url: str) -> None:
    """Make sure that the broker at `url` answers.

    Raises:
        ConfigError: nobody answers, it wants another password, or it is of another kind.
        MissingDependency: its client is not installed.
    """
    scheme = _scheme_of(url)
    if scheme in _REDIS:
        from scalelab.serve.redis_broker import connect

        connect(url).close()
    elif scheme in _RABBIT:
        from scalelab.serve import rabbit_link

        rabbit_link.reach(url)


def forget_worker(url: str, *, queue: str, name: str) -> None:
    """Tell the broker of a death that we saw; brokers on a connection that ended know it already."""
    if _scheme_of(url) in _REDIS:
        from scalelab.serve import redis_broker

        with closing(redis_broker.connect(url)) as client:
            redis_broker.forget_worker(client, redis_broker.key_prefix(queue), name)


def _scheme_of(url: str) -> str:
    """Return the scheme of a broker that runs; the supervisor put its URL in the place of `LOCAL`."""
    check_url(url)
    assert "://" in url, f"{url} names a broker that is yet to be started"
    return urlsplit(url).scheme
