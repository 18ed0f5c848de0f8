"""Every task of the local broker and where it is. No files, no sockets, no clock: time is an argument.

An entry is in exactly one place, its `home`: a queue of its priority, the orphans (their worker died; each is
given out alone), the delayed ones, a worker's hands, or the exhausted ones (out of attempts, to be buried).
An answer takes it out of any of them, so a late answer of a worker thought dead still counts.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scalelab.serve.broker import BrokerLimits, Health, Placed, Put
from scalelab.serve.local.answers import Answers, Generation
from scalelab.serve.protocol import PRIORITIES

MAX_LETTERS = 1000
"""dead letters kept; beyond it the oldest goes"""
MAX_ANSWER_BYTES = 256 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Entry:
    """A task without an answer."""

    task_id: str
    packed: bytes
    """as `Task.pack` gives it: written to the journal and to the worker's wire as it is"""
    deadline_s: float
    priority: int
    key: str
    digest: str
    queued_s: float
    attempts: int = 0
    """deliveries so far"""
    segment: int = 0
    """of the journal, which holds it"""
    home: OrderedDict[str, Entry] = field(default_factory=OrderedDict)


@dataclass(frozen=True)
class Letter:
    """A task that was given up."""

    packed: bytes
    reason: str
    at_s: float
    """wall clock [s since 1970]"""
    segment: int = 0


