"""What a queue's log says, as a table: which task has which answer, and which key names which task.

RabbitMQ holds messages and no values. But it has a log (a stream) that everybody reads in one order; whoever
reads it from its begin and applies each line comes to the same table. So the first of two answers, or of two
claims of a key, is the same one for all. The lines, fields between spaces, times in milliseconds::

    k ID TTL DIGEST KEY     a task claims a key (DIGEST begins with a dash)
    q ID TTL GATEWAY        the task lies in the queue
    t ID                    a worker took it
    a ID TTL GATEWAY BODY   an answer, and who waits for it; it counts if it is the first
    r ID TTL GATEWAY        its answer is withdrawn, and it is queued anew with all its attempts
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

Answered = tuple[str, str, bytes]
"""task, gateway, answer"""


@dataclass
class Entry:
    """A task."""

    gateway: str = ""
    answer: bytes = b""
    """empty: there is none"""
    attempts: int = 0
    is_queued: bool = False
    """not between its claim of a key and its way into the queue"""
    seen_s: float = 0.0
    """when it was first heard of, by the reader's clock"""
    until_s: float = 0.0
    """when it is forgotten"""


def claimed(task_id: str, ttl_s: float, digest: str, key: str) -> bytes:
    """Return the line by which a task claims a key."""
    return b"k %b %d -%b %b" % (task_id.encode(), round(ttl_s * 1000), digest.encode(), key.encode())


def queued(task_id: str, ttl_s: float, gateway: str) -> bytes:
    """Return the line of a task that lies in the queue."""
    return b"q %b %d %b" % (task_id.encode(), round(ttl_s * 1000), gateway.encode())


def taken(task_id: str) -> bytes:
    """Return the line of a task that a worker took."""
    return b"t " + task_id.encode()


def answered(task_id: str, ttl_s: float, gateway: str, body: bytes) -> bytes:
    """Return the line of an answer; `body` is one line itself."""
    return b"a %b %d %b %b" % (task_id.encode(), round(ttl_s * 1000), gateway.encode(), body)


def retried(task_id: str, ttl_s: float, gateway: str) -> bytes:
    """Return the line of a dead letter that is tried again."""
    return b"r %b %d %b" % (task_id.encode(), round(ttl_s * 1000), gateway.encode())


class Table:
    """The tasks and keys of a queue. All times are those of the caller's clock."""

    def __init__(self, *, keeps_bodies: bool = True):
        self.entries: dict[str, Entry] = {}
        self.keys: dict[str, tuple[str, str, float]] = {}
        self.open: dict[str, Entry] = {}
        """the tasks without an answer, oldest first"""
        self.finished = 0
        self._keeps_bodies = keeps_bodies
        self._ends: list[tuple[float, str, str]] = []

    def apply(self, lines: Sequence[bytes], *, now_s: float, age_s: float = 0.0) -> list[Answered]:
        """Take lines of the log into account; return the answers among them that count.

        Args:
            age_s: how long ago they were written.
        """
        self.forget(now_s)
        first = []
        for line in lines:
            kind, task_id, *rest = line.split(b" ", 2)
            if self._apply(kind, task_id.decode(), rest[0] if rest else b"", now_s - age_s, now_s):
                _, gateway, body = rest[0].split(b" ", 2)
                first.append((task_id.decode(), gateway.decode(), body))
        return first

    def attempts(self, task_id: str) -> int:
        """Return how often a task was taken."""
        entry = self.entries.get(task_id)
        return entry.attempts if entry else 0

    def stands(self, task_id: str) -> bytes | None:
        """Return a task's answer: None for an unknown task, empty bytes for one without an answer yet."""
        entry = self.entries.get(task_id)
        return None if entry is None else entry.answer

    def forget(self, now_s: float) -> None:
        """Forget what is past its time."""
        while self._ends and self._ends[0][0] <= now_s:
            _, task_id, key = heapq.heappop(self._ends)
            entry = self.entries.get(task_id)
            if key:
                if key in self.keys and self.keys[key][2] <= now_s:
                    del self.keys[key]
            elif entry is not None and entry.until_s <= now_s:
                del self.entries[task_id]
                self.open.pop(task_id, None)

    def _apply(self, kind: bytes, task_id: str, rest: bytes, at_s: float, now_s: float) -> bool:
        if kind == b"t":
            if task_id in self.entries:
                self.entries[task_id].attempts += 1
            return False
        ttl_ms, _, text = rest.partition(b" ")
        until_s = at_s + int(ttl_ms) / 1000
        if until_s <= now_s:
            return False
        if kind == b"k":
            digest, _, key = text.decode().partition(" ")
            if key in self.keys:
                return False
            self.keys[key] = (task_id, digest[1:], until_s)
            heapq.heappush(self._ends, (until_s, task_id, key))
        entry = self.entries.setdefault(task_id, Entry(seen_s=at_s))
        if kind == b"a":
            return self._answer(entry, task_id, text.partition(b" ")[2], until_s)
        if kind == b"r":
            self.open.pop(task_id, None)
            entry.answer, entry.attempts, entry.seen_s = b"", 0, at_s
        entry.is_queued = entry.is_queued or kind != b"k"
        entry.gateway = entry.gateway or (text.decode() if kind != b"k" else "")
        if not entry.answer:
            self.open[task_id] = entry
            self._keep(entry, task_id, until_s)
        return False

    def _answer(self, entry: Entry, task_id: str, body: bytes, until_s: float) -> bool:
        if entry.answer:
            return False
        entry.answer = body if self._keeps_bodies else b"{}"
        self.open.pop(task_id, None)
        self.finished += 1
        entry.until_s = until_s  # from now on it counts from the answer
        heapq.heappush(self._ends, (until_s, task_id, ""))
        return True

    def _keep(self, entry: Entry, task_id: str, until_s: float) -> None:
        entry.until_s = max(entry.until_s, until_s)
        heapq.heappush(self._ends, (entry.until_s, task_id, ""))
