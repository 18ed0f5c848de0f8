"""Who may ask, and how often: API keys compared in constant time, a token bucket for each client."""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scalelab.core.errors import ConfigError
from scalelab.serve.protocol import Problem

MIN_KEY_CHARS = 16
_MAX_CLIENTS = 10_000
_HOW = "send the header Authorization: Bearer KEY, or X-API-Key: KEY"


class RateLimit:
    """A token bucket for each client: `per_s` requests a second, as many at once after a second of silence.

    The least recently seen of more than 10,000 clients is forgotten: it begins with a full bucket again.
    """

    def __init__(self, per_s: float, *, clock: Callable[[], float] = time.monotonic):
        self._per_s, self._clock = per_s, clock
        self._burst = max(1.0, per_s)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> tokens, when

    def take(self, client: str) -> float:
        """Take a token; return 0, or how many seconds from now there is one."""
        now_s = self._clock()
        tokens, then_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - then_s) * self._per_s)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._per_s


class Guard:
    """Stands before the tasks; without keys and without a rate it lets everybody pass."""

    def __init__(self, keys: Sequence[str] = (), rate: RateLimit | None = None):
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._rate = rate
        self.wants_keys = bool(keys)
        self.is_open = not keys and rate is None

    def check(self, head: Mapping[bytes, bytes], address: str) -> None:
        """Let a request pass.

        Raises:
            Problem: 401 without a known key; 429 if this client (its key, else its address) asks too often.
        """
        client = self._client_of(head) or address if self._digests else address
        wait_s = self._rate.take(client) if self._rate else 0.0
        if wait_s:
            raise Problem(
                429,
                "this client asks more often than it may",
                hint=f"try again in {wait_s:.3g} s",
                headers={"retry-after": str(math.ceil(wait_s))},
            )

    def _client_of(self, head: Mapping[bytes, bytes]) -> str:
        scheme, _, token = head.get(b"authorization", b"").partition(b" ")
        sent = [token.strip()] if scheme.lower() == b"bearer" else []
        if b"x-api-key" in head:
            sent.append(head[b"x-api-key"])
        digests = [hashlib.sha256(key).digest() for key in sent]
        if not (digests and all(map(self._is_known, digests))):
            raise Problem(
                401,
                "the API key is not known" if any(sent) else "this service wants an API key",
                hint=_HOW,
                headers={"www-authenticate": 'Bearer realm="scalelab"'},
            )
        return digests[0].hex()

    def _is_known(self, digest: bytes) -> bool:
        found = [hmac.compare_digest(digest, known) for known in self._digests]  # all of them, always
        return any(found)


def read_keys(path: Path) -> list[str]:
    """Read API keys, one a line; empty lines and lines that begin with ``#`` do not count.

    Raises:
        ConfigError: the file cannot be read, has no key, or one that could be guessed or not be sent. The
            message never holds a key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the API keys in {path} cannot be read: {error}", hint=_how_to_make(path)
        ) from None
    keys = []
    for number, line in enumerate(lines, 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if len(key) < MIN_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"line {number} of {path} holds no API key ({len(key)} characters)",
                hint=f"a key has {MIN_KEY_CHARS} or more ASCII characters and no space. {_how_to_make(path)}",
            )
        keys.append(key)
    if not keys:
        raise ConfigError(f"{path} holds no API key", hint=_how_to_make(path))
    return keys


def open_guard(api_key_file: str, rate_limit: float) -> Guard:
    """Return the guard that the settings ask for."""
    keys = read_keys(Path(api_key_file)) if api_key_file else []
    return Guard(keys, RateLimit(rate_limit) if rate_limit else None)


def _how_to_make(path: Path) -> str:
    return f'make one: python -c "import secrets; print(secrets.token_urlsafe(32))" > {path.name}'
