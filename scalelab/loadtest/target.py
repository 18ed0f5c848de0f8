"""What is called: one address, one path, and the bodies that rotate through it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scalelab.core.errors import ConfigError, RunFailed

_CONNECT_TIMEOUT_S = 3.0
_PATH = re.compile(r"/([\x21-\x2e\x30-\x7e][\x21-\x7e]*)?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


@dataclass(frozen=True)
class Target:
    """A request that a load test sends over and over.

    ``Target("http://127.0.0.1:8000", "/v1/pins?wait_s=5", bodies, {"Content-Type": "..."})``
    """

    url: str
    """scheme, host and port: ``http://127.0.0.1:8000``"""
    path: str = "/"
    """path and query; ``?wait_s=5`` makes the decoupled service answer with the result itself"""
    bodies: tuple[bytes, ...] = ()
    """request number k carries ``bodies[k % len(bodies)]``; none: the request has no body"""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    """default: POST with bodies, GET without"""
    ok_statuses: tuple[int, ...] = (200,)
    """statuses that count as an answer; add 202 to measure how long the *acceptance* takes"""
    verify_tls: bool = True
    """refuse a certificate that this machine does not trust"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))
        object.__setattr__(self, "bodies", tuple(self.bodies))
        object.__setattr__(self, "headers", dict(self.headers))
        object.__setattr__(self, "ok_statuses", tuple(self.ok_statuses))
        object.__setattr__(self, "method", (self.method or ("POST" if self.bodies else "GET")).upper())
        if not _is_address(self.url):
            raise ConfigError(
                f"{self.url!r} is no address of a service",
                hint="give scheme, host and port only, such as http://127.0.0.1:8000; the rest is the path",
            )
        if not _PATH.fullmatch(self.path):
            raise ConfigError(
                f"{self.path!r} is no path of a URL",
                hint="start it with one /; write spaces and accents as %20",
            )
        if not _TOKEN.fullmatch(self.method):
            raise ConfigError(f"{self.method!r} is no HTTP method", hint="GET and POST are")
        for name, value in self.headers.items():
            if not (_TOKEN.fullmatch(str(name)) and _VALUE.fullmatch(str(value))):
                raise ConfigError(
                    f"{name}: {value!r} is no header",
                    hint="names are ASCII words, values are one line of text",
                )
        for number, body in enumerate(self.bodies):
            if not isinstance(body, bytes):
                raise ConfigError(
                    f"body {number} is of type {type(body).__name__}",
                    hint="bodies are bytes: encode it first",
                )
        if not self.ok_statuses:
            raise ConfigError("no status counts as an answer", hint="give ok_statuses=(200,)")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname
        return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)

    def check_listening(self) -> None:
        """Make sure that something accepts connections there.

        Raises:
            RunFailed: nothing does.
        """
        try:
            socket.create_connection(self.address, timeout=_CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise RunFailed(
                f"nothing answers at {self.url} ({error.strerror or error})",
                hint="start the service first (scalelab serve up), or correct the address",
            ) from None

    def check_answer(self, timeout_s: float, *, allow_busy: bool = False, also: tuple[int, ...] = ()) -> None:
        """Send one request, and make sure that a load test of it would measure something.

        Args:
            allow_busy: 429 and 5xx are an answer too: the service is up, and has other troubles.
            also: statuses that are good beside `ok_statuses`.

        Raises:
            RunFailed: nothing listens, no answer, a redirect, a certificate, or another status.
        """
        self.check_listening()
        _, status, location = self._ask(timeout_s)
        wanted = (*self.ok_statuses, *also)
        if status in wanted or (allow_busy and (status == 429 or status >= 500)):
            return
        what = f"{self.method} {self.url}{self.path} answers {status}"
        if 300 <= status < 400:
            raise RunFailed(
                f"{what}: go to {location or 'somewhere it does not say'}",
                hint="a load test follows no redirect: give that address and path",
            )
        raise RunFailed(
            f"{what} to a single request",
            hint=f"wanted {' or '.join(map(str, wanted))}: correct the path, body or headers",
        )

    def probe(self, timeout_s: float) -> tuple[float, int]:
        """Send one request on a connection of its own; return its seconds and its status.

        Raises:
            RunFailed: no answer in `timeout_s`, or a certificate that is not trusted.
        """
        return self._ask(timeout_s)[:2]

    def _ask(self, timeout_s: float) -> tuple[float, int, str]:
        connection = self._connection(timeout_s)
        started = time.perf_counter()
        try:
            body = self.bodies[0] if self.bodies else None
            connection.request(self.method, self.path, body, dict(self.headers))
            response = connection.getresponse()
            response.read()
            return time.perf_counter() - started, response.status, response.getheader("Location") or ""
        except ssl.SSLCertVerificationError as error:
            raise RunFailed(
                f"the certificate of {self.url} is not trusted: {error.verify_message}",
                hint="name its authority, SSL_CERT_FILE=ca.pem, or do not check it: --insecure",
            ) from None
        except ssl.SSLError as error:
            raise RunFailed(
                f"{self.url} does not speak TLS ({error.reason or error})",
                hint="is it http:// and not https://?",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise RunFailed(
                f"{self.method} {self.url}{self.path} got no answer: {str(error) or type(error).__name__}",
                hint=f"is the service up, and is it really {urlsplit(self.url).scheme}? look at its log",
            ) from None
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self.address
        if not self.url.startswith("https"):
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        context = ssl.create_default_context()
        if not self.verify_tls:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_bare = bool(parts.hostname) and not (parts.path or parts.query or parts.fragment)
        return parts.scheme in ("http", "https") and is_bare and parts.port != 0
    except ValueError:  # a port over 65535, half an IPv6 address
        return False