class Table:
    """The laws of `serve.broker`, in memory."""

    def __init__(self, limits: BrokerLimits, *, max_answer_bytes: int = MAX_ANSWER_BYTES):
        self._limits = limits
        self.open: dict[str, Entry] = {}
        self.answers = Answers(ttl_s=limits.result_ttl_s, max_bytes=max_answer_bytes)
        self.keys: dict[str, tuple[str, str]] = {}
        """idempotency key -> task, digest"""
        self.letters: dict[str, Letter] = {}
        self.exhausted: OrderedDict[str, Entry] = OrderedDict()
        self.finished = 0
        """answers ever given"""
        self._queues: tuple[OrderedDict[str, Entry], ...] = tuple(OrderedDict() for _ in PRIORITIES)
        self._orphans: OrderedDict[str, Entry] = OrderedDict()
        self._delayed: OrderedDict[str, Entry] = OrderedDict()
        self._ready_s: list[tuple[float, str]] = []
        """heap: when a delayed task may be taken"""
        self._held: dict[str, OrderedDict[str, Entry]] = {}
        self._seen: dict[str, tuple[float, float, bool]] = {}
        """worker -> when it was heard of, how long it may be silent, whether this process heard it"""

    def put(self, puts: Sequence[Put], now_s: float) -> tuple[list[Placed], list[Entry]]:
        """Queue tasks; return what became of each, and the entries that are new."""
        placed, fresh = [], []
        for put in puts:
            task = put.task
            task_id = task.task_id
            used = self.keys.get(put.key) if put.key else None
            if used is not None:
                placed.append(Placed(*used))
                continue
            if task_id in self.open or self.answers.get(task_id) is not None:
                placed.append(Placed(task_id, put.digest))  # the same put again: it stands
                continue
            if len(self.open) >= self._limits.max_depth:
                placed.append(Placed(""))
                continue
            queue = self._queues[task.priority]
            packed, key = task.pack(), put.key
            entry = Entry(task_id, packed, task.deadline_s, task.priority, key, put.digest, now_s, home=queue)
            queue[task_id] = self.open[task_id] = entry
            if key:
                self.keys[key] = (task_id, put.digest)
            placed.append(Placed(task_id, put.digest))
            fresh.append(entry)
        return placed, fresh

    def restore(self, entry: Entry) -> None:
        """Queue an entry, whatever stood for its task before."""
        self.open[entry.task_id] = entry
        if entry.key:
            self.keys[entry.key] = (entry.task_id, entry.digest)
        self._move(entry, self._queues[entry.priority])

    def forget(self, entries: Iterable[Entry]) -> None:
        """Undo a `put` that could not be written down."""
        for entry in entries:
            entry.home.pop(entry.task_id)
            self.open.pop(entry.task_id)
            self.keys.pop(entry.key, None)

    def count_ready(self, now_s: float) -> int:
        """Return how many tasks `take` could give out now."""
        while self._ready_s and self._ready_s[0][0] <= now_s:
            entry = self._delayed.get(heapq.heappop(self._ready_s)[1])
            if entry is not None:
                self._move(entry, self._queues[entry.priority])
                self._queues[entry.priority].move_to_end(entry.task_id, last=False)  # it is the oldest
        return len(self._orphans) or sum(map(len, self._queues))

    def take(self, worker: str, max_tasks: int, now_s: float) -> list[Entry]:
        """Give tasks to a worker: one orphan, or up to `max_tasks` of the highest priority, oldest first."""
        if not self.count_ready(now_s):
            return []
        taken: list[Entry] = []
        if self._orphans:
            taken.append(self._orphans.popitem(last=False)[1])
        for queue in () if taken else self._queues:
            while queue and len(taken) < max_tasks:
                taken.append(queue.popitem(last=False)[1])
        hands = self._hands(worker)
        for entry in taken:
            entry.attempts += 1
            entry.home = hands
            hands[entry.task_id] = entry
        return taken

    def take_over(self, worker: str, now_s: float) -> list[Entry]:
        """Give one orphan to a worker, if there is one."""
        return self.take(worker, 1, now_s) if self._orphans else []

    def finish(self, said: Iterable[tuple[str, bytes]], now_s: float) -> tuple[list[Entry], Generation]:
        """Store answers; return the entries that had none before, and where these answers are kept."""
        generation = self.answers.open_generation(now_s)
        closed = []
        for task_id, body in said:
            entry = self.open.pop(task_id, None)
            if entry is not None:
                entry.home.pop(task_id)
                self.answers.add(generation, task_id, body, entry.key)
                closed.append(entry)
        self.finished += len(closed)
        return closed, generation

    def look_up(self, task_id: str) -> bytes | None:
        """Return the answer; empty bytes for a task without one, None for an unknown task."""
        return b"" if task_id in self.open else self.answers.get(task_id)

    def give_back(self, worker: str, task_ids: Iterable[str], *, ready_s: float) -> None:
        """Let tasks that a worker holds be taken again from `ready_s` on; those out of attempts exhaust."""
        for entry in self._of(worker, task_ids):
            if self._has_attempts(entry):
                self._move(entry, self._delayed)
                heapq.heappush(self._ready_s, (ready_s, entry.task_id))

    def untake(self, worker: str, task_ids: Iterable[str]) -> None:
        """Queue tasks again that a worker was given and has not begun: that was no attempt."""
        for entry in self._of(worker, task_ids)[::-1]:
            entry.attempts -= 1
            self._move(entry, self._queues[entry.priority])
            self._queues[entry.priority].move_to_end(entry.task_id, last=False)

    def adopt(self, worker: str, task_ids: Iterable[str], now_s: float, *, ttl_s: float) -> None:
        """A worker has come (again) and holds these tasks; what else was given to it has not reached it."""
        self.see(worker, now_s, ttl_s)
        hands = self._hands(worker)
        mine = set(task_ids)
        for entry in [entry for task_id, entry in hands.items() if task_id not in mine]:
            self._orphan(entry)
        for task_id in mine - hands.keys():
            entry = self.open.get(task_id)
            waits = (*self._queues, self._orphans, self._delayed)
            if entry is not None and any(entry.home is place for place in waits):
                self._move(entry, hands)

    def recall(self, worker: str, task_ids: Iterable[str]) -> None:
        """Repeat a `take` that the journal tells of."""
        hands = self._hands(worker)
        for task_id in task_ids:
            if (entry := self.open.get(task_id)) is not None:
                entry.attempts += 1
                self._move(entry, hands)

    def recall_answer(
        self, task_id: str, body: bytes, named: tuple[str, str] | None, then_s: float
    ) -> tuple[Entry | None, Generation | None]:
        """Repeat one answer of the journal; the record of its task may be gone already.

        Args:
            named: the idempotency key of the task and its digest, if it had one.
        """
        if task_id in self.open:
            (entry,), generation = self.finish([(task_id, body)], then_s)
            return entry, generation
        if self.answers.get(task_id) is not None:
            return None, None
        generation = self.answers.open_generation(then_s)
        self.answers.add(generation, task_id, body, named[0] if named else "")
        if named:
            self.keys[named[0]] = (task_id, named[1])
        return None, generation

    def expect_holders(self, now_s: float) -> None:
        """After a restart: what is in a worker's hands stays there until it had time to come back."""
        for worker, hands in self._held.items():
            if hands:
                self._seen[worker] = (now_s, self._limits.worker_ttl_s, False)

    def see(self, worker: str, now_s: float, ttl_s: float) -> None:
        """Note that a worker lives; it may be silent for `ttl_s` from now."""
        self._seen[worker] = (now_s, ttl_s, True)

    def lose(self, worker: str) -> None:
        """A worker is dead: what it held goes to others, each task alone."""
        self._seen.pop(worker, None)
        for entry in list(self._held.pop(worker, {}).values()):
            self._orphan(entry)

    def silent(self, now_s: float) -> list[str]:
        """Return the workers that were silent for too long."""
        return [name for name, (seen_s, ttl_s, _) in self._seen.items() if now_s - seen_s > ttl_s]

    def shift(self, late_s: float) -> None:
        """Let all workers live on by `late_s`: it was this process that stood still, and could not hear."""
        self._seen = {name: (seen_s + late_s, *rest) for name, (seen_s, *rest) in self._seen.items()}

    def bury(self, task_id: str, letter: Letter) -> list[Letter]:
        """Keep a dead letter; return those that had to go for it."""
        self.letters[task_id] = letter
        return [self.letters.pop(next(iter(self.letters))) for _ in range(len(self.letters) - MAX_LETTERS)]

    def expire(self, now_s: float) -> list[Generation]:
        """Drop the answers and keys whose time is over, and return them."""
        over = self.answers.expire(now_s)
        for generation in over:
            for key, task_id in generation.keys.items():
                if self.keys.get(key, ("",))[0] == task_id:
                    del self.keys[key]
        return over

    def health(self, now_s: float) -> Health:
        """Return the state of the queue."""
        oldest_s = next((entry.queued_s for entry in self.open.values()), now_s)  # as they were put
        workers = sum(is_here for _, _, is_here in self._seen.values())
        age_s = max(0.0, now_s - oldest_s)
        return Health(len(self.open), workers, len(self.letters), self.held_count(), age_s)

    def held_count(self) -> int:
        """Return how many tasks are in workers' hands."""
        return sum(map(len, self._held.values()))

    def _orphan(self, entry: Entry) -> None:
        if self._has_attempts(entry):
            self._move(entry, self._orphans)

    def _has_attempts(self, entry: Entry) -> bool:
        if entry.attempts < self._limits.max_attempts:
            return True
        self._move(entry, self.exhausted)
        return False

    def _hands(self, worker: str) -> OrderedDict[str, Entry]:
        return self._held.setdefault(worker, OrderedDict())

    def _of(self, worker: str, task_ids: Iterable[str]) -> list[Entry]:
        hands = self._held.get(worker, {})
        return [hands[task_id] for task_id in task_ids if task_id in hands]

    def _move(self, entry: Entry, home: OrderedDict[str, Entry]) -> None:
        entry.home.pop(entry.task_id, None)
        entry.home = home
        home[entry.task_id] = entry
