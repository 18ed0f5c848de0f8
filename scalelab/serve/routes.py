"""The tasks over ASGI: each request about them that `wire` does not serve; what is not theirs goes to `face`.

========  =======================  ==========================================================
POST      /v1/{noun}               queue a task; wait for its answer if asked to
GET       /v1/{noun}/{id}          the task as it stands
DELETE    /v1/{noun}/{id}          cancel it; the answer that stands afterwards
GET       /v1/{noun}/{id}/events   server-sent events until the answer
========  =======================  ==========================================================
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from scalelab.serve.broker import Placed
from scalelab.serve.contract import JSON, MSGPACK
from scalelab.serve.events import send_events
from scalelab.serve.gateway import LOOK_AGAIN_S, Gateway, http_status_of, mistake
from scalelab.serve.options import read_options
from scalelab.serve.protocol import Problem, check_length, queued_answer

Scope, Receive, Send = (
    dict[str, Any],
    Callable[[], Awaitable[dict[str, Any]]],
    Callable[[Any], Awaitable[None]],
)
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Reply = tuple[int, list[tuple[bytes, bytes]], bytes]
"""status, headers without a length, body"""

_EVENTS = "/events"
_DISCARD_S = 2.0
_PROBLEM_TYPE = (b"content-type", b"application/problem+json")
_JSON_TYPE, _MSGPACK_TYPE = (b"content-type", JSON.encode()), (b"content-type", MSGPACK.encode())


class TaskRoutes:
    """An ASGI application around a gateway."""

    def __init__(self, gateway: Gateway, face: App):
        self.gateway, self._face = gateway, face
        self._path = gateway.contract.path
        self._below = self._path + "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path != self._path and not path.startswith(self._below):
            await self._face(scope, receive, send)
            return
        reply: Reply | None
        try:
            reply = await self._serve(scope, receive, send, path)
        except Problem as problem:
            self.gateway.refuse(problem)
            reply = reply_to(problem)
        except Exception as error:
            if path.endswith(_EVENTS):  # its response has begun: the connection ends, as uvicorn does it
                raise
            reply = reply_to(mistake(error))
        if reply is not None:
            status, headers, body = reply
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
            await send({"type": "http.response.body", "body": body})

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str) -> Reply | None:
        head, query = dict(scope["headers"]), scope["query_string"]
        self.gateway.guard.check(head, address_of(scope))
        task_id = path[len(self._below) :]
        if path == self._path:
            self._check_method(scope, "POST")
            return await self._post(query, head, receive)
        if task_id.endswith(_EVENTS):
            self._check_method(scope, "GET")
            read_options(query, {}, ())
            await send_events(self.gateway, task_id[: -len(_EVENTS)], head, receive, send)
            return None
        if self._check_method(scope, "GET", "DELETE") == "DELETE":
            read_options(query, {}, ())
            return 200, *render(await self.gateway.cancel(task_id), head)
        wait_s = read_options(query, head, ("wait_s",)).wait_s
        answer = await self.gateway.await_answer(task_id, wait_s)
        return 200, *render(answer or queued_answer(task_id), head)

    async def _post(self, query: bytes, head: Mapping[bytes, bytes], receive: Receive) -> Reply:
        gateway = self.gateway
        body = await read_body(head, receive, gateway.settings.max_body_bytes)
        put, wait_s = gateway.admit(query, head, body)
        task_id = put.task.task_id
        placed: asyncio.Future[Placed | Exception] = asyncio.get_running_loop().create_future()
        answer, left_s = b"", wait_s
        with gateway.waiters.listening(task_id) as wait:
            gateway.queue(put, lambda reply: placed.done() or placed.set_result(reply))
            stands = gateway.judge(put, await placed)
            if wait_s and stands == task_id:  # else the key named an older task
                first_s = min(wait_s, LOOK_AGAIN_S)
                answer, left_s = await wait(first_s), wait_s - first_s
        if wait_s and not answer:
            answer = await gateway.await_answer(stands, left_s)
        headers, body = render(answer or queued_answer(stands), head)
        headers.append((b"location", gateway.location(stands)))
        return http_status_of(answer) if answer else 202, headers, body

    def _check_method(self, scope: Scope, *allowed: str) -> str:
        method: str = scope["method"]
        if method not in allowed:
            raise Problem(
                405,
                f"{method} {scope['path'][:80]} is not possible",
                hint=f"POST {self._path} queues a task, GET {self._below}{{task_id}} fetches its answer",
                headers={"allow": ", ".join(allowed)},
            )
        return method


def reply_to(problem: Problem) -> Reply:
    """Return a problem as a reply."""
    extra = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, [_PROBLEM_TYPE, *extra], problem.body()


def render(answer: bytes, head: Mapping[bytes, bytes]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return an answer as it goes out: JSON as the worker wrote it, msgpack if ``Accept`` names that."""
    if MSGPACK.encode() not in head.get(b"accept", b""):
        return [_JSON_TYPE], answer
    import msgpack

    return [_MSGPACK_TYPE], msgpack.packb(json.loads(answer))


async def read_body(head: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Read a request's body; stop as soon as it is over the limit.

    Raises:
        Problem: 413 from the announced length already, else from what has come.
    """
    announced = head.get(b"content-length", b"0")
    count, pieces, more = int(announced) if announced.isdigit() else 0, [], True
    if count <= limit:
        count = 0
    while more and count <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the client went away before its body was whole", hint="send it again")
        pieces.append(message.get("body", b""))
        count, more = count + len(pieces[-1]), message.get("more_body", False)
    if count > limit and more and b"expect" not in head:
        await _discard(receive)
    check_length(count, limit)
    return b"".join(pieces)


async def _discard(receive: Receive) -> None:
    """Read on for a moment: who is cut off while sending sees a broken connection instead of the answer."""

    async def to_the_end() -> None:
        while (await receive()).get("more_body"):
            pass

    try:
        await asyncio.wait_for(to_the_end(), _DISCARD_S)
    except asyncio.TimeoutError:
        return


def address_of(scope: Scope) -> str:
    """Return the client's address, without its port."""
    return (scope.get("client") or ("", 0))[0]
