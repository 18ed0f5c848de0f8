"""Who handed in what: the submissions in a folder or a downloaded archive, one for each student.

Each thing that was handed in becomes a `Submission`, also what nobody can read: a folder called lab.ipynb, a
pipe, a link, an archive with a password. Reading it then gives a refusal with its reason.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from scalelab.core.errors import ConfigError
from scalelab.grader import archive
from scalelab.grader.cells import MAX_BYTES, Refused
from scalelab.grader.entries import IGNORED, Entry, list_entries, packed_entry
from scalelab.grader.naming import Owner, choose_lab, compile_pattern, find_owner, is_lab

MAX_ARCHIVE = 128 * 1024**2
"""of one student"""
MAX_FILES_BYTES = 64 * 1024**2
"""of what is handed in beside the notebook"""
MAX_FILES = 200
OTHERS = {".py", ".pdf", ".html", ".htm", ".docx", ".rar", ".7z", ".tar", ".gz", ".tgz"}
"""what students hand in where a notebook is asked for"""


@dataclass(frozen=True)
class Handin:
    """What a student handed in, in memory."""

    raw: bytes
    """the notebook's file"""
    files: Mapping[str, bytes]
    """what lay beside it, by relative path"""
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission:
    """The one submission of a student that counts."""

    student: str
    path: str
    """relative to the folder of submissions"""
    entry: Entry | None = None
    beside: tuple[Entry, ...] = ()
    """other files of the same student, in and below the folder of the notebook"""
    problem: str = ""
    attempts: tuple[str, ...] = ()
    """older or other notebooks of the student, which do not count"""
    submitted_at: datetime | None = None
    """as the course system tells it"""
    modified_at: datetime | None = None
    """as the file itself tells it"""
    is_late: bool | None = None
    """as the course system tells it"""
    notes: tuple[str, ...] = ()

    def load(self, *, lab: str = "") -> Handin:
        """Read it.

        Raises:
            Refused: there is nothing that can be judged; nothing else, whatever was handed in.
        """
        if self.problem or self.entry is None:
            raise Refused(self.problem)
        try:
            if self.entry.ending == ".zip":
                return _from_archive(self.entry, lab)
            raw = self.entry.read(MAX_BYTES)
            base = self.entry.name.rpartition("/")[0] + "/"
            return _handin(raw, [(entry.name[len(base) :], entry) for entry in self.beside])
        except OSError as error:
            raise Refused(f"it cannot be read: {error.strerror or error}") from None


def discover(
    folder: Path, *, pattern: str | None = None, lab: str = "", skip: Path | None = None
) -> list[Submission]:
    """Return one submission for each student, by name.

    Args:
        folder: loose notebooks, a folder per student, what Canvas, Moodle, Google Classroom or nbgrader gave
            (`naming.RULES`); or an archive with any of these; or one notebook.
        pattern: for other names, ``{student}_{lab}.ipynb``; what does not fit is refused by a row of its own.
        lab: the lab's slug: of several notebooks or folders of a student, the one named like it counts.
        skip: a folder inside that holds no submissions: results, for example.

    Raises:
        ConfigError: there is no such folder, nothing in it, or a wrong pattern.
    """
    expression = compile_pattern(pattern) if pattern else None
    entries = list_entries(Path(folder), is_of_class=pattern is None, skip=skip)
    owned = [(entry, find_owner(entry.name, pattern=expression)) for entry in entries]
    if pattern is None and any(owner is not None and owner.lab for _, owner in owned):
        owned = [(entry, owner) for entry, owner in owned if owner is not None and owner.lab]
    chosen = choose_lab((owner.lab for _, owner in owned if owner is not None and owner.lab), lab)
    students: dict[str, list[tuple[Entry, Owner]]] = defaultdict(list)
    submissions = []
    for entry, owner in owned:
        if owner is not None and (chosen is None or owner.lab in ("", chosen)):
            students[owner.student].append((entry, owner))
        elif owner is None and entry.ending in (".ipynb", ".zip"):
            told = f"its name does not fit the pattern {pattern!r}, so nobody knows whose it is"
            submissions.append(Submission(entry.path, entry.path, problem=told))
    submissions += [made for name, files in students.items() if (made := _submission(name, files, lab))]
    if not submissions:
        raise ConfigError(f"there is no notebook in {folder}", hint="a folder or an archive with notebooks")
    return sorted(submissions, key=lambda submission: submission.student)


