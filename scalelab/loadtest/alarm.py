"""Sleep until an arrival is due, to some hundredths of a millisecond.

Runs inside the locust process. gevent waits in epoll, which counts whole milliseconds: an arrival would be
sent half a millisecond late on average, and that is a tenth of a fast service's latency. Linux's timerfd
(``man timerfd_create``) ends the wait in time. Elsewhere, or where it is forbidden, gevent's own timer stays.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import gevent

_CLOCK_MONOTONIC = 1
EXACT_TO_PER_S = 2000.0
"""arrivals; with more, to wake for each takes a generator a third more time, and it needs that to keep up"""
_SHORTEST_S = 0.0002
"""a shorter wait takes this long: arrivals that come closer are sent together"""


class _Setting(ctypes.Structure):
    """``struct itimerspec`` of 64-bit Linux."""

    _fields_ = (
        ("interval_s", ctypes.c_int64),
        ("interval_ns", ctypes.c_int64),
        ("first_s", ctypes.c_int64),
        ("first_ns", ctypes.c_int64),
    )


class Alarm:
    """One sleeper: not for two greenlets at a time.

    Args:
        rate_per_s: how often it will be asked; over `EXACT_TO_PER_S` gevent's timer does it.
    """

    def __init__(self, rate_per_s: float = 0.0) -> None:
        self._set, self._timer = _open_timer() if rate_per_s <= EXACT_TO_PER_S else (None, -1)
        self._hub = gevent.get_hub()
        self._sleeper: Any = None
        if self.is_exact:
            # listened to all the time: to start and stop it for each arrival costs two system calls more
            self._ready = self._hub.loop.io(self._timer, 1)
            self._ready.start(self._ring)

    @property
    def is_exact(self) -> bool:
        """Tell whether it can sleep less than a millisecond."""
        return self._timer >= 0

    def sleep(self, seconds: float) -> None:
        """Let other greenlets run for so long; 0 or less: once."""
        if seconds <= 0 or not self.is_exact:
            gevent.sleep(max(0.0, seconds))
            return
        whole_s, ns = divmod(int(1e9 * max(_SHORTEST_S, seconds)), 1_000_000_000)
        self._sleeper = gevent.getcurrent()
        self._set(self._timer, 0, ctypes.byref(_Setting(0, 0, whole_s, ns)), None)
        try:
            self._hub.switch()
        finally:  # whoever sleeps may be killed
            self._sleeper = None

    def close(self) -> None:
        """Give the timer back."""
        if self.is_exact:
            self._ready.stop()
            self._ready.close()
            os.close(self._timer)
            self._timer = -1

    def _ring(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:  # set anew since it rang
            return
        if self._sleeper is not None:
            self._sleeper.switch()


def _open_timer() -> tuple[Any, int]:
    """Return ``timerfd_settime`` and a timer of Linux, or a number below 0 where there is none."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None, -1
    try:
        libc = ctypes.CDLL(None)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        return libc.timerfd_settime, int(libc.timerfd_create(_CLOCK_MONOTONIC, flags))
    except (OSError, AttributeError):
        return None, -1
