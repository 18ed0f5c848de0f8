"""Wait for a file to be saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_S = 0.5


def saves(path: Path, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Yield at once, and then at every save of `path`, counting from 0. Never ends.

    Jupyter saves by replacing the file, so for a moment it may be missing: that is no save. A save counts
    when the file was the same at two looks, so that half of one is not read.
    """
    count, seen = 0, _stamp(path)
    yield count
    while True:
        sleep(POLL_S)
        now = _stamp(path)
        if now is None or now == seen:
            continue
        sleep(POLL_S)
        if _stamp(path) == now:
            seen = now
            count += 1
            yield count


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