def _submission(student: str, files: list[tuple[Entry, Owner]], lab: str) -> Submission | None:
    """Choose what counts of a student's files; None where there is nothing like a submission."""
    candidates = [pair for pair in files if pair[0].ending in (".ipynb", ".zip")]
    if not candidates:
        others = [entry.path for entry, owner in files if owner.folder or entry.ending in OTHERS]
        if not others:
            return None
        told = f"there is no notebook (.ipynb) among what was handed in: {', '.join(sorted(others)[:5])}"
        return Submission(student, sorted(others)[0], problem=told)

    def rank(pair: tuple[Entry, Owner]) -> tuple[bool, int, float, int, str]:
        entry, owner = pair
        name = os.path.splitext(entry.name.rpartition("/")[2])[0]
        return is_lab(name, lab) or name == "lab", owner.order, entry.modified_s, owner.copy, entry.path

    *older, (entry, owner) = sorted(candidates, key=rank)
    base = entry.name.rpartition("/")[0] + "/"
    # only nbgrader's tree has times that nobody who hands in can write
    stamp = next((other for other, _ in files if owner.lab and other.name == base + "timestamp.txt"), None)
    beside = tuple(
        other
        for other, _ in files
        if owner.folder
        and other.name.startswith(base)
        and other.ending not in (".ipynb", ".zip")
        and other is not stamp
    )
    notes = ()
    if older:
        notes = (f"{len(older) + 1} notebooks were handed in; {entry.path} counts",)
    return Submission(
        student,
        entry.path,
        entry,
        beside,
        attempts=tuple(sorted(other.path for other, _ in older)),
        submitted_at=_timestamp(stamp),
        modified_at=_moment(entry.modified_s),
        is_late=owner.late,
        notes=notes,
    )


def _timestamp(entry: Entry | None) -> datetime | None:
    """Read nbgrader's ``timestamp.txt``: ``2025-02-02 15:58:23.948203 UTC``."""
    if entry is None:
        return None
    try:
        words = entry.read(200).decode().split()
        told = datetime.fromisoformat(" ".join(words[:2]))
        if told.tzinfo is None:
            name = words[2] if len(words) > 2 else "UTC"
            told = told.replace(tzinfo=timezone.utc if name == "UTC" else ZoneInfo(name))
    except (Refused, ValueError, OSError, KeyError):
        return None
    return told


def _from_archive(entry: Entry, lab: str) -> Handin:
    """Read a student's own archive: the notebook in it, and what lies beside that."""
    packed = entry.open_archive(MAX_ARCHIVE)
    members = [member for member in packed.members if not IGNORED.search(member.name)]
    books = [member for member in members if member.name.lower().endswith(".ipynb")]
    if not books:
        held = ", ".join(member.name for member in members[:5]) or "nothing"
        raise Refused(f"there is no notebook (.ipynb) in the archive; it holds {held}")

    def rank(member: archive.Member) -> tuple[bool, int, float, str]:
        name = os.path.splitext(member.name.rpartition("/")[2])[0]
        return is_lab(name, lab) or name == "lab", -member.name.count("/"), member.modified_s, member.name

    book = max(books, key=rank)
    base = book.name.rpartition("/")[0] + "/" if "/" in book.name else ""
    beside = [
        (member.name[len(base) :], packed_entry(entry, packed, member))
        for member in members
        if member.name.startswith(base) and not member.name.lower().endswith(".ipynb")
    ]
    notes = [f"the archive holds {len(books)} notebooks; {book.name} counts"] if len(books) > 1 else []
    return _handin(packed.read(book, limit=MAX_BYTES), beside, notes)


def _handin(raw: bytes, beside: list[tuple[str, Entry]], notes: Sequence[str] = ()) -> Handin:
    """Read the files beside a notebook as far as there is room for them."""
    files: dict[str, bytes] = {}
    told = list(notes)
    room = MAX_FILES_BYTES
    for name, entry in sorted(beside, key=lambda pair: pair[0]):
        if len(files) == MAX_FILES:
            told.append(f"more than {MAX_FILES} files were handed in with it; the rest was not taken along")
            break
        try:
            files[name] = entry.read(room)
        except (Refused, OSError) as error:
            told.append(f"{name} was not taken along: {error}")
        else:
            room -= len(files[name])
    code = hashlib.sha256(raw)
    for name, content in files.items():
        code.update(f"\0{name}\0{len(content)}\0".encode("utf-8", "replace") + content)
    return Handin(raw, files, code.hexdigest(), tuple(told[:20]))


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, timezone.utc) if seconds > 0 else None
