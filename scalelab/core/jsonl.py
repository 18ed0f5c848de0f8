"""Files of JSON lines that only grow, safe to append to from several processes and under kill -9.

A line is written by one call under the file's lock; a line that a killed process left half-written is moved
aside at the next append, and said.
"""

from __future__ import annotations

import errno
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO

from scalelab.core.locks import locked


class TornRecordWarning(UserWarning):
    """A store ended in half a line; the half was moved to a file beside it."""


def append_line(path: Path, line: bytes) -> None:
    """Add one line (without its end): on return it is on the disk; where that fails, nothing was added.

    Raises:
        OSError: the file cannot be written: a full disk, a folder that is read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = line + b"\n"
    # unbuffered: what a full disk refused would be written once more when the file is closed
    with path.open("ab+", buffering=0) as file, locked(file):
        _move_torn_line(path, file)
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(whole) < len(whole):
                raise OSError(errno.ENOSPC, "no space for a whole line", str(path))
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.ftruncate(file.fileno(), size)
            raise


def read_lines(path: Path) -> list[bytes]:
    """Return all whole lines, oldest first; an unfinished last line is left out (and said)."""
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        warnings.warn(f"{path} ends in half a line of {len(rest)} bytes", TornRecordWarning, stacklevel=3)
    return lines


def _move_torn_line(path: Path, file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    keep = file.read().rfind(b"\n") + 1
    file.seek(keep)
    torn = file.read()
    aside = path.with_suffix(path.suffix + ".torn")
    with aside.open("ab") as into:
        into.write(torn + b"\n")
    file.truncate(keep)
    warnings.warn(
        f"{path} ended in half a line (a run was killed while it wrote); moved to {aside.name}",
        TornRecordWarning,
        stacklevel=4,
    )
