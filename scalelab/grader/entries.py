"""The files in a folder of submissions, and in the archives of a whole class that lie there; read safely.

Links are not followed, pipes and devices not opened, folders called like a notebook not entered: each of them
is an entry with a problem.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalelab.core.errors import ConfigError
from scalelab.core.units import format_bytes
from scalelab.grader.archive import Archive, Member
from scalelab.grader.cells import Refused
from scalelab.grader.naming import find_owner

IGNORED = re.compile(r"(?:^|/)(?:__MACOSX|\.[^/]+|Thumbs\.db|__pycache__)(?:/|$)")
HANDED_IN = (".ipynb", ".zip")
_DEPTH = 16


@dataclass(frozen=True)
class Entry:
    """A file in the folder of submissions, or in an archive there."""

    path: str
    """to show: relative to the folder, with ``/``; ``class.zip!/mira/lab.ipynb`` in an archive"""
    name: str
    """to tell whose it is: without the archive, and without folders that hold everything"""
    place: Path
    """of the file on the disk: itself, or the archive that holds it"""
    size_bytes: int = 0
    modified_s: float = 0.0
    problem: str = ""
    """why it cannot be read"""
    packed: tuple[Archive, Member] | None = None

    @property
    def ending(self) -> str:
        """Return ``.ipynb`` for a notebook."""
        return os.path.splitext(self.name)[1].lower()

    def read(self, limit: int) -> bytes:
        """Return its content.

        Raises:
            Refused: it cannot be read, or has more than `limit` bytes.
            OSError: the disk says no.
        """
        self._refuse(limit)
        if self.packed is None:
            return _read(self.place, limit)
        return self.packed[0].read(self.packed[1], limit=limit)

    def open_archive(self, limit: int) -> Archive:
        """Open this file as an archive.

        Raises:
            Refused: it is none, or one that no honest student makes.
        """
        self._refuse(limit)
        if self.packed is None:
            return Archive(os.fdopen(_open(self.place), "rb"))
        return Archive(io.BytesIO(self.read(limit)))

    def _refuse(self, limit: int) -> None:
        if self.problem:
            raise Refused(self.problem)
        if self.size_bytes > limit:
            raise Refused(f"it has {format_bytes(self.size_bytes)}, and {format_bytes(limit)} is the limit")


def packed_entry(holder: Entry, archive: Archive, member: Member) -> Entry:
    """Return the entry of a file in an archive."""
    return Entry(
        f"{holder.path}!/{member.name}",
        member.name,
        holder.place,
        member.size_bytes,
        member.modified_s,
        packed=(archive, member),
    )


def list_entries(root: Path, *, is_of_class: bool = True, skip: Path | None = None) -> list[Entry]:
    """Return all files below `root`, which may be a folder, an archive or a single notebook.

    Args:
        is_of_class: leave folders that hold everything out of the names, as archives have them.
        skip: a folder below that is not looked into.

    Raises:
        ConfigError: there is nothing there.
    """
    if not root.exists():
        raise ConfigError(f"there is no folder {root}", hint="give the folder with what students handed in")
    if root.is_dir():
        found = list(_walk(root.resolve(), "", 0, skip.resolve() if skip else None))
    else:
        facts = root.stat()
        found = [Entry(root.name, root.name, root, facts.st_size, facts.st_mtime)]
    entries = [each for entry in found for each in _unpacked(entry, must=not root.is_dir())]
    entries = [entry for entry in entries if not IGNORED.search(entry.name)]
    if not entries:
        raise ConfigError(f"{root} is empty", hint="give the folder with what students handed in")
    if is_of_class and (wrapper := _wrapper([entry.name for entry in entries])):
        entries = [replace(entry, name=entry.name[len(wrapper) :]) for entry in entries]
    return entries


def _walk(folder: Path, prefix: str, depth: int, skip: Path | None) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as scanned:
            children = sorted(scanned, key=lambda child: child.name)
    except OSError as error:
        yield Entry(
            f"{prefix}?", f"{prefix}?", folder, problem=f"the folder cannot be read: {error.strerror}"
        )
        return
    if not children and prefix:
        yield Entry(prefix, f"{prefix}?", folder, problem="the folder is empty")
    for child in children:
        path = prefix + child.name
        place = Path(child.path)
        problem = _problem(child)
        if not problem and child.is_dir(follow_symlinks=False):
            if depth < _DEPTH and place != skip and not IGNORED.search(child.name):
                yield from _walk(place, path + "/", depth + 1, skip)
            continue
        facts = child.stat(follow_symlinks=False)
        yield Entry(path, path, place, facts.st_size, facts.st_mtime, problem)


def _problem(child: os.DirEntry[str]) -> str:
    if child.is_symlink():
        return "it is a link, which is not followed: hand in the file itself"
    if child.is_dir(follow_symlinks=False):
        is_named_like_one = child.name.lower().endswith(HANDED_IN)
        return "it is a folder, not a file: hand in the notebook itself" if is_named_like_one else ""
    if not child.is_file(follow_symlinks=False):
        return "it is a pipe or a device, not a file: hand in the notebook itself"
    return ""


def _unpacked(entry: Entry, *, must: bool) -> Iterator[Entry]:
    """Yield the files of a class's archive, or the entry itself: a file, or one student's own archive."""
    if entry.ending != ".zip" or "/" in entry.path or entry.problem:
        yield entry
        return
    try:
        archive = entry.open_archive(1 << 62)
    except (Refused, OSError) as error:
        if must:
            raise ConfigError(
                f"{entry.place}: {error}", hint="download it again, or unpack it first"
            ) from None
        yield entry  # its student's row will say so
        return
    members = [packed_entry(entry, archive, member) for member in archive.members]
    books = [each.name for each in members if each.ending in HANDED_IN and not IGNORED.search(each.name)]
    books = [name[len(_wrapper(books)) :] for name in books]
    yield from members if must or _students(books) > 1 else [entry]


def _wrapper(names: Sequence[str]) -> str:
    """Return the folders, ``HW/``, that hold all names and are no student's; empty if there are none.

    They are the class's if what is below belongs to several students.
    """
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any("/" not in name for name in names):
        return ""
    top = tops.pop() + "/"
    books = [name for name in names if name.lower().endswith(HANDED_IN)]
    if top == "submitted/" or len(books) < 2:
        return ""
    below = [name[len(top) :] for name in books]
    if _students(books) > 1:
        return ""
    inner = _wrapper(below)
    return top + inner if inner or _students(below) > 1 else ""


def _students(names: Sequence[str]) -> int:
    """Return how many students some files belong to."""
    return len({owner.student for name in names if (owner := find_owner(name)) is not None})


def _read(place: Path, limit: int) -> bytes:
    with os.fdopen(_open(place), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Refused(f"it has more than {format_bytes(limit)}, which is the limit")
    return content


def _open(place: Path) -> int:
    """Open a regular file, and nothing that has come into its place since it was looked at."""
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    )
    handle = os.open(place, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file")
    return handle
