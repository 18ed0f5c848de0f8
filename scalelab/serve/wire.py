"""HTTP below ASGI: the limits of every connection, and a short way for what comes by the thousand.

A POST of a task that is as it should be (HTTP/1.1, a length within the limit, not pipelined, nobody to be
refused) becomes a `HotRequest`. Everything else goes to uvicorn's own protocol and from there to `routes`,
which serves the same POST too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from scalelab.serve.connections import Connections
from scalelab.serve.gateway import Gateway
from scalelab.serve.hot import HotRequest
from scalelab.serve.protocol import Problem
from scalelab.serve.routes import Reply, reply_to

MAX_HEAD_BYTES = 16 * 1024
_LINGER_S = 2.0


class Wire(HttpToolsProtocol):
    """One connection of a gateway; `bound` makes the class that a server uses."""

    gateway: ClassVar[Gateway]
    others: ClassVar[Connections]
    path: ClassVar[bytes]
    asking: ClassVar[set[asyncio.Task[None]]]
    """hot requests that became coroutines; kept here, or the garbage collector may take them"""

    @classmethod
    def bound(cls, gateway: Gateway, connections: Connections) -> type[Wire]:
        """Return this protocol for a gateway."""
        path = gateway.contract.path.encode()
        return type(
            "Wire", (cls,), {"gateway": gateway, "others": connections, "path": path, "asking": set()}
        )

    # a connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; without room, the longest idle one goes, or else this one."""
        super().connection_made(transport)
        self._is_sending = self._is_in_head = self._lingers = False
        self._head_bytes = 0
        self._address = (self.client or ("", 0))[0]
        if len(self.connections) > self.others.limit and not self.others.make_room():
            full = Problem(503, "every connection is in use", hint="try again", headers={"retry-after": "1"})
            self.gateway.refuse(full)
            self.write(reply_to(full), keep_alive=False)
        else:
            self.others.note_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection and of the request that waited on it."""
        self.others.forget(self)
        if isinstance(self.cycle, HotRequest):
            self.cycle.abandon()
        super().connection_lost(exc)

    def close(self) -> None:
        """End the connection; what was written is sent before."""
        self.transport.close()

    def expire(self) -> None:
        """End the connection, since it took too long; 408 if it is sending a request."""
        if self._is_sending and self.flow.read_paused:  # it is we who do not read on
            self.others.note_sending(self)
        elif self._is_sending and not self._is_in_turn():
            self.close()
        elif self._is_sending:
            limit_s = self.gateway.settings.upload_timeout_s
            self._refuse(
                Problem(408, f"the request was not whole after {limit_s:g} s", hint="send it faster")
            )
        else:
            self.close()

    # what comes

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._lingers:
            return
        self.others.note_active(self)
        super().data_received(data)
        if self._is_sending and not self._lingers:
            self.others.note_sending(self)
            self._head_bytes += len(data)
            if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    def on_message_begin(self) -> None:
        """Begin a request; uvicorn's scope is made when it is known to be needed."""
        self._is_sending = self._is_in_head = True
        self._head_bytes = 0
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Choose the way of this request."""
        self._is_in_head = False
        if hot := self._hot_request():
            self.cycle = hot
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        if len(url) + sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if isinstance(self.cycle, HotRequest):
            self.cycle.feed(body)
        elif not self._lingers:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Serve a request that is whole."""
        self._is_sending = False
        self.others.note_sent(self)
        if self._lingers:
            return
        if isinstance(self.cycle, HotRequest):
            self.cycle.run()
        elif self.cycle.response_complete:  # answered before it was whole
            self.others.note_idle(self)
        else:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; called by uvicorn."""
        problem = Problem(400, "this is not HTTP/1.1 as it should be", hint="see /docs for requests that are")
        if self._is_in_turn():
            self._refuse(problem)
        else:  # behind a request that is being served: that one is answered, then the connection ends
            self._lingers, self.cycle.keep_alive = True, False

    def _hot_request(self) -> HotRequest | None:
        path, _, query = self.url.partition(b"?")
        parser, gateway = self.parser, self.gateway
        if (
            path != self.path
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.expect_100_continue
            or self._is_in_service()
            or self.flow.write_paused
        ):
            return None
        head = dict(self.headers)
        length = head.get(b"content-length", b"")
        if (
            not length.isdigit()
            or int(length) > gateway.settings.max_body_bytes
            or b"transfer-encoding" in head
        ):
            return None
        if not gateway.guard.is_open:
            try:
                gateway.guard.check(head, self._address)
            except Problem:
                return None  # `routes` finds the same and says so
        return HotRequest(self, query, head, parser.should_keep_alive())

    # what goes

    def write(self, reply: Reply, *, keep_alive: bool) -> None:
        """Write a whole response."""
        status, headers, body = reply
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        self.transport.write(b"".join(parts))
        if not keep_alive:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request, if it is here already."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._is_sending:
            self.others.note_idle(self)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a hot request go on as a coroutine."""
        task = self.loop.create_task(work)
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    def _is_in_service(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_in_turn(self) -> bool:
        """Tell whether a response that is written now answers the request that is being sent."""
        if self._is_in_head or not self._is_sending:
            return not self._is_in_service()
        return self._is_in_service() and not (self.pipeline or self.cycle.response_started)

    def _refuse_head(self) -> None:
        if not self._is_in_service():
            hint = f"send at most {MAX_HEAD_BYTES} bytes of address and headers"
            self._refuse(
                Problem(431, f"the head of the request has {self._head_bytes} bytes or more", hint=hint)
            )
        else:
            self.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer and end the connection; read on for a moment, or the client may lose the answer (RST)."""
        self.gateway.refuse(problem)
        status, headers, body = reply_to(problem)
        self.write((status, [*headers, (b"connection", b"close")], body), keep_alive=True)
        self._lingers = True
        self.others.forget(self)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.close)
