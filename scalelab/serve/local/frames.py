"""What crosses the wire between the gateway's process and a worker: frames of length, kind and body.

A worker asks and the gateway replies, one frame for one; only `BEAT` has no reply. A batch of tasks is one
frame, its answers are one, and the reply to these may hold the next batches.

    HELLO      JSON: who comes, for which queue, with which token, holding which tasks     -> TASKS, REFUSED
    TAKE       at most how many, and how long to wait for the first [ms]                   -> TASKS
    TAKE_OVER  one task of a dead worker                                                   -> TASKS
    ANSWERS    how many make a batch, whether it can begin one, how long the last took
               [ms], how long to wait for the first task where it can [ms], then the
               answers (`records.pack_answer`)                                             -> TASKS, AWAY
    GIVE_BACK  after how long [ms], then 16 bytes per task                                 -> TASKS
    BEAT       this worker lives
    BYE        16 bytes per task that was not begun                                        -> TASKS
    LETTERS    how many                                                                    -> LIST
    RETRY, DROP    16 bytes per dead letter                                                -> COUNT, AWAY
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from scalelab.serve.broker import DeadLetter, Delivery
from scalelab.serve.local.table import Entry
from scalelab.serve.protocol import Task

VERSION = 3
HELLO, TAKE, TAKE_OVER, ANSWERS, GIVE_BACK, BEAT, BYE, LETTERS, RETRY, DROP = range(10)
TASKS, REFUSED, AWAY, LIST, COUNT = range(100, 105)

FRAME = struct.Struct(">IB")
"""length of the body, kind"""
TAKE_BODY = struct.Struct(">HI")
WANT = struct.Struct(">HBII")
NUMBER = struct.Struct(">I")
_TASK = struct.Struct(">BBII")
"""attempt, is it expired, how long it waited [ms], length of the packed task"""
_LETTER = struct.Struct(">16sdHI")
MAX_HELLO_BYTES = 128 * 1024
MAX_NAME_BYTES = 200
MAX_FRAME_BYTES = 64 * 1024 * 1024
MAX_MS = 2**32 - 1


def frame(kind: int, *parts: bytes) -> bytes:
    """Return a whole frame."""
    body = b"".join(parts)
    return FRAME.pack(len(body), kind) + body


def pack_tasks(first: int, entries: Iterable[Entry], now_s: float) -> bytes:
    """Return a TASKS frame: how many answers were the first, then a batch."""
    parts = [b"", NUMBER.pack(first)]
    for entry in entries:
        waited_s = now_s - entry.queued_s
        head = _TASK.pack(
            entry.attempts,
            waited_s > entry.deadline_s,
            min(MAX_MS, max(0, int(waited_s * 1000))),
            len(entry.packed),
        )
        parts += (head, entry.packed)
    parts[0] = FRAME.pack(sum(map(len, parts)), TASKS)
    return b"".join(parts)


def unpack_tasks(body: memoryview) -> tuple[int, list[Delivery]]:
    """Read a TASKS frame."""
    (first,) = NUMBER.unpack_from(body)
    at, end, deliveries = NUMBER.size, len(body), []
    while at < end:
        attempt, is_expired, waited_ms, length = _TASK.unpack_from(body, at)
        start = at + _TASK.size
        at = start + length
        task = Task.unpack(bytes(body[start:at]))
        deliveries.append(Delivery(task, task.task_id, attempt, bool(is_expired), waited_ms / 1000))
    return first, deliveries


def pack_ids(task_ids: Iterable[str]) -> bytes:
    """Return 16 bytes per task."""
    return bytes.fromhex("".join(task_ids))


def unpack_ids(data: bytes) -> list[str]:
    """Read what `pack_ids` wrote.

    Raises:
        ValueError: half an id.
    """
    if len(data) % 16:
        raise ValueError(f"{len(data)} bytes are no task ids")
    text = data.hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def pack_letters(letters: Iterable[DeadLetter]) -> bytes:
    """Return a LIST frame."""
    parts = []
    for letter in letters:
        reason = letter.reason.encode()[:60_000]
        task_id = bytes.fromhex(letter.task_id)
        parts += [
            _LETTER.pack(task_id, letter.at_s, len(reason), len(letter.payload)),
            reason,
            letter.payload,
        ]
    return frame(LIST, *parts)


def unpack_letters(body: memoryview) -> Iterator[DeadLetter]:
    """Read a LIST frame."""
    at = 0
    while at < len(body):
        task_id, at_s, reason_length, length = _LETTER.unpack_from(body, at)
        reason_at = at + _LETTER.size
        payload_at = reason_at + reason_length
        at = payload_at + length
        reason = str(body[reason_at:payload_at], "utf-8", "replace")
        yield DeadLetter(task_id.hex(), reason, at_s, bytes(body[payload_at:at]))
