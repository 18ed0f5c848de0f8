"""What crosses the borders of the service: a task on its way to a worker, its answer, a problem.

A task is a few packed fields in front of its payload, the raw bytes of one item; an answer is one line of
JSON that the gateway hands on as it is. Nothing here needs numpy or a model, and nothing is pickled. What a
payload means stands in a contract (`contract`).
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from scalelab.core.errors import ScalelabError

MAX_BODY_BYTES = 64 * 1024

QUEUED, DONE, FAILED, EXPIRED, CANCELLED = "queued", "done", "failed", "expired", "cancelled"
STATUSES = (QUEUED, DONE, FAILED, EXPIRED, CANCELLED)
PRIORITIES = ("high", "normal", "low")
"""a task's priority is the index: a broker hands out what is lower first"""
NORMAL = PRIORITIES.index("normal")

_HEADER = struct.Struct(">16sIBB")
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_STATUS = b'"status":"'


class Problem(ScalelabError):
    """A request that cannot be served, as ``application/problem+json`` (RFC 9457) tells it."""

    def __init__(self, status: int, message: str, *, hint: str, headers: dict[str, str] | None = None):
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers or {}

    def body(self) -> bytes:
        """Return the problem document: what, with which value (`detail`), and the next step (`hint`)."""
        title = HTTPStatus(self.status).phrase
        fields = {"type": "about:blank", "title": title, "status": self.status}
        return json.dumps({**fields, "detail": self.message, "hint": self.hint}).encode()


@dataclass(slots=True)  # not frozen, like all that is made for each request: a seventh of the time
class Task:
    """One item on its way to a worker."""

    task_id: str
    """32 hexadecimal digits"""
    payload: bytes
    """the raw bytes of one item, as its contract says"""
    reply_to: str
    """the gateway that wants to hear of the answer"""
    deadline_s: float
    """seconds after it was queued when nobody wants the answer any more"""
    priority: int = NORMAL
    """index into `PRIORITIES`"""

    def pack(self) -> bytes:
        """Return the task as bytes: id, deadline [ms], priority, reply-to, payload."""
        reply_to = self.reply_to.encode()
        deadline_ms = round(self.deadline_s * 1000)
        head = _HEADER.pack(bytes.fromhex(self.task_id), deadline_ms, self.priority, len(reply_to))
        return b"%b%b%b" % (head, reply_to, self.payload)

    @classmethod
    def unpack(cls, packed: bytes) -> Task:
        """Read what `pack` wrote.

        Raises:
            ValueError: these bytes are no task.
        """
        if len(packed) < _HEADER.size:
            raise ValueError(f"{len(packed)} bytes are no task")
        task_id, deadline_ms, priority, length = _HEADER.unpack_from(packed)
        start = _HEADER.size + length
        if start > len(packed) or priority >= len(PRIORITIES):
            raise ValueError(f"{len(packed)} bytes of priority {priority} are no task")
        reply_to = packed[_HEADER.size : start].decode()
        return cls(task_id.hex(), packed[start:], reply_to, deadline_ms / 1000, priority)


def queued_answer(task_id: str) -> bytes:
    """Return the answer about a task that no worker has finished."""
    return b'{"task_id":"%b","status":"queued"}' % task_id.encode()


def answer(task_id: str, status: str, **fields: Any) -> bytes:
    """Return the final answer about a task as one line of JSON.

    Raises:
        ValueError, TypeError: a field is NaN, infinite, or no JSON.
    """
    try:
        return "".join(_pieces({"task_id": task_id, "status": status, **fields}, 0)).encode()
    except RecursionError:
        raise ValueError("the result is nested too deeply, or holds itself") from None


def _make_pieces() -> Callable[[Any, int], Iterable[str]]:
    """Return what `json.JSONEncoder.encode` makes anew at each call, which is half of its time."""
    make = json.encoder.c_make_encoder
    if make is None:  # a Python without its C parts
        return lambda whole, _: _encoder.iterencode(whole)
    quote = json.encoder.encode_basestring_ascii
    # no memory of what it is in (the first argument): it would outlive an error, and blame the next result
    return cast(
        "Callable[[Any, int], Iterable[str]]",
        make(None, _encoder.default, quote, None, ":", ",", False, False, False),
    )


_pieces = _make_pieces()


def status_of(answer: bytes) -> bytes:
    """Return the status in an answer; cheaper than to parse it."""
    start = answer.find(_STATUS) + len(_STATUS)
    return answer[start : answer.find(b'"', start)]


def new_task_ids() -> Iterator[str]:
    """Yield task ids that nobody can guess: 128 random bits each, 256 of them a system call."""
    while True:
        drawn = os.urandom(16 * 256).hex()
        yield from (drawn[start : start + 32] for start in range(0, len(drawn), 32))


def is_task_id(text: str) -> bool:
    """Tell whether `text` has the form of a task id, without asking whether the task exists."""
    return len(text) == 32 and all(sign in "0123456789abcdef" for sign in text)


def check_length(count: int, limit: int = MAX_BODY_BYTES) -> None:
    """Refuse a body that is over the limit; called before and while it is read.

    Raises:
        Problem: 413, and the connection is closed so that the rest is not read.
    """
    if count > limit:
        raise Problem(
            413,
            f"the body has {count} bytes or more, the limit is {limit}",
            hint="send one item a request, in the size that /docs names",
            headers={"connection": "close"},
        )
