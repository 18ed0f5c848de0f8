"""A lock on a folder or file that the system drops when its holder dies, so it is never stale."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scalelab.core.errors import ConfigError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""a network share without a lock service: its files count as free, not as broken"""
_RETRY_S = 0.005


@contextmanager
def hold_lock(path: Path, *, doing: str) -> Iterator[None]:
    """Hold the lock file at `path`; another process that asks for it meanwhile is refused.

    The file stays behind, unlocked: what counts is the system's lock on it, not that it exists.

    Raises:
        ConfigError: another process holds it; the message has what it is `doing` and its pid.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not try_lock(file):
            file.seek(1)
            raise ConfigError(
                f"{path.parent} is in use: {file.read().strip() or 'another process holds its lock'}",
                hint="wait for it or stop it, or choose another folder",
            )
        file.truncate(0)
        file.write(f" {doing} (pid {os.getpid()})\n")
        file.flush()
        try:
            yield
        finally:
            _unlock(file)


@contextmanager
def locked(file: IO[Any]) -> Iterator[None]:
    """Hold the lock on an open file, waiting for whoever holds it."""
    while not try_lock(file):
        time.sleep(_RETRY_S)
    try:
        yield
    finally:
        _unlock(file)


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file without waiting; closing it drops the lock. Tells whether it was free.

    On Windows the lock covers the first byte, which readers therefore skip.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _unlock(file: IO[Any]) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_UN)
