"""What a request asks for beside its body: in the query string, in headers, or in both.

``?wait_s=5`` and the header ``Task-Wait-S: 5`` mean the same; where both are given, the query string counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from scalelab.core.errors import did_you_mean
from scalelab.serve.protocol import NORMAL, PRIORITIES, Problem

MAX_WAIT_S = 30.0
MAX_DEADLINE_S = 3600.0
MAX_KEY_CHARS = 200
_MAX_QUERY_BYTES = 200
_LIMITS = {"wait_s": (0.0, MAX_WAIT_S), "deadline_s": (0.001, MAX_DEADLINE_S)}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")  # float() takes 1_0, blanks and infinity too
_PREFIX = b"task-"
HEADERS = {"wait_s": "Task-Wait-S", "deadline_s": "Task-Deadline-S", "priority": "Task-Priority"}
"""query parameter -> header"""
ALL = tuple(HEADERS)


@dataclass(frozen=True)
class Options:
    """What a request may ask for."""

    wait_s: float = 0.0
    deadline_s: float | None = None
    priority: int = NORMAL


def read_options(query: bytes, head: Mapping[bytes, bytes], allowed: tuple[str, ...] = ALL) -> Options:
    """Read query string and headers.

    Raises:
        Problem: 400 for an unknown name, for a value that is none, or for one out of range.
    """
    sent = [(name, head[name]) for name in head if name[:5] == _PREFIX]
    return _parse(query, tuple(sent), allowed)


@lru_cache(maxsize=512)  # clients repeat what they ask for: parsed once, then a dictionary look-up
def _parse(query: bytes, sent: tuple[tuple[bytes, bytes], ...], allowed: tuple[str, ...]) -> Options:
    if len(query) > _MAX_QUERY_BYTES:
        raise Problem(400, f"a query string of {len(query)} bytes", hint=f"known: {', '.join(allowed)}")
    found: dict[str, Any] = {}
    names = {HEADERS[name].lower(): name for name in allowed}
    for header, value in sent:
        name = header.decode("latin-1")
        if name not in names:
            guess = did_you_mean(name, names)
            raise Problem(400, f"there is no header {name[:50]!r} here", hint=guess)
        found[names[name]] = _value(names[name], value.decode("latin-1"))
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in allowed:
            raise Problem(400, f"there is no query parameter {name[:50]!r}", hint=did_you_mean(name, allowed))
        found[name] = _value(name, text)
    return Options(**found)


def _value(name: str, text: str) -> float | int:
    if name == "priority":
        if text not in PRIORITIES:
            raise Problem(400, f"there is no priority {text[:50]!r}", hint=did_you_mean(text, PRIORITIES))
        return PRIORITIES.index(text)
    low, high = _LIMITS[name]
    value = float(text) if _NUMBER.fullmatch(text) else float("nan")
    if not low <= value <= high:
        raise Problem(
            400, f"{name}={text[:50]} is no time that can be kept", hint=f"give {low:g} to {high:g} seconds"
        )
    return value


def parse_key(value: bytes | None) -> str:
    """Read the header ``Idempotency-Key``; an empty string if there is none.

    Raises:
        Problem: 400 for a key that is empty, too long or not printable ASCII.
    """
    if value is None:
        return ""
    key = value.decode("latin-1")
    if not 0 < len(key) <= MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise Problem(
            400,
            f"Idempotency-Key {key[:40]!r} ({len(key)} characters) cannot be used",
            hint=f"send 1 to {MAX_KEY_CHARS} printable ASCII characters, for example a UUID",
        )
    return key
