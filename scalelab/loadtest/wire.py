"""HTTP as the generator speaks it: requests that are bytes beforehand, one connection per sender.

Runs inside the locust process, where sockets are cooperative. Cookies, redirects and retries would cost the
generator its rate and the measurement its honesty: a load test counts what broke instead of mending it.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from geventhttpclient.response import HTTPParseError, HTTPResponse

from scalelab.loadtest.outcomes import TIMEOUT

READ_BYTES = 65536
IDLE_S = 1.0
"""a connection that lay idle longer is looked at before it is used again: the server may have closed it"""


class Answer(HTTPResponse):
    """One response; the parser is llhttp, and its callbacks for headers wait until one is asked for."""

    @property
    def body(self) -> bytes:
        """What came after the headers."""
        return bytes(self._body_buffer)


class ConnectionClosed(ConnectionError):
    """The server hung up before the answer was whole."""


class Wire:
    """One address, and the requests to it as bytes."""

    def __init__(self, url: str, headers: Mapping[str, str], *, verify_tls: bool = True):
        parts = urlsplit(url)
        self.address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = _context(verify_tls) if parts.scheme == "https" else None
        named = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "scalelab-load", **headers}
        if any(name.lower() == "host" for name in headers):
            del named["Host"]
        self.head = "".join(f"{name}: {value}\r\n" for name, value in named.items())

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return a whole request as bytes."""
        length = f"Content-Length: {len(body)}\r\n" if body or method in ("POST", "PUT", "PATCH") else ""
        return f"{method} {path} HTTP/1.1\r\n{self.head}{length}\r\n".encode("latin-1") + body


class Connection:
    """A socket that is opened when it is needed, and kept while both sides agree."""

    def __init__(self, wire: Wire):
        self.wire = wire
        self.socket: Any = None
        self.used_s = 0.0

    def exchange(self, request: bytes, method: str, left_s: float) -> Answer:
        """Send `request`, read its answer within `left_s`.

        Raises:
            TimeoutError: it took longer. ConnectionError, OSError, HTTPParseError: it broke.
        """
        until_s = time.perf_counter() + left_s
        if left_s <= 0:
            raise TimeoutError
        try:
            link = self._open(left_s, until_s)
            link.sendall(request)
            answer = Answer(method)
            while True:
                data = link.recv(READ_BYTES)
                try:
                    answer.feed(data)
                except HTTPParseError:
                    if data:
                        raise
                    raise ConnectionClosed from None  # torn in the middle
                if answer.message_complete and answer.get_code() >= 200:
                    break
                if not data:
                    raise ConnectionClosed
                link.settimeout(_left(until_s))
        except BaseException:
            self.close()
            raise
        if answer.should_close():
            self.close()
        self.used_s = time.perf_counter()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _open(self, left_s: float, until_s: float) -> Any:
        if self.socket is not None and until_s - left_s - self.used_s > IDLE_S:
            readable, _, _ = select.select([self.socket], [], [], 0)
            if readable:  # nobody asked anything, so it can only be the end
                self.close()
        if self.socket is None:
            link: Any = socket.create_connection(self.wire.address, timeout=left_s)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = link  # from here on close() finds it
            if self.wire.tls is not None:
                self.socket = self.wire.tls.wrap_socket(link, server_hostname=self.wire.address[0])
        self.socket.settimeout(_left(until_s))
        return self.socket


def describe(error: Exception) -> str:
    """Return the kind of a failure, as it is counted."""
    if isinstance(error, TimeoutError):
        return TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "connection closed"
    if isinstance(error, HTTPParseError):
        return "malformed answer"
    if isinstance(error, OSError):
        return f"connection failed ({error.strerror or type(error).__name__})"
    return f"client error ({type(error).__name__})"


def _left(until_s: float) -> float:
    left_s = until_s - time.perf_counter()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
