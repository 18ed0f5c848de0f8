"""A light load generator: one thread, one epoll, nothing parsed but status, length and label of an answer.

Open loop (Poisson arrivals, latency from the intended send time) and closed loop. Why not locust, which
`scalelab load` uses: on two cores that the service needs as well, a request of locust costs several of these,
and the fastest systems would pay most. The plan comes as JSON on standard input; a line
``started`` says when the zero of the schedule is, a line of JSON has the result. Linux only.

    python -m peers.generator < plan.json
"""

from __future__ import annotations

import collections
import json
import re
import select
import socket
import sys
import time
from typing import Any

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_LABEL = re.compile(rb'"label": *(\d+)')
_SCAN_S = 0.1
OK, TIMEOUT = "ok", "timeout"


def percentile(values: list[float], percent: float) -> float:
    """Return a percentile of sorted values, the higher neighbour."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


class Connection:
    """One connection with at most one request on it."""

    __slots__ = ("buffer", "intended_s", "number", "sock")

    def __init__(self, address: tuple[str, int]):
        self.sock = socket.create_connection(address, timeout=5)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.buffer = b""
        self.number = -1
        self.intended_s = 0.0


class Load:
    """One run; `arrivals` are seconds from the start, or None for a closed loop."""

    def __init__(self, plan: dict[str, Any]):
        self.address = (plan["host"], plan["port"])
        self.requests = [_request(plan, body.encode("latin-1")) for body in plan["bodies"]]
        self.labels = [b"%d" % label for label in plan["labels"]]
        self.warmup_s, self.duration_s = plan["warmup_s"], plan["duration_s"]
        self.end_s = self.warmup_s + self.duration_s
        self.timeout_s, self.most = plan["timeout_s"], plan["connections"]
        self.arrivals: list[float] | None = plan["arrivals_s"]
        self.epoll = select.epoll()
        self.open: dict[int, Connection] = {}
        self.free: list[Connection] = []
        self.waiting: collections.deque[tuple[int, float]] = collections.deque()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.latencies: list[float] = []
        self.lags: list[float] = []
        self.wrong = self.in_window = self.sent = 0
        self.zero_s = 0.0

    def run(self) -> dict[str, Any]:
        """Run to the last answer or its timeout."""
        for _ in range(self.most if self.arrivals is None else min(64, self.most)):
            self._connect()
        cpu_s = time.process_time()
        self.zero_s = time.perf_counter()
        sys.stdout.write("started\n")
        sys.stdout.flush()
        scan_s, number = _SCAN_S, 0
        while True:
            now_s = self.now()
            if self.arrivals is None:
                while self.free and now_s < self.end_s:
                    self._send(self.free.pop(), number, now_s)
                    number += 1
                wait_s = _SCAN_S
            else:
                while number < len(self.arrivals) and self.arrivals[number] <= now_s:
                    self.waiting.append((number, self.arrivals[number]))
                    number += 1
                while self.waiting and (self.free or len(self.open) < self.most):
                    if not self.free:
                        self._connect()
                        continue  # that may have failed
                    first, intended_s = self.waiting.popleft()
                    self.lags.append(now_s - intended_s)
                    self._send(self.free.pop(), first, intended_s)
                wait_s = self.arrivals[number] - now_s if number < len(self.arrivals) else _SCAN_S
            if now_s > scan_s:
                self._give_up(now_s)
                scan_s = now_s + _SCAN_S
                is_over = now_s >= self.end_s if self.arrivals is None else number >= len(self.arrivals)
                if is_over and not self.waiting and len(self.free) == len(self.open):
                    break
            # epoll counts in milliseconds, select in microseconds
            if select.select([self.epoll], [], [], min(_SCAN_S, max(0.0, wait_s)))[0]:
                for descriptor, _ in self.epoll.poll(0):
                    self._receive(self.open[descriptor])
        return self._report((time.process_time() - cpu_s) / self.now())

    def now(self) -> float:
        """Return seconds since the start."""
        return time.perf_counter() - self.zero_s

    def _connect(self) -> None:
        try:
            connection = Connection(self.address)
        except OSError as error:
            if self.waiting:  # nobody listens: the request is lost, and is not tried again
                _, intended_s = self.waiting.popleft()
                self._book(intended_s, f"no connection ({error.strerror or error})", self.now())
                return
            if self.zero_s == 0.0:
                raise
            return
        self.open[connection.sock.fileno()] = connection
        self.epoll.register(connection.sock, select.EPOLLIN)
        self.free.append(connection)

    def _send(self, connection: Connection, number: int, intended_s: float) -> None:
        connection.number, connection.intended_s = number, intended_s
        self.sent += 1
        try:
            connection.sock.send(self.requests[number % len(self.requests)])
        except OSError:
            self._lose(connection, "connection closed")

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection, "connection closed")
            return
        data = connection.buffer + data if connection.buffer else data
        end = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, end + 2) if end >= 0 else None
        if length:
            is_whole = len(data) >= end + 4 + int(length[1])
        else:
            is_whole = end >= 0 and data.endswith(b"0\r\n\r\n")  # chunked
        if not is_whole:
            connection.buffer = data
            return
        connection.buffer = b""
        self._end(connection, data, end)

    def _end(self, connection: Connection, data: bytes, head: int) -> None:
        now_s = self.now()
        status = data[9:12]
        if status == b"200":
            self._book(connection.intended_s, OK, now_s)
            label = _LABEL.search(data, head)
            if label is None or label[1] != self.labels[connection.number % len(self.labels)]:
                self.wrong += 1
        else:
            self._book(connection.intended_s, f"HTTP {status.decode('latin-1')}", now_s)
        connection.number = -1
        if b"onnection: close" in data[:head]:
            self._drop(connection)
        else:
            self.free.append(connection)

    def _book(self, intended_s: float, outcome: str, now_s: float) -> None:
        if outcome == OK and self.warmup_s <= now_s < self.end_s:
            self.in_window += 1
        if self.warmup_s <= intended_s < self.end_s:
            self.outcomes[outcome] += 1
            if outcome == OK:
                self.latencies.append(now_s - intended_s)

    def _lose(self, connection: Connection, outcome: str) -> None:
        if connection.number >= 0:
            self._book(connection.intended_s, outcome, self.now())
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self.open.pop(connection.sock.fileno(), None)
        if connection in self.free:
            self.free.remove(connection)
        self.epoll.unregister(connection.sock)
        connection.sock.close()
        if self.arrivals is None:
            self._connect()

    def _give_up(self, now_s: float) -> None:
        for connection in list(self.open.values()):
            if connection.number >= 0 and now_s - connection.intended_s > self.timeout_s:
                self._lose(connection, TIMEOUT)
        while self.waiting and now_s - self.waiting[0][1] > self.timeout_s:
            self._book(self.waiting.popleft()[1], TIMEOUT, now_s)

    def _report(self, cpu_share: float) -> dict[str, Any]:
        found = sorted(self.latencies)
        n = sum(self.outcomes.values())
        found += [float("inf")] * (n - len(found))  # what was not answered well is infinitely late
        percentiles = {f"p{percent}_s": percentile(found, percent) if n else None for percent in (50, 95, 99)}
        return {
            "n": n,
            "ok": self.outcomes[OK],
            "outcomes": dict(self.outcomes),
            "wrong": self.wrong,
            "throughput_per_s": self.in_window / self.duration_s,
            **{name: None if value == float("inf") else value for name, value in percentiles.items()},
            "lag_p95_s": percentile(sorted(self.lags), 95) if self.lags else 0.0,
            "cpu_share": cpu_share,
        }


def _request(plan: dict[str, Any], body: bytes) -> bytes:
    head = f"POST {plan['path']} HTTP/1.1\r\nHost: {plan['host']}:{plan['port']}\r\n"
    head += f"Content-Type: {plan['content_type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Load(json.load(sys.stdin)).run()) + "\n")
