"""The answers that can still be fetched: kept for a time to live, and dropped many at once.

One clock entry per answer would cost more memory than the answer. So the answers of one eighth of the time
to live share a generation, which ends whole: an answer lives for its time and up to an eighth more.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

_PARTS = 8
_OVERHEAD_BYTES = 250
"""what a dictionary entry and two small objects take beside the text of an answer"""


@dataclass(slots=True)
class Generation:
    """Answers that end together."""

    closed_s: float
    """no answer is added from then on"""
    until_s: float
    """when all of them are over"""
    bodies: dict[str, bytes] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """idempotency key -> task"""
    segments: Counter[int] = field(default_factory=Counter)
    """journal segment -> how many of these answers it holds"""
    size_bytes: int = 0


class Answers:
    """Finished tasks by id. `max_bytes` is a bound on memory: beyond it the oldest go before their time."""

    def __init__(self, *, ttl_s: float, max_bytes: int):
        self._ttl_s, self._max_bytes = ttl_s, max_bytes
        self._generations: deque[Generation] = deque()

    def __len__(self) -> int:
        return sum(len(generation.bodies) for generation in self._generations)

    def get(self, task_id: str) -> bytes | None:
        """Return the answer that stands: the newest, if a task was given up and then retried."""
        for generation in reversed(self._generations):
            if task_id in generation.bodies:
                return generation.bodies[task_id]
        return None

    def open_generation(self, now_s: float) -> Generation:
        """Return the generation that answers of now belong to."""
        if not self._generations or self._generations[-1].closed_s <= now_s:
            closed_s = now_s + self._ttl_s / _PARTS
            self._generations.append(Generation(closed_s, closed_s + self._ttl_s))
        return self._generations[-1]

    def add(self, generation: Generation, task_id: str, body: bytes, key: str) -> None:
        """Keep an answer, and the key that names it."""
        generation.bodies[task_id] = body
        generation.size_bytes += len(body) + _OVERHEAD_BYTES
        if key:
            generation.keys[key] = task_id

    def expire(self, now_s: float) -> list[Generation]:
        """Drop and return the generations that are over, or too much."""
        over = []
        while self._generations and (
            self._generations[0].until_s <= now_s
            or (len(self._generations) > 1 and self.size_bytes() > self._max_bytes)
        ):
            over.append(self._generations.popleft())
        return over

    def size_bytes(self) -> int:
        """Return about how much memory the answers take."""
        return sum(generation.size_bytes for generation in self._generations)
