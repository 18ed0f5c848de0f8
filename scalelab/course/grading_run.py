"""Grade what was collected, and write the gradebook with what being late costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.course.collecting import owners, read_log
from scalelab.course.settings import Course, CourseLab
from scalelab.gradebook.late import Late, write_late
from scalelab.gradebook.writing import Report, write_gradebook
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import RESULTS, Finished, Progress, run_grading
from scalelab.grading.grades import read_grades
from scalelab.grading.waiting import write_waiting

EXPORTS = {"csv": "gradebook.csv", "canvas": "canvas.csv", "moodle": "moodle.csv", "nbgrader": "nbgrader.csv"}


@dataclass(frozen=True)
class Graded:
    """What came of a lab's grading."""

    out: Path
    finished: Finished
    late: tuple[Late, ...]
    notes: tuple[str, ...]


def grade(
    course: Course,
    lab: CourseLab,
    *,
    jobs: int = 1,
    only: Sequence[str] = (),
    require_sandbox: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Graded:
    """Grade a lab of the course; what has not changed since the last time is not judged again.

    Raises:
        ConfigError: nothing was collected for it, or the key is missing.
    """
    course.key()
    _expect_known_extensions(course, lab)
    log = [entry for entry in read_log(course) if entry["lab"] == lab.slug]
    if not log:
        raise ConfigError(
            f"nothing was collected for {lab.slug} yet",
            hint=f"scalelab course collect {lab.slug} FOLDER_OR_ZIP",
        )
    out = course.grades / lab.slug
    finished = run_grading(
        GradedLab.load(lab.info.folder),
        course.collected,
        out,
        jobs=jobs,
        only=only,
        names=owners(log, course.students()),
        due=lab.due,
        key_file=course.key_file,
        require_sandbox=require_sandbox,
        on_progress=on_progress,
    )
    notes = write_tables(course, lab).notes
    return Graded(out, finished, find_late(course, lab), notes)


def find_late(course: Course, lab: CourseLab) -> tuple[Late, ...]:
    """Return the late hand-ins of a graded lab.

    The time is the course system's, or else the file's. Where the course system itself calls a hand-in late
    and its time does not say so, it is late by a day; not if the student has an extension.
    """
    log = [entry for entry in read_log(course) if entry["lab"] == lab.slug]
    said = [f"/{entry['as']}/{lab.slug}/{entry['folder']}/" for entry in log if entry["is_late"]]
    students = set(owners(log, course.students()).values())
    found = []
    for row in read_grades(course.grades / lab.slug / RESULTS):
        due = lab.due_for(row.student)
        if due is None or row.submitted_at is None or row.student not in students:
            continue
        at = datetime.fromisoformat(row.submitted_at)
        days = course.late.days_late(at, due)
        is_said = any(place in f"/{row.submission}" for place in said)
        if is_said and at <= due and row.student not in lab.extensions:
            days = 1
        if days:
            off = course.late.percent_off(days)
            found.append(Late(row.student, row.submitted_at, due.isoformat(), days, off))
    return tuple(found)


def write_tables(course: Course, lab: CourseLab) -> Report:
    """Write all tables and pages of a graded lab anew, by the due times and the class list as they are now.

    Raises:
        ConfigError: it was not graded yet, or somebody has an extension who is not in the class list.
    """
    out = course.grades / lab.slug
    if not (out / RESULTS).exists():
        raise ConfigError(f"{lab.slug} was not graded yet", hint=f"scalelab course grade {lab.slug}")
    _expect_known_extensions(course, lab)
    write_late(out, find_late(course, lab))
    write_waiting(out, _collected(course, lab) - {row.student for row in read_grades(out / RESULTS)})
    title = f"{course.name}: {lab.info.title}"
    return write_gradebook(out, roster=course.roster, title=title, column=lab.column)


def _collected(course: Course, lab: CourseLab) -> set[str]:
    """Return the ids of all students of whom something was collected."""
    log = [entry for entry in read_log(course) if entry["lab"] == lab.slug]
    return set(owners(log, course.students()).values())


def export(course: Course, lab: CourseLab, kind: str) -> tuple[Path, Report]:
    """Write a lab's gradebook anew; return the table for a course system, and what to know about it.

    Raises:
        ConfigError: it was not graded yet.
    """
    written = write_tables(course, lab)
    return course.grades / lab.slug / EXPORTS[kind], written


def _expect_known_extensions(course: Course, lab: CourseLab) -> None:
    ids = [person.id for person in course.students()]
    for student in sorted(set(lab.extensions) - set(ids)):
        raise ConfigError(
            f"{lab.slug}: nobody in {course.roster} has the id {student!r} of an extension",
            hint=did_you_mean(student, ids),
        )
