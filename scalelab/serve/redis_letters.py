"""The dead letters of a queue over Redis Streams."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from scalelab.serve.broker import BrokerLimits, DeadLetter
from scalelab.serve.protocol import Task
from scalelab.serve.redis_broker import connect, key_prefix, reaching, stream_keys
from scalelab.serve.redis_scripts import GROUP, RETRY


class RedisDeadLetters:
    """Letters are entries of one stream; the oldest go when there are over a thousand."""

    def __init__(self, url: str, *, queue: str, limits: BrokerLimits):
        self._client = connect(url)
        self._prefix, self._streams, self._limits = key_prefix(queue), stream_keys(queue), limits
        self._dead = self._prefix + "dead"
        self._retry = self._client.register_script(RETRY)

    def list(self, limit: int) -> list[DeadLetter]:
        """Return the newest letters, the newest last."""
        with reaching():
            found = self._client.xrevrange(self._dead, count=limit)
        return [
            DeadLetter(
                fields[b"id"].decode(),
                fields[b"reason"].decode(),
                int(entry.partition(b"-")[0]) / 1000,
                Task.unpack(fields[b"p"]).payload,
            )
            for entry, fields in reversed(found)
        ]

    def retry(self, ids: Sequence[str]) -> int:
        """Queue these tasks anew, with all attempts before them and without their answer; return how many."""
        args: builtins.list[Any] = []
        for entry, packed in self._find(ids):
            task = Task.unpack(packed)
            ttl_ms = round((task.deadline_s + self._limits.result_ttl_s) * 1000)
            args += [entry, task.task_id, packed, task.priority, task.reply_to, ttl_ms]
        with reaching():
            return int(self._retry(keys=self._streams, args=[self._prefix, GROUP, *args])) if args else 0

    def drop(self, ids: Sequence[str]) -> int:
        """Forget these letters; return how many there were. The answer "failed" stays."""
        entries = [entry for entry, _ in self._find(ids)]
        with reaching():
            return int(self._client.xdel(self._dead, *entries)) if entries else 0

    def _find(self, ids: Sequence[str]) -> builtins.list[tuple[bytes, bytes]]:
        wanted = {task_id.encode() for task_id in ids}
        with reaching():
            found = self._client.xrange(self._dead)
        return [(entry, fields[b"p"]) for entry, fields in found if fields[b"id"] in wanted]
