"""Take in what students handed in: one known shape in the course's folder, and nothing is ever overwritten.

``collected/submitted/STUDENT/LAB/TIME-HASH/LAB.ipynb``, with the files that lay beside it. STUDENT is the id
of the class list, whatever the course system called the file. All attempts stay; the newest counts. Each has
a line in ``collected/log.jsonl``, which tells where it came from.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scalelab.core.jsonl import append_line, read_lines
from scalelab.core.locks import hold_lock
from scalelab.core.paths import make_folder
from scalelab.course.settings import Course, CourseLab
from scalelab.gradebook.page_names import page_names
from scalelab.gradebook.roster import Person, match
from scalelab.grader.cells import Refused
from scalelab.grader.submissions import MAX_ARCHIVE, Submission, discover

SUBMITTED = "submitted"
LOG = "log.jsonl"
STAMP = "timestamp.txt"
"""the time that the course system told, as nbgrader keeps it"""
PROBLEM = "problem.txt"
"""what is written where nothing can be copied: its row will say so"""
_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT}
"""what a file system says of a name that it cannot have"""


@dataclass(frozen=True)
class Collected:
    """What came of one call."""

    new: tuple[str, ...]
    """students with a new hand-in"""
    known: tuple[str, ...]
    """students whose hand-in was there already"""
    problems: dict[str, str]
    """by student: why there is nothing to grade; their row will say so"""
    unlisted: tuple[str, ...]
    """ids that the class list does not have; they are collected under these ids"""
    missing: tuple[Person, ...]
    """in the class list, and nothing of theirs is here"""


def collect(course: Course, lab: CourseLab, source: Path, *, pattern: str | None = None) -> Collected:
    """Copy the hand-ins in a folder or archive into the course's folder.

    Args:
        pattern: names of the files, where no course system's rule fits: ``{student}_{lab}.ipynb``.

    Raises:
        ConfigError: there is nothing in `source`, or a wrong pattern.
        DataError: the class list is damaged.
    """
    people = course.students()
    found = discover(source, pattern=pattern, lab=lab.slug)
    home = make_folder(course.collected)
    new, known, problems = [], [], {}
    with hold_lock(home / ".lock", doing=f"collecting {lab.slug}"):
        log = read_log(course)
        logged = {(entry["as"], entry["lab"], entry["folder"]) for entry in log}
        ids = _ids([submission.student for submission in found], people)
        folders = _folders(owners(log, people), {*ids.values(), *(person.id for person in people)})
        for submission in found:
            student, name = ids[submission.student], folders[ids[submission.student]]
            facts = _store(submission, home / SUBMITTED / name / lab.slug, lab.slug)
            if facts["problem"]:
                problems[student] = facts["problem"]
            if (name, lab.slug, facts["folder"]) in logged:
                known.append(student)
                continue
            log.append({**facts, "student": student, "lab": lab.slug, "as": name})
            append_line(home / LOG, json.dumps(log[-1]).encode())
            new.append(student)
    listed = {person.id for person in people}
    here = owners([entry for entry in log if entry["lab"] == lab.slug], people).values()
    return Collected(
        tuple(new),
        tuple(known),
        problems,
        tuple(sorted(set(ids.values()) - listed)),
        tuple(person for person in people if person.id not in here),
    )


def read_log(course: Course) -> list[dict[str, Any]]:
    """Return all hand-ins that were collected, oldest first."""
    return [json.loads(line) for line in read_lines(course.collected / LOG)]


def owners(log: Sequence[Mapping[str, Any]], people: Sequence[Person]) -> dict[str, str]:
    """Return the id of the student whose folder it is, by the folder's name.

    Whoever was not in the class list when their work was collected is looked for in it again.
    """
    had: dict[str, str] = {entry["as"]: entry["student"] for entry in log}
    free = [person for person in people if person.id not in had.values()]
    listed = {person.id for person in people}
    found = match([student for student in had.values() if student not in listed], free).people
    return {name: found[student].id if student in found else student for name, student in had.items()}


def _ids(students: Sequence[str], people: Sequence[Person]) -> dict[str, str]:
    """Return each submission's student as the class list calls them; who is not in it keeps their name."""
    found = match(students, people).people
    return {student: found[student].id if student in found else student for student in students}


def _folders(had: Mapping[str, str], students: Iterable[str]) -> dict[str, str]:
    """Return the name of each student's folder: the one they have, else one that their id makes."""
    names = page_names(sorted({*students, *had.values()}))
    own = {student: name for name, student in had.items()}
    return {student: own.get(student, name.removesuffix(".html")) for student, name in names.items()}


def _store(submission: Submission, folder: Path, slug: str) -> dict[str, Any]:
    """Copy one hand-in, unless it is the newest here already; return what is told about it."""
    told_at = submission.submitted_at or submission.modified_at or datetime.now(timezone.utc)
    files, code, problem = _content(submission, slug)
    target = folder / f"{told_at.astimezone(timezone.utc):%Y-%m-%dT%H%M%SZ}-{code[:12]}"
    facts: dict[str, Any] = {
        "source": submission.path,
        "submitted_at": told_at.isoformat(),
        "is_late": submission.is_late,
        "sha256": code,
        "problem": problem,
        "folder": target.name,
    }
    stored = sorted(path.name for path in folder.glob("*Z-*"))
    if stored and stored[-1].endswith(code[:12]):
        return facts | {"folder": stored[-1]}
    if target.exists():
        return facts
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        whole = Path(partial) / "whole"
        for name, content in files.items():
            if not _write(whole / name, content, told_at.timestamp()):
                facts.setdefault("left_out", []).append(name)
        if submission.submitted_at is not None:
            stamp = submission.submitted_at.astimezone(timezone.utc)
            (whole / STAMP).write_text(f"{stamp:%Y-%m-%d %H:%M:%S.%f} UTC", encoding="utf-8")
        shutil.move(whole, target)
    return facts


def _content(submission: Submission, slug: str) -> tuple[dict[str, bytes], str, str]:
    """Return the files of a hand-in, their hash, and why there is nothing to grade in them, if so.

    What cannot be graded is copied as it is, as far as it can be read: its row will say what is wrong.
    """
    try:
        handed = submission.load(lab=slug)
    except Refused as refused:
        reason, entry = refused.reason, submission.entry
    else:
        files = {
            name: content for name, content in handed.files.items() if name != STAMP
        }  # not theirs to tell
        return {**files, f"{slug}.ipynb": handed.raw}, handed.sha256, ""
    try:
        if entry is None:
            raise Refused(reason)
        files = {slug + entry.ending: entry.read(MAX_ARCHIVE)}
    except (Refused, OSError):
        files = {PROBLEM: f"{reason}\n".encode("utf-8", "replace")}
    return files, hashlib.sha256(b"".join(files.values())).hexdigest(), reason


def _write(path: Path, content: bytes, when_s: float) -> bool:
    """Write a file with its time; tell whether the file system can have one of that name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        return False
    os.utime(path, (when_s, when_s))
    return True
