"""Table and journal together: what is said to anyone was written before.

Three journals, by how long their records matter: tasks (seconds), answers (their time to live), dead letters
(until a person has looked). All are replayed in the order of their numbers. An answer must outlive the record
of its task, or that would run again after a restart: so answers are only dropped when no older record of a
task is left, and tasks that wait for long are written anew, which lets their old segment go.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from scalelab.core.errors import ConfigError
from scalelab.core.locks import try_lock
from scalelab.core.paths import make_folder
from scalelab.serve.broker import BrokerAway, BrokerLimits, DeadLetter, Placed, Put
from scalelab.serve.local import records
from scalelab.serve.local.journal import SEGMENT_BYTES, Journal, Record, Reserve
from scalelab.serve.local.table import Entry, Letter, Table
from scalelab.serve.protocol import CANCELLED, FAILED, Task, answer

log = logging.getLogger("scalelab.broker")
Answered = list[tuple[str, bytes]]
_REWRITES = 4
"""tasks without an answer are written anew this often within the time to live of answers"""


class Ledger:
    """The state of the local broker, in a folder that one process holds."""

    def __init__(
        self,
        folder: Path,
        limits: BrokerLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        segment_bytes: int = SEGMENT_BYTES,
    ):
        self._clock, self._wall, self._limits = clock, wall, limits
        self.table = Table(limits)
        make_folder(folder)
        self._lock = _hold(folder)
        self._number = 0
        self._reserve = Reserve(folder)
        self._tasks, self._answers, self._letters = (
            Journal(folder, name, segment_bytes=segment_bytes) for name in ("tasks", "answers", "letters")
        )
        self._rewritten_s = clock()
        self._replay()
        self._is_full = not self._can_reserve()

    def put(self, puts: Sequence[Put]) -> list[Placed]:
        """Queue tasks; all that are new are on record when this returns.

        Raises:
            BrokerAway: the disk is full or gone; none of them is accepted.
        """
        if self._is_full:
            raise _disk_away("it is full")
        placed, fresh = self.table.put(puts, self._clock())
        if fresh:
            try:
                self._write_tasks(fresh)
            except OSError as error:
                self.table.forget(fresh)
                self._is_full = True
                raise _disk_away(error) from None
        return placed

    def take(self, worker: str, max_tasks: int) -> list[Entry]:
        """Give tasks to a worker."""
        return self._note_taken(worker, self.table.take(worker, max_tasks, self._clock()))

    def take_over(self, worker: str) -> list[Entry]:
        """Give one task of a dead worker to another."""
        return self._note_taken(worker, self.table.take_over(worker, self._clock()))

    def finish(self, data: bytes, start: int = 0) -> Answered:
        """Store the packed answers in `data` from `start` on; return those that were the first.

        Raises:
            BrokerAway: they cannot be written now; nothing has changed, and they may come again.
            ValueError: these bytes are no answers.
        """
        said, entries, wall_s = [], [], self._wall()
        letters: list[tuple[Entry, str]] = []
        for task_id, body, reason in records.unpack_answers(data, start):
            said.append((task_id, body))
            if (entry := self.table.open.get(task_id)) is not None:
                entries.append(entry)
                if reason:
                    letters.append((entry, reason))
        if not entries:
            return []
        keyed = [entry for entry in entries if entry.key]
        try:
            for entry, reason in letters:
                self._bury(entry, reason, wall_s)
            segment = self._write_answers(wall_s, records.pack_answers(keyed, memoryview(data)[start:]))
        except OSError as error:
            raise _disk_away(error) from None
        closed, generation = self.table.finish(said, self._clock())
        generation.segments[segment] += len(closed)
        self._answers.hold(segment, len(closed))
        for entry in closed:
            self._tasks.release(entry.segment)
        if len(closed) == len(said):
            return said
        first = {entry.task_id for entry in closed}
        return [pair for pair in dict(said[::-1]).items() if pair[0] in first]

    def look_up(self, task_ids: Iterable[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""
        self._expire()
        return [self.table.look_up(task_id) for task_id in task_ids]

    def cancel(self, task_id: str) -> tuple[bytes | None, Answered]:
        """Answer a task that has none; return the answer that stands, and what is new."""
        stands = self.table.look_up(task_id)
        if stands != b"":
            return stands, []
        body = answer(task_id, CANCELLED, error="cancelled before it was answered")
        new = self.finish(records.pack_answer(task_id, body))
        return body, new

    def bury_exhausted(self) -> Answered:
        """Give up the tasks that are out of attempts; return their answers."""
        answered: Answered = []
        for entry in list(self.table.exhausted.values()):
            reason = f"its worker died or gave it back {entry.attempts} times"
            body = answer(entry.task_id, FAILED, error=reason, attempts=entry.attempts)
            answered += self.finish(records.pack_answer(entry.task_id, body, reason))
        return answered

    def letters(self, limit: int) -> list[DeadLetter]:
        """Return the newest dead letters, newest last."""
        found = list(self.table.letters.items())[-limit:] if limit > 0 else []
        return [
            DeadLetter(task_id, letter.reason, letter.at_s, Task.unpack(letter.packed).payload)
            for task_id, letter in found
        ]

    def retry_letters(self, task_ids: Iterable[str]) -> int:
        """Queue given-up tasks anew."""
        known = [task_id for task_id in dict.fromkeys(task_ids) if task_id in self.table.letters]
        now_s = self._clock()
        entries = [records.new_entry(self.table.letters[task_id].packed, now_s) for task_id in known]
        if entries:
            try:
                self._write_tasks(entries)
            except OSError as error:
                raise _disk_away(error) from None
            for entry in entries:
                self.table.restore(entry)
        return self.drop_letters(known)

    def drop_letters(self, task_ids: Iterable[str]) -> int:
        """Forget dead letters; the others are written anew, so that no old record brings these back."""
        letters = self.table.letters
        dropped = [letters.pop(task_id) for task_id in dict.fromkeys(task_ids) if task_id in letters]
        if not dropped:
            return 0
        for letter in (*dropped, *letters.values()):
            self._letters.release(letter.segment)
        self._letters.roll()
        for task_id, letter in list(letters.items()):
            letters[task_id] = self._write_letter(letter)
        self._letters.sync()
        self._letters.sweep()
        return len(dropped)

    def tick(self) -> None:
        """Let go of what is over; called a few times a second."""
        now_s = self._clock()
        self._expire()
        if self._is_full:
            self._is_full = not self._can_reserve()
        elif now_s - self._rewritten_s >= self._limits.result_ttl_s / _REWRITES:
            self._rewritten_s = now_s
            self._rewrite_tasks()
        self._tasks.sweep()
        self._answers.sweep(before=self._tasks.oldest())
        self._letters.sweep()

    def sync(self) -> None:
        """Put on the disk what was written; slow, and safe beside the other calls in another thread."""
        for journal in (self._tasks, self._answers, self._letters):
            journal.sync()

    def close(self) -> None:
        """Sync, and let another process have the folder."""
        for journal in (self._tasks, self._answers, self._letters):
            journal.close()
        self._lock.close()

    def _expire(self) -> None:
        for generation in self.table.expire(self._clock()):
            for segment, count in generation.segments.items():
                self._answers.release(segment, count)

    def _write_tasks(self, entries: Sequence[Entry]) -> None:
        parts = records.pack_tasks(entries, self._clock())
        segment = self._tasks.append(self._next(), self._wall(), parts, items=len(entries))
        for entry in entries:
            entry.segment = segment

    def _write_answers(self, wall_s: float, parts: Iterable[bytes | memoryview]) -> int:
        parts = tuple(parts)
        try:
            return self._answers.append(self._next(), wall_s, parts)
        except OSError:
            self._is_full = True
            if not self._reserve.give_up():
                raise
            return self._answers.append(self._next(), wall_s, parts)

    def _bury(self, entry: Entry, reason: str, wall_s: float) -> None:
        letter = self._write_letter(Letter(entry.packed, reason, wall_s))
        self._keep_letter(entry.task_id, letter)

    def _keep_letter(self, task_id: str, letter: Letter) -> None:
        old = self.table.letters.pop(task_id, None)
        for gone in (*self.table.bury(task_id, letter), *([old] if old else [])):
            self._letters.release(gone.segment)

    def _write_letter(self, letter: Letter) -> Letter:
        segment = self._letters.append(self._next(), letter.at_s, (records.pack_letter(letter),), items=1)
        return Letter(letter.packed, letter.reason, letter.at_s, segment)

    def _note_taken(self, worker: str, entries: list[Entry]) -> list[Entry]:
        if entries:
            try:
                self._tasks.append(self._next(), self._wall(), records.pack_taken(worker, entries))
            except OSError as error:  # then a restart gives them out at once, and not after their worker
                log.debug("a take is not on record: %s", error)
        return entries

    def _rewrite_tasks(self) -> None:
        old = set(self._tasks.older_segments())
        waiting = [entry for entry in self.table.open.values() if entry.segment in old]
        self._tasks.roll()
        for start in range(0, len(waiting), 64):
            entries = waiting[start : start + 64]
            before = [entry.segment for entry in entries]
            try:
                self._write_tasks(entries)
            except OSError:  # they stand where they stood
                self._is_full = True
                return
            for segment in before:
                self._tasks.release(segment)

    def _can_reserve(self) -> bool:
        try:
            self._reserve.fill()
        except OSError:
            return False
        return True

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _replay(self) -> None:
        journals = (self._tasks, self._answers, self._letters)
        now_s, wall_s = self._clock(), self._wall()
        for record in heapq.merge(*(journal.replay() for journal in journals), key=lambda one: one.number):
            self._number = record.number
            age_s = max(0.0, wall_s - record.at_s)  # a wall clock may jump back
            self._redo(record, now_s - age_s)
        self.table.expect_holders(now_s)

    def _redo(self, record: Record, then_s: float) -> None:
        kind, body, segment = bytes(record.body[:1]), record.body, record.segment
        table = self.table
        if kind == records.TASKS:
            for entry in records.unpack_tasks(body, then_s, segment=segment):
                if (old := table.open.get(entry.task_id)) is not None:  # written anew
                    self._tasks.release(old.segment)
                    table.forget([old])
                table.restore(entry)
                self._tasks.hold(segment)
        elif kind == records.TAKEN:
            table.recall(*records.unpack_taken(body))
        elif kind == records.ANSWERS:
            keys, start = records.unpack_keys(body)
            for task_id, said, _ in records.unpack_answers(body, start):
                entry, generation = table.recall_answer(task_id, said, keys.get(task_id), then_s)
                if entry is not None:
                    self._tasks.release(entry.segment)
                if generation is not None:
                    generation.segments[segment] += 1
                    self._answers.hold(segment)
        elif kind == records.LETTER:
            task_id, letter = records.unpack_letter(body, segment=segment)
            self._letters.hold(segment)
            self._keep_letter(task_id, letter)


def _hold(folder: Path) -> IO[bytes]:
    file = (folder / "lock").open("ab")
    if try_lock(file):
        return file
    file.close()
    raise ConfigError(
        f"another process keeps its queue in {folder}", hint="stop it, or give this stack a folder of its own"
    )


def _disk_away(why: object) -> BrokerAway:
    return BrokerAway(
        f"the queue's journal cannot be written: {why}",
        hint="free space on the disk; what was accepted is kept",
    )
