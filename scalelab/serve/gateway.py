"""The gateway: takes requests, queues tasks, answers when a worker has. It never runs the model.

``POST /v1/pins`` and ``GET /v1/pins/{task_id}`` are plain ASGI, in front of the FastAPI application that
holds everything else (`face`): FastAPI's own layer would cost half of the throughput of a small model.
``python -m scalelab.serve.gateway SETTINGS PORT`` is what the stack starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scalelab.serve.broker import BrokerAway, GatewaySide, Placed, Put
from scalelab.serve.contract import load_contract
from scalelab.serve.pending import DrainRate, SharedCall, Waiters
from scalelab.serve.protocol import (
    Problem,
    Task,
    check_length,
    is_task_id,
    parse_key,
    parse_options,
    queued_answer,
)
from scalelab.serve.settings import StackSettings

log = logging.getLogger("scalelab.gateway")
Scope, Receive, Send = (
    dict[str, Any],
    Callable[[], Awaitable[dict[str, Any]]],
    Callable[[Any], Awaitable[None]],
)
Waiting = asyncio.Future["bytes | None"]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOK_AGAIN_S = 1.0
"""a waiting request looks itself after this time: its task may belong to another gateway"""
_CLOSE_S = 3.0
"""a broker that hangs may not keep a gateway from ending"""
_COUNTERS = ("accepted", "repeated", "answered", "failed", "rejected", "malformed")
_PROBLEM_TYPE = (b"content-type", b"application/problem+json")
_JSON_TYPE = (b"content-type", b"application/json")


class Gateway:
    """The hot path as an ASGI application; everything else goes to `face`."""

    def __init__(self, broker: GatewaySide, settings: StackSettings, *, name: str):
        self.broker, self._settings, self._name = broker, settings, name
        self.contract = load_contract(settings.contract)
        self._path = self.contract.path
        self._below = self._path + "/"
        self.face: App | None = None
        self.counts = dict.fromkeys(_COUNTERS, 0)
        self._rate = DrainRate()
        self._depth = 0
        self._put = SharedCall(self._put_all)
        self._look_up = SharedCall(broker.look_up)
        self._waiters = Waiters()
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen for answers; called inside the event loop."""
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
        rate = {"drain_rate_per_s": round(self._rate.per_second, 1), "waiting": len(self._waiters)}
        return {**self.counts, **vars(health), **rate}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path != self._path and not path.startswith(self._below):
            assert self.face is not None, "the gateway has no face yet"
            await self.face(scope, receive, send)
            return
        try:
            if path == self._path:
                self._check_method(scope, "POST")
                status, headers, body = await self._post(scope, receive)
            else:
                self._check_method(scope, "GET")
                status, headers, body = await self._get(scope, path[len(self._below) :])
        except Problem as problem:
            self.counts["rejected" if problem.status in (429, 503) else "malformed"] += 1
            status, body = problem.status, problem.body()
            extra = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
            headers = [_PROBLEM_TYPE, *extra]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _check_method(self, scope: Scope, allowed: str) -> None:
        if scope["method"] != allowed:
            raise Problem(
                405,
                f"{scope['method']} {scope['path'][:80]} is not possible",
                hint=f"POST {self._path} queues a task, GET {self._below}{{task_id}} fetches its result",
                headers={"allow": allowed},
            )

    async def _post(self, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        options = parse_options(scope["query_string"])
        sent = dict(scope["headers"])
        body = await read_body(sent, receive, self._settings.max_body_bytes)
        payload = self.contract.parse(sent.get(b"content-type", b"").decode("latin-1"), body)
        key = parse_key(sent.get(b"idempotency-key"))
        digest = hashlib.blake2b(payload, digest_size=8).hexdigest() if key else ""
        deadline_s = options.deadline_s or self._settings.deadline_s
        task = Task(os.urandom(16).hex(), payload, self._name, deadline_s)
        future = self._waiters.add(task.task_id) if options.wait_s else None
        try:
            placed = await self._place(Put(task, key, digest))
            self.counts["accepted" if placed.task_id == task.task_id else "repeated"] += 1
            answer = b""
            if options.wait_s:
                mine = future if placed.task_id == task.task_id else None  # else the key named an older task
                answer = await self._await_answer(placed.task_id, options.wait_s, mine)
        finally:
            if future is not None:
                self._waiters.drop(task.task_id, future)
        location = (b"location", self._below.encode() + placed.task_id.encode())
        if answer:
            return _status_of(answer), [_JSON_TYPE, location], answer
        return 202, [_JSON_TYPE, location], queued_answer(placed.task_id)

    async def _get(self, scope: Scope, task_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        options = parse_options(scope["query_string"], allowed=("wait_s",))
        future = self._waiters.add(task_id) if options.wait_s else None
        try:
            answer = await self._look_up_one(task_id) if is_task_id(task_id) else None
            if answer is None:
                raise Problem(
                    404,
                    f"there is no task {task_id[:64]!r}",
                    hint=f"kept for {self._settings.limits.result_ttl_s:g} s; POST {self._path} makes a task",
                )
            if not answer and future is not None:
                answer = await self._await_answer(task_id, options.wait_s, future)
        finally:
            if future is not None:
                self._waiters.drop(task_id, future)
        return 200, [_JSON_TYPE], answer or queued_answer(task_id)

    async def _place(self, put: Put) -> Placed:
        try:
            placed = await self._put(put)
        except BrokerAway as error:
            raise _broker_away(error) from None
        if not placed.task_id:
            wait_s = self._rate.retry_after_s(self._depth)
            raise Problem(
                429,
                f"{self._depth} tasks are queued, the limit is {self._settings.limits.max_depth}",
                hint=f"try again in {wait_s} s; {self._rate.per_second:.0f} tasks are answered a second",
                headers={"retry-after": str(wait_s)},
            )
        if placed.digest != put.digest:
            raise Problem(
                422,
                f"Idempotency-Key {put.key!r} was used for another body, by task {placed.task_id}",
                hint=f"use a new key for a new {self.contract.item}",
            )
        return placed

    async def _await_answer(self, task_id: str, wait_s: float, future: Waiting | None) -> bytes:
        """Return the answer as soon as it is there, or nothing when the time is over.

        A `future` that was added before the task was queued hears of the answer. Without one the answer may
        have come already: then look first. And look again now and then: it may go to another gateway.
        """
        until_s = time.monotonic() + wait_s
        answer: bytes | None = b""
        while True:
            is_new = future is None
            future = future or self._waiters.add(task_id)
            left_s = until_s - time.monotonic()
            try:
                answer = await self._look_up_one(task_id) if is_new else b""
                if not answer and left_s > 0:
                    answer = await self._waiters.wait(future, min(left_s, _LOOK_AGAIN_S))
            finally:
                self._waiters.drop(task_id, future)
            if answer or left_s <= 0:
                return answer or b""
            future = None

    async def _look_up_one(self, task_id: str) -> bytes | None:
        try:
            return await self._look_up(task_id)
        except BrokerAway as error:
            raise _broker_away(error) from None

    async def _put_all(self, puts: list[Put]) -> Sequence[Placed]:
        report = await self.broker.put(puts)
        self._depth = report.depth
        self._rate.note(report.finished)
        return report.placed

    async def _listen(self) -> None:
        while True:
            try:
                answers = await self.broker.next_answers()
            except BrokerAway as error:
                log.warning("no answers are heard: %s", error)
                await asyncio.sleep(0.2)
                continue
            for task_id, answer in answers:
                self.counts["answered"] += 1
                self.counts["failed"] += _status_of(answer) != 200
                self._waiters.announce(task_id, answer)


async def read_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Read a request's body; stop as soon as it is over the limit.

    Raises:
        Problem: 413 from the announced length already, else from what has come.
    """
    announced = headers.get(b"content-length", b"0")
    check_length(int(announced) if announced.isdigit() else 0, limit)
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        check_length(len(body), limit)
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Problem(400, "the client went away before its body was whole", hint="send it again")
    check_length(len(body), limit)
    return body


def _status_of(answer: bytes) -> int:
    """Return what a request that waited is told: clients and load generators count by this number."""
    head = answer[:80]  # written by `protocol.answer`: the id, then the status
    return 200 if b'"status":"done"' in head else 504 if b'"status":"expired"' in head else 500


def _broker_away(error: BrokerAway) -> Problem:
    return Problem(503, error.message, hint="try again in a second", headers={"retry-after": "1"})


def main() -> None:
    """Run a gateway until SIGTERM; requests under way are answered first."""
    import sys
    from pathlib import Path

    from scalelab.serve.broker import open_gateway_side
    from scalelab.serve.face import build_face, serve_app
    from scalelab.serve.settings import broker_url

    settings, port = StackSettings.read(Path(sys.argv[1])), int(sys.argv[2])
    name = os.urandom(6).hex()  # new at each start: answers for a gateway that died are not for this one
    broker = open_gateway_side(broker_url(), queue=settings.queue, name=name, limits=settings.limits)
    gateway = Gateway(broker, settings, name=name)
    gateway.face = build_face(gateway)
    serve_app(gateway, settings.host, port)


if __name__ == "__main__":
    from scalelab.serve.child import run_child

    run_child(main)
