"""Take in what students handed in: one known shape in the course's folder, and nothing is ever overwritten.

``collected/submitted/STUDENT/LAB/TIME-HASH/LAB.ipynb``, with the files that lay beside it. STUDENT is the id
of the class list, whatever the course system called the file. All attempts stay; the newest counts. A line of
``collected/LAB.jsonl`` tells where each came from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
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
from scalelab.grader.submissions import Submission, discover

SUBMITTED = "submitted"
PROBLEM = "problem.txt"
_WITH_NUMBER = re.compile(r"(.+)_(\d+)")
"""``raomira_1042`` as Canvas, ``Mira Rao_1042`` as Moodle calls a student"""


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
    ids = _ids([submission.student for submission in found], people)
    home = make_folder(course.collected)
    new, known, problems = [], [], {}
    with hold_lock(home / ".lock", doing=f"collecting {lab.slug}"):
        log = home / f"{lab.slug}.jsonl"
        folders = _folders(home, {*ids.values(), *(person.id for person in people)})
        for submission in found:
            student = ids[submission.student]
            facts = _store(submission, folders[student] / lab.slug, lab.slug)
            if facts.pop("problem", ""):
                problems[student] = facts["told"]
            if facts.pop("is_new"):
                append_line(log, json.dumps({"student": student, **facts}).encode())
                new.append(student)
            else:
                known.append(student)
        missing = [person for person in people if not (folders[person.id] / lab.slug).exists()]
    listed = {person.id for person in people}
    unlisted = sorted({student for student in ids.values() if student not in listed})
    return Collected(tuple(new), tuple(known), problems, tuple(unlisted), tuple(missing))


def read_log(course: Course, lab: CourseLab) -> list[dict[str, Any]]:
    """Return what was collected for a lab, oldest first."""
    return [json.loads(line) for line in read_lines(course.collected / f"{lab.slug}.jsonl")]


def _ids(students: Sequence[str], people: Sequence[Person]) -> dict[str, str]:
    """Return each submission's student as the class list calls them; who is not in it keeps their name."""
    ids: dict[str, str] = {}
    for group in (0, 2, 1):  # the whole name, the course system's number, what stands before it
        names = {}
        for student in students:
            parts = _WITH_NUMBER.fullmatch(student)
            if student not in ids and (parts or group == 0):
                names[student] = parts.group(group) if parts else student
        free = [person for person in people if person.id not in ids.values()]
        found = match(dict.fromkeys(names.values()), free).people
        for student, name in names.items():
            if name in found and found[name].id not in ids.values():
                ids[student] = found[name].id
    return {student: ids.get(student, student) for student in students}


def _folders(home: Path, students: Iterable[str]) -> dict[str, Path]:
    """Return a folder for each student, whatever their ids are."""
    names = page_names(sorted(students))
    return {student: home / SUBMITTED / name.removesuffix(".html") for student, name in names.items()}


def _store(submission: Submission, folder: Path, slug: str) -> dict[str, Any]:
    """Copy one hand-in; return what is told about it."""
    told_at = submission.submitted_at or submission.modified_at or datetime.now(timezone.utc)
    facts: dict[str, Any] = {
        "source": submission.path,
        "submitted_at": told_at.isoformat(),
        "is_late": submission.is_late,
    }
    try:
        handed = submission.load(lab=slug)
    except Refused as refused:
        files, code = {PROBLEM: f"{refused.reason}\n".encode()}, "0" * 8
        facts |= {"problem": True, "told": refused.reason}
    else:
        files, code = {**handed.files, f"{slug}.ipynb": handed.raw}, handed.sha256
    facts["sha256"] = code
    if any(path.name.endswith(code[:8]) and code.strip("0") for path in folder.glob("*-*")):
        return facts | {"is_new": False}
    target = folder / f"{told_at.astimezone(timezone.utc):%Y-%m-%dT%H%M%SZ}-{code[:8]}"
    if target.exists():
        return facts | {"is_new": False}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        whole = Path(partial) / "whole"
        for name, content in files.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, (told_at.timestamp(), told_at.timestamp()))
        if submission.submitted_at is not None:
            stamp = submission.submitted_at.astimezone(timezone.utc)
            (whole / "timestamp.txt").write_text(f"{stamp:%Y-%m-%d %H:%M:%S.%f} UTC", encoding="utf-8")
        shutil.move(whole, target)
    return facts | {"is_new": True}
