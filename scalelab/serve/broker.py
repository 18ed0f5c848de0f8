"""What the service asks of a broker, and the choice of one by its URL.

Each broker gives two sides: an asynchronous one for the gateway, a plain one for the worker. The laws, which
one contract test checks on every broker:

- a task that `put` accepted is taken until an answer is stored (at least once);
- an answer is stored, announced and acknowledged in one step, and only the first answer counts (at most one);
- what a dead worker held is taken again, each task alone; after `max_attempts` it is a dead letter;
- the queue has a limit; a key that was used names the first task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.serve.protocol import Task

SCHEMES = ("redis", "rediss", "unix")


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


@dataclass(frozen=True)
class Put:
    """A task to be queued; with a `key`, only if that key was not used."""

    task: Task
    key: str = ""
    digest: str = ""
    """of the image: one key with two images is a mistake of the caller"""


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Delivery:
    """A task in a worker's hands."""

    task: Task
    receipt: str
    """what the broker calls this delivery"""
    attempt: int
    """1 for the first delivery"""
    is_expired: bool


@dataclass(frozen=True)
class Answer:
    """The final answer to a delivery."""

    delivery: Delivery
    body: bytes
    dead_letter: str = ""
    """if not empty: keep the task aside for people, with this reason"""


class GatewaySide(Protocol):
    """A broker as the gateway sees it."""

    async def put(self, puts: Sequence[Put]) -> PutReport:
        """Queue tasks in one round trip."""

    async def look_up(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""

    async def next_answers(self) -> list[tuple[str, bytes]]:
        """Wait a moment for answers to this gateway's tasks; may return none."""

    async def health(self) -> Health:
        """Return the state of the queue."""

    async def close(self) -> None:
        """Let go of the connections."""


class WorkerSide(Protocol):
    """A broker as a worker sees it."""

    def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return what is queued, up to `max_tasks`; wait up to `wait_s` for the first."""

    def take_over(self) -> list[Delivery]:
        """Return at most one task that a dead worker held; those with too many attempts are buried."""

    def finish(self, answers: Sequence[Answer]) -> int:
        """Store, announce and acknowledge answers; return how many were the first for their task."""

    def beat(self) -> None:
        """Say that this worker lives."""

    def leave(self) -> None:
        """Say that this worker ends in order."""


def check_url(url: str) -> None:
    """Make sure that a broker of this URL exists.

    Raises:
        ConfigError: the scheme is unknown; the hint names those we know.
    """
    try:
        parts = urlsplit(url)
        is_known = parts.scheme in SCHEMES and (parts.port or 1) > 0 and url.partition("://")[2] != ""
    except ValueError:  # a port that is no number from 0 to 65535, half an IPv6 address
        is_known = False
    if not is_known:
        raise ConfigError(
            f"{shown_url(url)!r} is no broker URL",
            hint="give redis://HOST:PORT/0 (Redis, Valkey), rediss:// for TLS, unix:///PATH, or no --broker",
        )


def shown_url(url: str) -> str:
    """Return a URL without its password, fit for a screen or a log."""
    before, _, after = url.rpartition("@")
    scheme, _, credentials = before.partition("://")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}:***@{after}" if colon else url


def open_gateway_side(url: str, *, queue: str, name: str, limits: BrokerLimits) -> GatewaySide:
    """Open the gateway's side of the broker at `url`; `name` is this gateway's own."""
    check_url(url)
    from scalelab.serve.redis_gateway import RedisGatewaySide

    return RedisGatewaySide(url, queue=queue, name=name, limits=limits)


def open_worker_side(url: str, *, queue: str, name: str, limits: BrokerLimits) -> WorkerSide:
    """Open a worker's side of the broker at `url`; `name` is this worker's own."""
    check_url(url)
    from scalelab.serve.redis_broker import RedisWorkerSide

    return RedisWorkerSide(url, queue=queue, name=name, limits=limits)
