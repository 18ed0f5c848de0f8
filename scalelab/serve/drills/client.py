"""Requests that are followed to their answers, whatever happens to the service meanwhile.

Every request has an idempotency key, and is sent again with it while the service refuses or cannot be
reached: a client that keeps to this may never lose a request, and never be answered twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SENDERS, _FOLLOWERS = 32, 64
_AGAIN_S = 0.05
_TIMEOUT_S = 15.0
_WAIT_S = 2


class Unreachable(Exception):
    """The connection could not be opened, or broke."""


@dataclass
class Request:
    """One request and what became of it; times on the monotonic clock."""

    number: int
    payload: bytes
    key: str
    task_id: str = ""
    """empty until it was accepted"""
    accepted_s: float = 0.0
    status: str = ""
    """of the answer; empty until there is one, ``lost`` if the service does not know the task any more"""
    answered_s: float = 0.0
    refusals: int = 0
    """how often it was refused or could not be sent"""
    is_answered_twice: bool = False
    """the same key led to another task, or to another answer"""
    answer: Any = None


class Connection:
    """One HTTP/1.1 connection that is opened again when it breaks."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, target: str, body: bytes = b"", key: str = "") -> tuple[int, Any]:
        """Return status and JSON document.

        Raises:
            Unreachable: the connection failed, or what came back is no HTTP with JSON.
        """
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/octet-stream\r\n" if body else ""
        head += f"Idempotency-Key: {key}\r\n" if key else ""
        try:
            return await asyncio.wait_for(self._exchange(head.encode() + b"\r\n" + body), _TIMEOUT_S)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError, asyncio.LimitOverrunError) as error:
            self.close()
            raise Unreachable(str(error)) from None

    async def _exchange(self, message: bytes) -> tuple[int, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return int(head.split(" ", 2)[1]), json.loads(body)

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def send_all(url: str, path: str, requests: Sequence[Request], *, rate: float, limit_s: float) -> None:
    """Send requests at `rate` a second and follow each to its answer; what became of them stands in them.

    Then each is sent once more with its key: the answer must be the one that stands.

    Args:
        path: of the collection, ``/v1/pins``.
        limit_s: after the last was to be sent; what has no answer then stays without one.
    """
    began_s = time.monotonic()
    until_s = began_s + len(requests) / rate + limit_s
    to_send: asyncio.Queue[Request | None] = asyncio.Queue()
    to_follow: asyncio.Queue[Request | None] = asyncio.Queue()
    senders = [asyncio.create_task(_send(url, path, to_send, to_follow, until_s)) for _ in range(_SENDERS)]
    followers = [asyncio.create_task(_follow(url, path, to_follow, until_s)) for _ in range(_FOLLOWERS)]
    for number, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        to_send.put_nowait(request)
    for queue, tasks in ((to_send, senders), (to_follow, followers)):
        for _ in tasks:
            queue.put_nowait(None)
        await asyncio.gather(*tasks)
    repeats: asyncio.Queue[Request | None] = asyncio.Queue()
    for one in [*[request for request in requests if request.status], *[None] * _SENDERS]:
        repeats.put_nowait(one)
    await asyncio.gather(*[_repeat(url, path, repeats) for _ in range(_SENDERS)])


async def _send(url: str, path: str, queue: Any, followed: Any, until_s: float) -> None:
    connection = Connection(url)
    while (request := await queue.get()) is not None:
        while time.monotonic() < until_s:
            try:
                status, said = await connection.request("POST", path, request.payload, request.key)
            except Unreachable:
                status, said = 0, {}
            if status in (200, 202):
                request.task_id, request.accepted_s = said["task_id"], time.monotonic()
                followed.put_nowait(request)
                break
            request.refusals += 1
            await asyncio.sleep(_AGAIN_S)
    connection.close()


async def _follow(url: str, path: str, queue: Any, until_s: float) -> None:
    connection = Connection(url)
    while (request := await queue.get()) is not None:
        while time.monotonic() < until_s:
            try:
                status, said = await connection.request("GET", f"{path}/{request.task_id}?wait_s={_WAIT_S}")
            except Unreachable:
                status, said = 0, {}
            if status == 404:
                request.status = "lost"
                break
            if status and said.get("status", "queued") in ("done", "failed", "expired", "cancelled"):
                request.status, request.answer = said["status"], said
                request.answered_s = time.monotonic()
                break
            if status != 200:
                await asyncio.sleep(_AGAIN_S)
    connection.close()


async def _repeat(url: str, path: str, queue: Any) -> None:
    connection = Connection(url)
    while (request := await queue.get()) is not None:
        try:
            _, said = await connection.request("POST", path, request.payload, request.key)
            _, again = await connection.request("GET", f"{path}/{said.get('task_id')}")
        except Unreachable:
            continue
        is_other = request.answer is not None and again != request.answer
        request.is_answered_twice = said.get("task_id") != request.task_id or is_other
    connection.close()
