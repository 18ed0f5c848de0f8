"""A learner process as the judge holds it: a channel to ask through, a way to end it, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ending:
    """How a learner process ended, and what it took."""

    how: str
    """ok, exit N, signal N, memory, time, processes (a limit), killed (by us), lost, not started: why"""
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    """of the learner process and all that it started, what it shares with the warm process included"""
    wall_s: float = 0.0


class Learner:
    """One learner process; leaving its ``with`` block ends it.

    Args:
        channel: what it is asked through.
        end: ends the process with all that it started, and tells how that was, or how it had ended by itself.
    """

    def __init__(self, channel: Any, end: Callable[[], Ending]):
        self.channel = channel
        self._end = end
        self._ending: Ending | None = None

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> Ending:
        """End it, if it has not ended by itself; return how that was."""
        if self._ending is None:
            self._ending = self._end()
            self.channel.close()
        return self._ending

    @property
    def ended(self) -> str:
        """How it ended; ends it, if it still runs."""
        return self.kill().how
