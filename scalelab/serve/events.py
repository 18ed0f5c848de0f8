"""Server-sent events: the status of a task as it changes, until its answer.

Each event is named by the status and holds what GET would answer; comments keep the connection alive. The
last event carries the task's id: a browser that comes back with it is told to stop (204).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from scalelab.serve.gateway import Gateway
from scalelab.serve.protocol import Problem, queued_answer, status_of

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy in front must not keep events back
]
_AGAIN_S = 1.0
_BYE = b": nothing more comes here, ask again\n\n"


async def send_events(
    gateway: Gateway,
    task_id: str,
    head: Mapping[bytes, bytes],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    """Serve the events of a task until its answer, until the client goes away or until the gateway ends.

    Raises:
        Problem: 404 for an unknown task, 503 without a broker; before anything was sent.
    """
    if head.get(b"last-event-id") == task_id.encode():
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    answer = await gateway.look_up(task_id)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})

    async def say(text: bytes, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": text, "more_body": more})

    if not answer:
        await say(b"retry: 1000\n" + _event(queued_answer(task_id)))
        gone = asyncio.ensure_future(_until_gone(receive))
        ends = asyncio.ensure_future(gateway.draining.wait())
        try:
            answer = await _until_answer(gateway, task_id, gone, ends, say)
        finally:
            gone.cancel()
            ends.cancel()
    await say(b"id: %b\n%b" % (task_id.encode(), _event(answer)) if answer else _BYE, more=False)


async def _until_answer(
    gateway: Gateway,
    task_id: str,
    gone: asyncio.Future[None],
    ends: asyncio.Future[Any],
    say: Callable[[bytes], Awaitable[None]],
) -> bytes:
    """Return the answer; nothing if there is nobody or no time left to hear it."""
    while not (gone.done() or ends.done()):
        answered = asyncio.ensure_future(gateway.await_answer(task_id, gateway.settings.heartbeat_s))
        try:
            await asyncio.wait({answered, gone, ends}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done() and (answer := answered.result()):
                return answer
        except Problem as problem:
            if problem.status == 404:  # its time to live is over: who comes back is told so
                return b""
            await asyncio.wait({gone, ends}, timeout=_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
        if not (gone.done() or ends.done()):
            await say(b": still queued\n\n")
    return b""


async def _until_gone(receive: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(answer: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (status_of(answer), answer)
