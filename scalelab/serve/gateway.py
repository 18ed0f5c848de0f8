"""The gateway: takes requests, queues tasks, answers when a worker has. It never runs the model.

Here is what it knows and decides; `wire` and `routes` bring the requests: a POST that is as it should be is
served by the first, without ASGI, everything else of the tasks by the second, the rest by `face`.
``python -m scalelab.serve.gateway SETTINGS PORT`` is what the stack starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalelab import __version__
from scalelab.serve.broker import BrokerAway, GatewaySide, Placed, Put
from scalelab.serve.contract import load_contract
from scalelab.serve.guard import Guard, open_guard
from scalelab.serve.metrics import METRICS_FOLDER, GatewayMetrics
from scalelab.serve.options import parse_key, read_options
from scalelab.serve.overload import Overload
from scalelab.serve.pending import Alarms, SharedCall, Waiters
from scalelab.serve.protocol import (
    CANCELLED,
    DONE,
    EXPIRED,
    NORMAL,
    Problem,
    Task,
    is_task_id,
    new_task_ids,
    status_of,
)
from scalelab.serve.settings import StackSettings

log = logging.getLogger("scalelab.gateway")

LOOK_AGAIN_S = 1.0
"""a waiting request looks itself after this time: its task may belong to another gateway"""
_CLOSE_S = 3.0
"""a broker that hangs may not keep a gateway from ending"""
_HTTP_STATUS = {DONE.encode(): 200, EXPIRED.encode(): 504, CANCELLED.encode(): 409}


class Gateway:
    """What a gateway knows: its broker, who waits for what, how fast the queue empties."""

    def __init__(
        self,
        broker: GatewaySide,
        settings: StackSettings,
        *,
        name: str,
        guard: Guard | None = None,
        metrics_folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.broker, self.settings, self.name = broker, settings, name
        self.contract = load_contract(settings.contract)
        self.guard = guard or Guard()
        self.metrics = GatewayMetrics()
        self._metrics_folder = metrics_folder
        """where the workers of the same stack count"""
        self._new_ids = new_task_ids()
        self.waiters, self.alarms = Waiters(), Alarms()
        self.draining = asyncio.Event()
        """set when the process was asked to end: streams say goodbye"""
        self._clock = clock
        self._overload = Overload(settings.limits.max_depth, clock=clock)
        self._put = SharedCall(self._put_all, is_immediate=broker.is_immediate)
        self._look_up = SharedCall(broker.look_up)
        self._listening: asyncio.Task[None] | None = None
        self._below = (self.contract.path + "/").encode()

    async def start(self) -> None:
        """Begin to listen for answers; called inside the event loop."""
        self.contract.prepare()
        gc.collect()
        gc.freeze()  # what was imported stays: it need not be looked through again and again
        await self.broker.start()
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def stop(self) -> None:
        """Stop to listen and let go of the broker."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=_CLOSE_S)
        with contextlib.suppress(asyncio.TimeoutError, BrokerAway):
            await asyncio.wait_for(self.broker.close(), _CLOSE_S)

    async def stats(self) -> dict[str, Any]:
        """Return counters since the start of this gateway, and the state of the queue now."""
        health = await self.broker.health()
        rate = {"drain_rate_per_s": round(self._overload.rate.per_second, 1), "waiting": len(self.waiters)}
        return {**self.metrics.counts(), **vars(health), **rate}

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return text and content type for Prometheus: what this gateway and its workers counted."""
        from scalelab.serve.scrape import render_gateway

        self.metrics.waiting(len(self.waiters))
        try:
            health = await self.broker.health()
        except BrokerAway:  # the scrape tells of it and does not fail
            health = None
        facts = {"version": __version__, "contract": self.settings.contract}
        return render_gateway(self.metrics, health, folder=self._metrics_folder, facts=facts, accept=accept)

    def admit(self, query: bytes, head: Mapping[bytes, bytes], body: bytes) -> tuple[Put, float]:
        """Make a task of a request; return it and how long the client waits [s].

        Raises:
            Problem: what was asked for, the key or the body is not as it should be; 429 if the answer would
                come later than the client waits, or after the task's deadline.
        """
        options = read_options(query, head)
        payload = self.contract.parse(head.get(b"content-type", b"").decode("latin-1"), body)
        key = parse_key(head.get(b"idempotency-key"))
        digest = hashlib.blake2b(payload, digest_size=8).hexdigest() if key else ""
        deadline_s = options.deadline_s or self.settings.deadline_s
        task = Task(next(self._new_ids), payload, self.name, deadline_s, options.priority)
        if not key and options.priority >= NORMAL:
            self._overload.check_delay(min(options.wait_s or deadline_s, deadline_s))
        return Put(task, key, digest), options.wait_s

    def queue(self, put: Put, then: Callable[[Placed | Exception], None]) -> None:
        """Queue a task; `then` gets what `judge` wants to see."""
        if not put.key and self._overload.is_full():
            then(Placed(""))
        else:
            self._put.send(put, then)

    def judge(self, put: Put, placed: Placed | Exception) -> str:
        """Return the id of the task that stands for this request.

        Raises:
            Problem: 503 without a broker, 429 if the queue is full, 422 if the key was used for another body.
        """
        if isinstance(placed, BrokerAway):
            raise broker_away(placed) from None
        if isinstance(placed, Exception):
            raise mistake(placed) from None
        if placed.task_id == put.task.task_id:
            self.metrics.accepted()
        elif not placed.task_id:
            raise self._overload.full()
        elif placed.digest != put.digest:
            raise Problem(
                422,
                f"Idempotency-Key {put.key!r} was used for another body, by task {placed.task_id}",
                hint=f"use a new key for a new {self.contract.item}",
            )
        else:
            self.metrics.repeated()
        return placed.task_id

    def refuse(self, problem: Problem) -> None:
        """Count a request that was refused."""
        self.metrics.reject(problem.status)

    def location(self, task_id: str) -> bytes:
        """Return the path of a task."""
        return self._below + task_id.encode()

    async def look_up(self, task_id: str) -> bytes:
        """Return the answer to a task; nothing if there is none yet.

        Raises:
            Problem: 404 for an unknown task, 503 without a broker.
        """
        return self._known(task_id, await self._look_up_one(task_id) if is_task_id(task_id) else None)

    async def await_answer(self, task_id: str, wait_s: float) -> bytes:
        """Return the answer as soon as it is there, or nothing when the time is over.

        It looks first, since the answer may have come already, and then now and then, since it may go to
        another gateway.

        Raises:
            Problem: as `look_up`.
        """
        until_s = self._clock() + wait_s
        while True:
            with self.waiters.listening(task_id) as wait:
                answer = await self.look_up(task_id)
                left_s = until_s - self._clock()
                if answer or left_s <= 0:
                    return answer
                answer = await wait(min(left_s, LOOK_AGAIN_S))
            if answer:
                return answer

    async def cancel(self, task_id: str) -> bytes:
        """Cancel a task that has no answer; return the answer that stands afterwards.

        Raises:
            Problem: as `look_up`.
        """
        try:
            stands = await self.broker.cancel(task_id) if is_task_id(task_id) else None
        except BrokerAway as error:
            raise broker_away(error) from None
        answer = self._known(task_id, stands)
        self.metrics.cancelled(http_status_of(answer) == 409)
        self.waiters.announce(task_id, answer)
        return answer

    def _known(self, task_id: str, answer: bytes | None) -> bytes:
        if answer is None:
            raise Problem(
                404,
                f"there is no task {task_id[:64]!r}",
                hint=f"kept for {self.settings.limits.result_ttl_s:g} s; POST {self.contract.path} makes one",
            )
        return answer

    async def _look_up_one(self, task_id: str) -> bytes | None:
        try:
            return await self._look_up(task_id)
        except BrokerAway as error:
            raise broker_away(error) from None

    async def _put_all(self, puts: list[Put]) -> Sequence[Placed]:
        report = await self.broker.put(puts)
        self._overload.note(report)
        return report.placed

    async def _listen(self) -> None:
        while True:
            try:
                answers = await self.broker.next_answers()
            except BrokerAway as error:
                log.warning("no answers are heard: %s", error)
                await asyncio.sleep(0.2)
                continue
            self._overload.answered(len(answers))
            for task_id, answer in answers:
                self.metrics.heard(answer)
                self.waiters.announce(task_id, answer)


def http_status_of(answer: bytes) -> int:
    """Return what a request that waited is told: clients and load generators count by this number."""
    return _HTTP_STATUS.get(status_of(answer), 500)


def mistake(error: Exception) -> Problem:
    """Return what a client is told of an error that is ours, and log it."""
    log.error("a request could not be served", exc_info=error)
    return Problem(500, "the gateway made a mistake", hint="its log says more")


def broker_away(error: BrokerAway) -> Problem:
    """Return what a client is told while the broker does not answer."""
    return Problem(503, error.message, hint="try again in a second", headers={"retry-after": "1"})


def main() -> None:
    """Run a gateway until SIGTERM; requests under way are answered first."""
    import sys

    from scalelab.serve.broker import open_gateway_side
    from scalelab.serve.server import serve_gateway
    from scalelab.serve.settings import broker_url

    file, port = Path(sys.argv[1]), int(sys.argv[2])
    settings = StackSettings.read(file)
    name = os.urandom(6).hex()  # new at each start: answers for a gateway that died are not for this one
    broker = open_gateway_side(broker_url(), queue=settings.queue, name=name, limits=settings.limits)
    guard = open_guard(settings.api_key_file, settings.rate_limit)
    gateway = Gateway(broker, settings, name=name, guard=guard, metrics_folder=file.parent / METRICS_FOLDER)
    serve_gateway(gateway, settings.host, port)


if __name__ == "__main__":
    from scalelab.serve.child import run_child

    run_child(main)
