"""A server to practise load tests on: one request at a time, and it stalls when it was told to.

It computes nothing, so what a load test says of it can be compared with what was put in.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType


class PracticeServer:
    """Answers HTTP requests in the order in which they come, from a thread of this process.

    ``with PracticeServer(0.002, stalls=[(1.5, 2.5)]) as server: ...`` A request that finds the server busy or
    stalled waits; the next one is begun when it was answered. All times are seconds from the first request.

    Args:
        service_s: how long one request takes by itself [s].
        stalls: ``(begin, end)`` [s]: between them nothing is begun or answered.
        hold: ``(number, until, limit_s)``: from request `number` on (they count from 0) nobody is answered
            before request `until` came too, or `limit_s` have passed. A load test that waits for answers
            runs into the limit, whatever the machine's speed.
        silent: numbers of the requests that never get an answer.
        broken: numbers of the requests that are answered 500.
    """

    def __init__(
        self,
        service_s: float = 0.0,
        *,
        stalls: Sequence[tuple[float, float]] = (),
        hold: tuple[int, int, float] | None = None,
        silent: Collection[int] = (),
        broken: Collection[int] = (),
    ):
        self.service_s, self.stalls, self.hold = service_s, sorted(stalls), hold
        self.silent, self.broken = frozenset(silent), frozenset(broken)
        self.arrived_s: list[float] = []
        """when each request came"""
        self.answered_s: dict[int, float] = {}
        """when it was answered, by its number"""
        self.most_waiting = 0
        """most requests that were here at the same time, silent ones left out"""
        self.url = ""
        self._free_s = 0.0
        self._held: list[Callable[[], None]] = []
        self._is_released = hold is None

    def now(self) -> float:
        """Return seconds since the first request; 0 before it."""
        return time.perf_counter() - self._zero_s if self.arrived_s else 0.0

    def __enter__(self) -> PracticeServer:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="practice", daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        loop, connections = self._loop, set[_Connection]()
        listening = loop.run_until_complete(
            loop.create_server(lambda: _Connection(self, connections), "127.0.0.1", 0, backlog=1024)
        )
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        started.set()
        loop.run_forever()
        listening.close()
        for connection in list(connections):
            connection.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))  # the transports close at the loop's next turn
        loop.close()

    def receive(self, connection: _Connection) -> None:
        """Take one request, in the loop's thread."""
        if not self.arrived_s:
            self._zero_s = time.perf_counter()
        number = len(self.arrived_s)
        self.arrived_s.append(time.perf_counter() - self._zero_s)
        if number in self.silent:
            return
        quiet = sum(each <= number for each in self.silent)
        self.most_waiting = max(self.most_waiting, number + 1 - quiet - len(self.answered_s))
        if self.hold is not None and number >= self.hold[0] and not self._is_released:
            self._held.append(lambda: self._queue(number, connection))
            if number == self.hold[0]:
                self._loop.call_later(self.hold[2], self._release)
            if number >= self.hold[1]:
                self._release()
        else:
            self._queue(number, connection)

    def _release(self) -> None:
        self._is_released = True
        held, self._held = self._held, []
        for begin in held:
            begin()

    def _queue(self, number: int, connection: _Connection) -> None:
        """Begin when the server is free and awake; be busy until the answer leaves."""
        self._free_s = self._work(max(self._free_s, self.now()), self.service_s)
        self._loop.call_later(max(0.0, self._free_s - self.now()), self._answer, number, connection)

    def _work(self, begin_s: float, needed_s: float) -> float:
        """Return when `needed_s` of work are done that could begin at `begin_s`."""
        for stall_s, end_s in self.stalls:
            if begin_s + needed_s > stall_s and begin_s < end_s:
                needed_s -= max(0.0, stall_s - begin_s)
                begin_s = end_s
        return begin_s + needed_s

    def _answer(self, number: int, connection: _Connection) -> None:
        self.answered_s[number] = self.now()
        connection.answer(500 if number in self.broken else 200)


class _Connection(asyncio.Protocol):
    """One connection: whole requests go to the server, in their order."""

    def __init__(self, server: PracticeServer, others: set[_Connection]):
        self.server, self.others, self.buffer = server, others, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.others.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.others.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = 0
            for line in self.buffer[:end].split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.server.receive(self)

    def answer(self, status: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
