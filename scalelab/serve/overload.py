"""When to say "not now": the queue is full, or so long that the answer would come too late for who asks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from scalelab.serve.broker import PutReport
from scalelab.serve.protocol import Problem

_FRESH_S = 0.5
"""what the broker said of its queue, less the answers since, is true so long; then a task is tried"""
_MARGIN = 0.8
"""so much of the time that a request has may be spent in the queue: a rate is known to a few tenths"""
_FULL_S = 0.02
"""that there was no room for a task is taken for true so long"""
_SOON_S, _USUAL_S, _LATE_S = 0.25, 1.0, 2.0
_FEW, _MANY = 8, 32
"""a rate is measured over a second if it has many answers, else over two; for a first guess few are enough"""


class Overload:
    """What a gateway knows of the queue, from the last report of its broker."""

    def __init__(self, max_depth: int, *, clock: Callable[[], float] = time.monotonic):
        self.rate = DrainRate(clock=clock)
        self._max_depth, self._clock = max_depth, clock
        self._depth, self._is_full, self._noted_s = 0, False, float("-inf")

    def note(self, report: PutReport) -> None:
        """Take a report into account."""
        self._depth, self._noted_s = report.depth, self._clock()
        self._is_full = not all(placed.task_id for placed in report.placed)
        taken = sum(bool(placed.task_id) for placed in report.placed)
        self.rate.note(report.finished, report.depth, before=report.depth - taken)

    def answered(self, count: int) -> None:
        """Take answers into account that came since the last report."""
        self._depth = max(0, self._depth - count)

    def is_full(self) -> bool:
        """Tell whether the broker refused a task a moment ago: it need not be asked again at once."""
        return self._is_full and self._clock() - self._noted_s < _FULL_S

    def check_delay(self, limit_s: float) -> None:
        """Let pass who can be answered in `limit_s`, as far as one knows.

        Raises:
            Problem: 429; the work that is queued takes longer.
        """
        capacity_per_s = self.rate.capacity_per_s
        is_fresh = self._clock() - self._noted_s < _FRESH_S
        if not capacity_per_s or self._depth <= _MARGIN * limit_s * capacity_per_s or not is_fresh:
            return
        delay_s = self._depth / capacity_per_s
        wait_s = whole_seconds(delay_s - _MARGIN * limit_s)
        raise Problem(
            429,
            f"{self._depth} tasks are queued, about {delay_s:.3g} s of work; this request has {limit_s:g} s",
            hint=f"try again in {wait_s} s; without wait_s it is queued, with priority=high it goes first",
            headers={"retry-after": str(wait_s)},
        )

    def full(self) -> Problem:
        """Return what is told to who finds the queue full."""
        wait_s = self.rate.retry_after_s(self._depth)
        return Problem(
            429,
            f"{self._depth} tasks are queued, the limit is {self._max_depth}",
            hint=f"try again in {wait_s} s; {self.rate.per_second:.0f} tasks are answered a second",
            headers={"retry-after": str(wait_s)},
        )


class DrainRate:
    """How fast the queue empties, from the count of answers over the last moment, at most two seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._mark: tuple[float, int] | None = None
        self._lowest = 0
        """tasks without an answer since the mark, at the least: between two reports there are ever fewer"""
        self.per_second = 0.0
        self.capacity_per_s = 0.0
        """the same, if the workers had enough to do all the time, else 0: what they can do is not known"""

    def note(self, finished: int, depth: int, *, before: int) -> None:
        """Take a report into account.

        Args:
            finished: answers ever given.
            depth: tasks without an answer, with those that were just put.
            before: the same without them.
        """
        now_s = self._clock()
        if self._mark is None:
            self._mark, self._lowest = (now_s, finished), depth
            return
        self._lowest = min(self._lowest, before)
        elapsed_s, drained = now_s - self._mark[0], max(0, finished - self._mark[1])
        is_known = self.capacity_per_s > 0
        soon_s = _SOON_S if drained >= _FEW and not is_known else _USUAL_S if drained >= _MANY else _LATE_S
        if elapsed_s < soon_s:
            return
        self.per_second = drained / elapsed_s
        # answers come in batches, so a window has more or less
        smooth = (self.capacity_per_s + self.per_second) / 2 if is_known else self.per_second
        self.capacity_per_s = smooth if self._lowest >= _FEW else 0.0
        self._mark, self._lowest = (now_s, finished), depth

    def retry_after_s(self, depth: int) -> int:
        """Return whole seconds until half of the queue is answered at the measured rate, 1 to 60."""
        if self.per_second <= 0:
            return 1 if self._mark is None else 5
        return whole_seconds(depth / 2 / self.per_second)


def whole_seconds(wait_s: float) -> int:
    """Return what fits into Retry-After: 1 to 60."""
    return min(60, max(1, math.ceil(wait_s)))
