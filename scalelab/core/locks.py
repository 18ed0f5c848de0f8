"""A lock on a folder or file that the system drops when its holder dies, so it is never stale."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scalelab.core.errors import ConfigError


@contextmanager
def hold_lock(path: Path, *, doing: str) -> Iterator[None]:
    """Hold the lock file at `path`; another process that asks for it meanwhile is refused.

    The file stays behind, unlocked: what counts is the system's lock on it, not that it exists.

    Raises:
        ConfigError: another process holds it; the message has what it is `doing` and its pid.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _try_lock(file):
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


def _try_lock(file: IO[Any]) -> bool:
    """Lock without waiting; on Windows the lock covers the first byte, which readers therefore skip."""
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
