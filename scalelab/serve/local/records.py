"""What the bodies of the journal's records hold, as bytes. The first byte says the kind.

TASKS     per task: attempts, lengths of key and digest, age [ms], length of the packed task; then these
TAKEN     the worker's name, then 16 bytes per task
ANSWERS   keys and digests of the tasks that have one; then the answers, as the worker sent them
LETTER    when and why a task was given up, then the packed task
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

from scalelab.serve.local.table import Entry, Letter
from scalelab.serve.protocol import Task

TASKS, TAKEN, ANSWERS, LETTER = b"T", b"W", b"A", b"L"
_TASK = struct.Struct(">HHHII")
_KEY = struct.Struct(">16sHH")
_LENGTH = struct.Struct(">I")
_ANSWER = struct.Struct(">16sIH")
_LETTER = struct.Struct(">dH")


def pack_tasks(entries: Iterable[Entry], now_s: float) -> Iterator[bytes]:
    """Yield the parts of a TASKS record."""
    yield TASKS
    for entry in entries:
        packed = entry.packed
        age_ms = min(2**32 - 1, int((now_s - entry.queued_s) * 1000))
        if entry.key:
            key, digest = entry.key.encode(), entry.digest.encode()
            yield _TASK.pack(entry.attempts, len(key), len(digest), age_ms, len(packed)) + key + digest
        else:
            yield _TASK.pack(entry.attempts, 0, 0, age_ms, len(packed))
        yield packed


def unpack_tasks(body: memoryview, then_s: float, *, segment: int) -> Iterator[Entry]:
    """Read the entries of a TASKS record that was written at `then_s`."""
    at = 1
    while at < len(body):
        attempts, key_length, digest_length, age_ms, length = _TASK.unpack_from(body, at)
        key_at = at + _TASK.size
        digest_at = key_at + key_length
        packed_at = digest_at + digest_length
        at = packed_at + length
        packed = bytes(body[packed_at:at])
        key, digest = str(body[key_at:digest_at], "utf-8"), str(body[digest_at:packed_at], "utf-8")
        entry = new_entry(packed, then_s - age_ms / 1000, key, digest)
        entry.attempts, entry.segment = attempts, segment
        yield entry


def new_entry(packed: bytes, queued_s: float, key: str = "", digest: str = "") -> Entry:
    """Return the entry of a packed task."""
    task = Task.unpack(packed)
    return Entry(task.task_id, packed, task.deadline_s, task.priority, key, digest, queued_s)


def pack_taken(worker: str, entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield the parts of a TAKEN record."""
    name = worker.encode()
    yield TAKEN + bytes([len(name)]) + name
    for entry in entries:
        yield entry.packed[:16]


def unpack_taken(body: memoryview) -> tuple[str, list[str]]:
    """Read the worker and the task ids of a TAKEN record."""
    start = 2 + body[1]
    ids = body[start:].hex()
    return str(body[2:start], "utf-8"), [ids[at : at + 32] for at in range(0, len(ids), 32)]


def pack_answer(task_id: str, body: bytes, reason: str = "") -> bytes:
    """Return one answer; several are simply one after the other."""
    if not reason:
        return _ANSWER.pack(bytes.fromhex(task_id), len(body), 0) + body
    text = reason.encode()[:60_000]
    return _ANSWER.pack(bytes.fromhex(task_id), len(body), len(text)) + body + text


def pack_answers(keyed: Iterable[Entry], answers: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Yield the parts of an ANSWERS record."""
    keys = b"".join(
        _KEY.pack(bytes.fromhex(entry.task_id), len(key), len(digest)) + key + digest
        for entry in keyed
        for key, digest in [(entry.key.encode(), entry.digest.encode())]
    )
    yield ANSWERS + _LENGTH.pack(len(keys)) + keys
    yield answers


def unpack_keys(body: memoryview) -> tuple[dict[str, tuple[str, str]], int]:
    """Read the keys and digests of an ANSWERS record by task id, and where its answers begin."""
    at = 1 + _LENGTH.size
    end = at + _LENGTH.unpack_from(body, 1)[0]
    found = {}
    while at < end:
        task_id, key_length, digest_length = _KEY.unpack_from(body, at)
        key_at = at + _KEY.size
        digest_at = key_at + key_length
        at = digest_at + digest_length
        found[task_id.hex()] = (str(body[key_at:digest_at], "utf-8"), str(body[digest_at:at], "utf-8"))
    return found, end


def unpack_answers(data: bytes | memoryview, at: int) -> Iterator[tuple[str, bytes, str]]:
    """Read the answers from byte `at` on: task id, body, reason of a dead letter.

    Raises:
        ValueError: these bytes are no answers.
    """
    end = len(data)
    while at < end:
        if at + _ANSWER.size > end:
            raise ValueError(f"{end - at} bytes are no answer")
        task_id, length, reason_length = _ANSWER.unpack_from(data, at)
        body_at = at + _ANSWER.size
        reason_at = body_at + length
        at = reason_at + reason_length
        if at > end:
            raise ValueError(f"an answer ends {at - end} bytes after its frame")
        reason = str(data[reason_at:at], "utf-8", "replace") if reason_length else ""
        yield task_id.hex(), bytes(data[body_at:reason_at]), reason


def pack_letter(letter: Letter) -> bytes:
    """Return a LETTER record."""
    reason = letter.reason.encode()[:60_000]
    return LETTER + _LETTER.pack(letter.at_s, len(reason)) + reason + letter.packed


def unpack_letter(body: memoryview, *, segment: int) -> tuple[str, Letter]:
    """Read the task id and the letter of a LETTER record."""
    at_s, length = _LETTER.unpack_from(body, 1)
    start = 1 + _LETTER.size + length
    reason = str(body[1 + _LETTER.size : start], "utf-8", "replace")
    packed = bytes(body[start:])
    return packed[:16].hex(), Letter(packed, reason, at_s, segment)
