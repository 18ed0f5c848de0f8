"""A limit on the time that a learner's code may take, and on what it prints, inside our own process."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

REPEAT_S = 0.5
"""an answer that swallows the first interruption gets the next one after this time"""
KEPT_CHARACTERS = 4000


class OverLimit(BaseException):
    """The limit has passed. Not an Exception, so that ``except Exception`` in an answer does not stop it."""


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise `OverLimit` inside the block once `limit_s` has passed.

    A timer signal where there is one and we are the main thread: it interrupts sleep and locks too.
    Elsewhere (Windows, a worker thread) a watchdog raises it in this thread at its next step of Python.
    """
    is_main = threading.current_thread() is threading.main_thread()
    started = time.monotonic()
    with _alarm(limit_s) if is_main and hasattr(signal, "setitimer") else _watchdog(limit_s):
        yield
    if time.monotonic() - started > limit_s:  # the interruption was caught by an ``except:`` in the answer
        raise OverLimit


@contextlib.contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    is_over, owner = False, _caller()

    def ring(number: int, frame: FrameType | None) -> None:
        if not is_over and _is_below(frame, owner) and not _is_ours(frame):
            raise OverLimit

    before = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    left_s, every_s = signal.setitimer(signal.ITIMER_REAL, limit_s, REPEAT_S)
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
        if left_s:  # another's timer (a test runner's) goes on with what is left of it
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.monotonic() - started), 0.001), every_s)


@contextlib.contextmanager
def _watchdog(limit_s: float) -> Iterator[None]:
    watched, owner = threading.get_ident(), _caller()
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    ended, lock = threading.Event(), threading.Lock()

    def watch() -> None:
        wait_s = limit_s
        while not ended.wait(wait_s):
            with lock:
                frame = sys._current_frames().get(watched)
                if ended.is_set() or not _is_below(frame, owner):
                    return
                if not _is_ours(frame):
                    set_exception(ctypes.c_ulong(watched), ctypes.py_object(OverLimit))
            wait_s = REPEAT_S

    def stop() -> None:
        ended.set()
        with lock:
            set_exception(ctypes.c_ulong(watched), None)  # one that was sent but not raised yet
        watcher.join()

    watcher = threading.Thread(target=watch, name="time-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        try:
            stop()
        except OverLimit:  # it was on its way when the block ended
            stop()


def _caller() -> FrameType:
    """Return the frame whose block is limited."""
    frame = sys._getframe(1)
    while _is_ours(frame) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_below(frame: FrameType | None, owner: FrameType) -> bool:
    """Tell whether `owner` still runs, with `frame` as its deepest call."""
    while frame is not None and frame is not owner:
        frame = frame.f_back
    return frame is owner


def _is_ours(frame: FrameType | None) -> bool:
    """Tell whether the block is being cleaned up after, which must not be interrupted."""
    return frame is None or frame.f_code.co_filename in {__file__, contextlib.__file__}


class _Tail(io.TextIOBase):
    """Keeps the end of what is written: a learner's endless print must not fill the memory."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text = (self.text + str(text))[-KEPT_CHARACTERS:]
        return len(text)


@contextlib.contextmanager
def printed() -> Iterator[_Tail]:
    """Catch what is printed, to stderr too: nbgrader gives no points to a check cell that writes there."""
    tail = _Tail()
    with (
        _logged_to(tail),
        contextlib.redirect_stdout(tail),  # type: ignore[type-var]
        contextlib.redirect_stderr(tail),  # type: ignore[type-var]
    ):
        yield tail


@contextlib.contextmanager
def _logged_to(tail: _Tail) -> Iterator[None]:
    """Log to `tail` too: a handler that an earlier cell set up holds the old stderr itself."""
    streams = (sys.stdout, sys.stderr)
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in streams
    ]
    before = [handler.setStream(tail) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
