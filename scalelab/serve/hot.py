"""The one request that comes by the thousand: a POST that waits for its answer, as callbacks.

No coroutine, no scope, no queue of messages between server and application: see `wire` for who gets here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalelab.serve.broker import Placed, Put
from scalelab.serve.gateway import LOOK_AGAIN_S, http_status_of, mistake
from scalelab.serve.protocol import Problem, queued_answer
from scalelab.serve.routes import Reply, render, reply_to

if TYPE_CHECKING:
    from scalelab.serve.wire import Wire


class _NobodyWaits:
    """Stands where uvicorn wakes a coroutine that waits for a body: nobody does here."""

    def set(self) -> None:
        """Do nothing."""


class HotRequest:
    """A POST on its way through the gateway; to uvicorn's protocol it is the cycle of a request."""

    message_event = _NobodyWaits()
    response_started = False
    """written in one piece, or not at all"""

    def __init__(self, wire: Wire, query: bytes, head: dict[bytes, bytes], keep_alive: bool):
        self._wire, self._gateway, self._query, self._head = wire, wire.gateway, query, head
        self._body: list[bytes] = []
        self._alarm = 0
        self._put: Put | None = None
        self._stands = ""
        self.keep_alive, self.disconnected, self.response_complete = keep_alive, False, False

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body; its length was announced and is within the limit."""
        self._body.append(piece)

    def run(self) -> None:
        """Queue the task: the body is whole."""
        body = self._body
        try:
            put, wait_s = self._gateway.admit(
                self._query, self._head, body[0] if len(body) == 1 else b"".join(body)
            )
        except Problem as problem:
            self._refuse(problem)
            return
        except Exception as error:  # to the parser that called us it would look like bad HTTP
            self._refuse(mistake(error))
            return
        self._put, self._stands = put, put.task.task_id
        if wait_s:
            self._asked_s = self._wire.loop.time()
            self._until_s = self._asked_s + wait_s
            self._alarm = self._gateway.alarms.set(self, min(wait_s, LOOK_AGAIN_S), self._look_again)
            self._gateway.waiters.call(put.task.task_id, self._answered)
        self._gateway.queue(put, self._placed)

    def abandon(self) -> None:
        """Let go: the client is gone. Its task was accepted or is about to be, and stays."""
        self.disconnected = True
        self._release()

    def _placed(self, placed: Placed | Exception) -> None:
        assert self._put is not None
        try:
            stands = self._gateway.judge(self._put, placed)
        except Problem as problem:
            self._refuse(problem)
            return
        if not self._alarm:
            self._reply(202, stands, queued_answer(stands))
        elif stands != self._put.task.task_id:  # the key named an older task, which may have its answer
            self._release()
            self._stands = stands
            self._look_again()

    def _answered(self, answer: bytes) -> None:
        assert self._put is not None
        self._gateway.metrics.waited(self._wire.loop.time() - self._asked_s)
        self._reply(http_status_of(answer), self._put.task.task_id, answer)

    def _look_again(self) -> None:
        if not (self.disconnected or self.response_complete):
            assert self._put is not None
            self._gateway.waiters.forget(self._put.task.task_id, self._answered)  # that waits for itself
            self._wire.spawn(self._await_answer(self._stands))

    async def _await_answer(self, task_id: str) -> None:
        try:
            answer = await self._gateway.await_answer(task_id, self._until_s - self._wire.loop.time())
        except Problem as problem:
            self._refuse(problem)
            return
        if answer:
            self._gateway.metrics.waited(self._wire.loop.time() - self._asked_s)
        status = http_status_of(answer) if answer else 202
        self._reply(status, task_id, answer or queued_answer(task_id))

    def _reply(self, status: int, task_id: str, answer: bytes) -> None:
        if self.disconnected or self.response_complete:
            return
        headers, body = render(answer, self._head)
        headers.append((b"location", self._gateway.location(task_id)))
        self._write((status, headers, body))

    def _refuse(self, problem: Problem) -> None:
        self._gateway.refuse(problem)
        if not (self.disconnected or self.response_complete):
            self._write(reply_to(problem))

    def _write(self, reply: Reply) -> None:
        self._release()
        self.response_complete = True
        self._wire.write(reply, keep_alive=self.keep_alive)
        self._wire.on_response_complete()

    def _release(self) -> None:
        if self._alarm and self._put is not None:
            self._gateway.alarms.cancel(self, self._alarm)
            self._gateway.waiters.forget(self._put.task.task_id, self._answered)
