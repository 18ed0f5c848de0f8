"""Zip archives from strangers, read in memory: nothing in them decides where a file goes or how much is read.

Nothing is unpacked onto the disk. A name that leads outside, a link, a password, or more bytes than the limit
refuses the archive, with a reason that names the member.
"""

from __future__ import annotations

import re
import stat
import time
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from scalelab.core.units import format_bytes
from scalelab.grader.cells import Refused

MAX_MEMBERS = 50_000
"""of a download of a whole class"""
_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    """its path with ``/``, relative"""
    size_bytes: int
    """as the archive claims it"""
    modified_s: float
    """local time when it was last changed [epoch s]"""
    raw_name: str
    """its name as the archive has it"""


class Archive:
    """A zip archive, open as long as somebody holds it.

    Raises:
        Refused: it is no zip archive, or holds something that an honest one does not.
    """

    def __init__(self, file: IO[bytes], *, limit: int = MAX_MEMBERS):
        weakref.finalize(self, file.close)
        with _breaking_kindly():
            self._zip = zipfile.ZipFile(file)
            entries = self._zip.infolist()
            if len(entries) > limit:
                raise Refused(f"the archive holds {len(entries)} files, and {limit} is the limit")
            self.members = [_checked(entry) for entry in entries if not entry.is_dir()]
        names: set[str] = set()
        for member in self.members:
            if member.name in names:
                raise Refused(f"the archive holds {member.name[:80]!r} twice")
            names.add(member.name)

    def read(self, member: Member, *, limit: int) -> bytes:
        """Return the content of a member.

        Raises:
            Refused: it is damaged, or holds more than `limit` bytes, whatever the archive claims.
        """
        with _breaking_kindly(), self._zip.open(member.raw_name) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise Refused(f"{member.name[:80]!r} in the archive has more than {format_bytes(limit)}")
        return content


@contextmanager
def _breaking_kindly() -> Iterator[None]:
    """Make a refusal of whatever a broken archive makes of the zip library."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Exception as error:  # zipfile raises a dozen types on broken files, zlib and struct their own
        raise Refused(
            f"the archive cannot be read ({type(error).__name__}: {error}): pack it anew as .zip, "
            "or hand in the notebook itself"
        ) from None


def _checked(entry: zipfile.ZipInfo) -> Member:
    name = entry.filename.replace("\\", "/")  # as some packers of Windows write them
    parts = name.split("/")
    shown = repr(name[:80])
    if name.startswith("/") or ".." in parts or _DRIVE.match(name) or "\0" in name:
        raise Refused(f"the archive holds a file that would lie outside of its folder: {shown}")
    if len(name) > 1000 or len(parts) > 32:
        raise Refused(f"the archive holds a name that is too long: {shown}...")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused(f"the archive holds a link or device, which is not followed: {shown}")
    if entry.flag_bits & _ENCRYPTED:
        raise Refused(f"the archive asks for a password ({shown}): pack it without one")
    clean = "/".join(part for part in parts if part not in ("", "."))
    if not clean:
        raise Refused(f"the archive holds a file without a name: {shown}")
    try:
        modified_s = time.mktime((*entry.date_time, 0, 0, -1))
    except (ValueError, OverflowError):  # the format allows month 0
        modified_s = 0.0
    return Member(clean, entry.file_size, modified_s, entry.filename)
