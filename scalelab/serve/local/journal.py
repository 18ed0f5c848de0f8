"""Records on disk, appended to segments; a segment is a file, and is dropped when all in it is over.

A record is its length, the CRC-32 of the rest, a number that grows over all journals of a folder, the wall
clock, and a body. It is written by one call, so that the operating system has all of it before anything is
promised: a killed process loses nothing. `sync` puts it on the disk; until then a power cut may lose it.

After a crash the last record may be torn: reading stops there and the file is cut. What is unreadable before
the end of a journal was damaged by something else: it is kept beside the segment, and said.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("scalelab.broker")
HEADER = struct.Struct(">IIQQ")
"""length of the body, CRC-32 of all that follows this field, number, wall clock [ms]"""
_BLANK = bytes(HEADER.size)
_CHECKED_FROM = 8
SEGMENT_BYTES = 4 * 1024 * 1024
_RESERVE_BYTES = 1024 * 1024
_OPEN_FLAGS = os.O_CREAT | os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Record(NamedTuple):
    """What was appended."""

    number: int
    at_s: float
    """wall clock [s since 1970]"""
    body: memoryview
    segment: int


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int = 0
    """number of its first record"""
    last: int = 0
    items: int = 0
    """what in it is not over"""


class Journal:
    """One kind of records. All but `sync` are called by one thread."""

    def __init__(self, folder: Path, name: str, *, segment_bytes: int = SEGMENT_BYTES):
        self._folder, self._name, self._segment_bytes = folder, name, segment_bytes
        self._segments: dict[int, _Segment] = {}
        self._current = 0
        self._fd = -1
        self._size_bytes = 0
        self._is_dirty = False
        self._named = 0
        """the newest segment whose name is on the disk"""
        self._syncing = threading.Lock()
        self._full: list[int] = []
        """files that are complete, to be synced and closed"""

    def replay(self) -> Iterator[Record]:
        """Yield what stands in the files, oldest first; appending begins a new segment."""
        found = sorted(self._folder.glob(f"{self._name}-*.log"))
        for path in found:
            index = int(path.stem.rpartition("-")[2])
            self._current = index
            segment = self._segments[index] = _Segment(path)
            data = memoryview(path.read_bytes())
            good = 0
            for record, good in _records(data, index):  # noqa: B007
                segment.first = segment.first or record.number
                segment.last = record.number
                yield record
            if good < len(data):
                self._cut(path, data, good, is_last=path == found[-1])

    def append(self, number: int, at_s: float, parts: Iterable[bytes], *, items: int = 0) -> int:
        """Write one record with this body in one call; return its segment, which holds `items` more things.

        Raises:
            OSError: it could not be written, for example because the disk is full; nothing of it stays.
        """
        if self._fd < 0 or self._size_bytes >= self._segment_bytes:
            self._open_next()
        record = bytearray().join((_BLANK, *parts))
        HEADER.pack_into(record, 0, len(record) - HEADER.size, 0, number, round(at_s * 1000))
        struct.pack_into(">I", record, 4, zlib.crc32(memoryview(record)[_CHECKED_FROM:]))
        self._write(record)
        segment = self._segments[self._current]
        segment.first = segment.first or number
        segment.last = number
        segment.items += items
        return self._current

    def hold(self, segment: int, items: int = 1) -> None:
        """Count things of a segment that are not over, while it is replayed."""
        self._segments[segment].items += items

    def release(self, segment: int, items: int = 1) -> None:
        """Count things of a segment that are over."""
        self._segments[segment].items -= items

    def oldest(self) -> float:
        """Return the number of the oldest record that a file holds; infinity if there is none."""
        return min((one.first for one in self._segments.values() if one.first), default=float("inf"))

    def sweep(self, *, before: float = float("inf")) -> None:
        """Delete the complete segments of which all is over and all records come before this number."""
        for index, segment in list(self._segments.items()):
            if segment.items <= 0 and index != self._current_open() and segment.last < before:
                try:
                    segment.path.unlink(missing_ok=True)
                except OSError:  # Windows: it is not synced and closed yet
                    continue
                del self._segments[index]

    def older_segments(self) -> list[int]:
        """Return the complete segments."""
        return [index for index in self._segments if index != self._current_open()]

    def roll(self) -> None:
        """Let the next record begin a new segment."""
        if self._fd >= 0:
            self._full.append(self._fd)
            self._fd = -1

    def sync(self) -> None:
        """Put on the disk what was written; slow, and safe beside `append` in another thread."""
        with self._syncing:  # only here are files closed
            while self._full:
                fd = self._full.pop()
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            if self._is_dirty and (fd := self._fd) >= 0:
                self._is_dirty = False
                os.fsync(fd)
                self._sync_names()

    def close(self) -> None:
        """Sync and close."""
        self.roll()
        self.sync()

    def _current_open(self) -> int:
        return self._current if self._fd >= 0 else -1

    def _open_next(self) -> None:
        self.roll()
        index = self._current + 1
        path = self._folder / f"{self._name}-{index:08d}.log"
        self._fd = os.open(path, _OPEN_FLAGS, 0o600)
        self._current, self._size_bytes = index, 0
        self._segments[index] = _Segment(path)

    def _write(self, record: bytearray) -> None:
        written = 0
        try:
            while written < len(record):
                written += os.write(self._fd, memoryview(record)[written:] if written else record)
        except OSError:
            if written:
                os.ftruncate(self._fd, self._size_bytes)
            raise
        self._size_bytes += written
        self._is_dirty = True

    def _sync_names(self) -> None:
        """Put the names of new files on the disk too, where a system asks for that."""
        if self._named == self._current or not hasattr(os, "O_DIRECTORY"):
            return
        self._named = self._current
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _cut(self, path: Path, data: memoryview, good: int, *, is_last: bool) -> None:
        if is_last:
            log.info("%s: the last %d bytes were being written when the process died", path, len(data) - good)
        else:
            aside = path.with_suffix(".damaged")
            aside.write_bytes(data[good:])
            log.error("%s is damaged at byte %d: the rest is kept as %s", path, good, aside)
        os.truncate(path, good)


class Reserve:
    """A file of a megabyte that is given up when the disk is full: answers to what was accepted go there."""

    def __init__(self, folder: Path, size_bytes: int = _RESERVE_BYTES):
        self._path, self._size_bytes = folder / "reserve", size_bytes

    def fill(self) -> None:
        """Have it.

        Raises:
            OSError: the disk is full.
        """
        if self._path.exists():
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(os.urandom(self._size_bytes))  # no zeros: a file system may not store them
            os.replace(fresh, self._path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def give_up(self) -> bool:
        """Free the space; tell whether there was any."""
        had = self._path.exists()
        self._path.unlink(missing_ok=True)
        return had


def _records(data: memoryview, segment: int) -> Iterator[tuple[Record, int]]:
    """Yield each record of a file and where it ends, up to the first that is not whole."""
    at = 0
    while at + HEADER.size <= len(data):
        length, checksum, number, at_ms = HEADER.unpack_from(data, at)
        end = at + HEADER.size + length
        if end > len(data) or zlib.crc32(data[at + _CHECKED_FROM : end]) != checksum:
            return
        yield Record(number, at_ms / 1000, data[at + HEADER.size : end], segment), end
        at = end
