"""All connections of a server: who is idle, who is still sending a request, and for how long already."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Connection(Protocol):
    """A connection as it is seen from here."""

    def close(self) -> None:
        """End it; what was written is sent before."""

    def expire(self) -> None:
        """End it, since it took too long; say so if it is sending a request."""


class Connections:
    """The connections of a server, each as long as it waits for its client.

    Both dictionaries are in the order of time, so that a sweep looks only at those whose time is over: ten
    thousand idle connections cost nothing.
    """

    def __init__(
        self,
        limit: int,
        *,
        idle_timeout_s: float,
        upload_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.limit, self._clock = limit, clock
        self._idle_timeout_s, self._upload_timeout_s = idle_timeout_s, upload_timeout_s
        self._idle: dict[Connection, float] = {}
        self._sending: dict[Connection, float] = {}

    def note_idle(self, one: Connection) -> None:
        """Note that a connection waits for its next request."""
        self._idle[one] = self._clock()

    def note_active(self, one: Connection) -> None:
        """Note that something came over a connection."""
        self._idle.pop(one, None)

    def note_sending(self, one: Connection) -> None:
        """Note that a request has begun and is not whole; the first such note counts."""
        self._sending.setdefault(one, self._clock())

    def note_sent(self, one: Connection) -> None:
        """Note that a request is whole."""
        self._sending.pop(one, None)

    def forget(self, one: Connection) -> None:
        """Note that a connection is gone."""
        self._idle.pop(one, None)
        self._sending.pop(one, None)

    def make_room(self) -> bool:
        """Close the longest idle connection; tell whether there was one."""
        for one in self._idle:
            del self._idle[one]
            one.close()
            return True
        return False

    def sweep(self) -> None:
        """End what took too long."""
        now_s = self._clock()
        for waiting, limit_s in (
            (self._idle, self._idle_timeout_s),
            (self._sending, self._upload_timeout_s),
        ):
            late = []
            for one, since_s in waiting.items():
                if now_s - since_s < limit_s:
                    break
                late.append(one)
            for one in late:
                del waiting[one]
                one.expire()
