"""One class and one lab: every student's grade, person and marks, and what they add up to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.page import write_whole
from scalelab.gradebook.late import read_late
from scalelab.gradebook.marks import Mark, answer_id, read_marks
from scalelab.gradebook.roster import Match, Person, match, read_roster
from scalelab.gradebook.rubric import Question, read_rubric
from scalelab.grading.grades import Grade, read_grades
from scalelab.grading.waiting import read_waiting

RESULTS, ROSTER, RUBRIC, SETTINGS = "results.jsonl", "roster.csv", "rubric.toml", "gradebook.json"
NO_SUBMISSION = "no submission"
"""status of a student whom the roster has and the results have not"""


@dataclass(frozen=True)
class Task:
    """One graded task of the lab."""

    name: str
    goal: str
    max_points: float
    is_hidden: bool


@dataclass(frozen=True)
class Entry:
    """One student."""

    student: str
    person: Person
    grade: Grade | None
    """None: nothing was handed in"""
    marks: dict[str, Mark] = field(default_factory=dict)
    """by question"""
    percent_off: float = 0.0
    """share of the points that being late costs [%]"""

    @property
    def status(self) -> str:
        """How the grading ended; `NO_SUBMISSION` where there was nothing to grade."""
        return self.grade.status if self.grade else NO_SUBMISSION

    @property
    def reason(self) -> str:
        """Why there is no full grade, one sentence."""
        return self.grade.reason if self.grade else NO_SUBMISSION

    @property
    def raw_points(self) -> float:
        """Checks and marks together."""
        return math.fsum([self.grade.points if self.grade else 0.0, *(m.points for m in self.marks.values())])

    @property
    def points(self) -> float:
        """What counts: the same, less what being late costs."""
        return self.raw_points * (100 - self.percent_off) / 100

    def check(self, task: str) -> dict[str, Any] | None:
        """Return the row of a check; None where it was not run."""
        checks = self.grade.checks if self.grade else []
        return next((check for check in checks if check["name"] == task), None)

    def answer(self, question: str) -> str:
        """Return the student's words; empty if there are none."""
        return self.grade.written.get(question, "") if self.grade else ""

    def is_marked(self, question: str) -> bool:
        """Tell whether the answer that counts now is the one that was marked."""
        mark = self.marks.get(question)
        return mark is not None and mark.answer == answer_id(self.answer(question))

    def waits_for_mark(self, question: str) -> bool:
        """Tell whether a person still has to read this answer."""
        return bool(self.answer(question).strip()) and not self.is_marked(question)


@dataclass(frozen=True)
class Classbook:
    """A class, by student id."""

    lab: str
    title: str
    """for people"""
    column: str
    """name of the assignment in the course system"""
    entries: tuple[Entry, ...]
    tasks: tuple[Task, ...]
    questions: tuple[Question, ...]
    """answered in words; 0 points where neither rubric nor marks say how many"""
    has_roster: bool
    notes: tuple[str, ...]
    """what whoever uses the gradebook should know, a sentence each"""

    @cached_property
    def counted(self) -> tuple[Question, ...]:
        """Questions that count: at least one answer has a mark."""
        return tuple(q for q in self.questions if any(q.name in entry.marks for entry in self.entries))

    @cached_property
    def max_points(self) -> float:
        """Of all tasks, and of the questions that count."""
        auto = math.fsum(task.max_points for task in self.tasks)
        if not self.tasks:  # nobody's submission could be graded
            auto = max((entry.grade.max_points for entry in self.entries if entry.grade), default=0.0)
        return auto + math.fsum(question.points for question in self.counted)

    def percent(self, entry: Entry) -> float:
        """Return a student's share of all points [%]."""
        return 100 * entry.points / self.max_points if self.max_points else 0.0


def keep_settings(out: Path, *, roster: Path | None, rubric: Path | None, title: str, column: str) -> None:
    """Keep what a gradebook is made from beside the results, so that the next call need not be told.

    Raises:
        ScalelabError: the roster or rubric cannot be used; nothing was kept.
    """
    read_roster(roster) if roster else None
    read_rubric(rubric) if rubric else None
    for source, name in ((roster, ROSTER), (rubric, RUBRIC)):
        if source and source.resolve() != (out / name).resolve():
            (out / name).write_bytes(source.read_bytes())
    if title or column:
        kept = {**_settings(out), **{k: v for k, v in (("title", title), ("column", column)) if v}}
        write_whole(out / SETTINGS, json.dumps(kept, indent=1) + "\n")


def read_classbook(out: Path) -> Classbook:
    """Join results, marks, roster and rubric of the folder `out`.

    Raises:
        DataError: there are no results, or they belong to two labs.
    """
    grades = read_grades(out / RESULTS)
    if not grades:
        raise DataError(f"{out} has no {RESULTS} with a row", hint="run `scalelab grade` first")
    labs = sorted({grade.lab for grade in grades})
    if len(labs) > 1:
        raise DataError(
            f"{out} has results of {' and '.join(labs)}", hint="grade each lab into its own folder"
        )
    marks = {key: history[-1] for key, history in read_marks(out).items()}
    has_roster = (out / ROSTER).exists()
    waiting = read_waiting(out)
    students = [*(grade.student for grade in grades), *waiting]
    found = match(students, read_roster(out / ROSTER) if has_roster else ())
    entries = _entries(grades, marks, found, read_late(out))
    questions = _questions(out, entries, marks.values())
    settings = _settings(out)
    title = settings.get("title", "")
    return Classbook(
        lab=labs[0],
        title=title or labs[0].replace("_", " "),
        column=settings.get("column") or title or labs[0],
        entries=entries,
        tasks=_tasks(grades),
        questions=questions,
        has_roster=has_roster,
        notes=(*_waiting(waiting, found), *_notes(grades, marks, found, has_roster, entries, questions)),
    )


def listed_names(out: Path, students: Sequence[str]) -> dict[str, str]:
    """Return the students by the ids that the kept class list has for them; empty where none was given."""
    if not (out / ROSTER).exists():
        return {}
    found = match(students, read_roster(out / ROSTER)).people
    return {person.id: student for student, person in found.items()}


def _entries(
    grades: Sequence[Grade], marks: dict[tuple[str, str], Mark], found: Match, late: dict[str, float]
) -> tuple[Entry, ...]:
    by_student: dict[str, dict[str, Mark]] = {}
    for (student, task), mark in marks.items():
        by_student.setdefault(student, {})[task] = mark
    entries = [
        Entry(
            each.student,
            found.people.get(each.student, Person()),
            each,
            by_student.get(each.student, {}),
            late.get(each.student, 0.0),
        )
        for each in grades
    ]
    taken = {grade.student for grade in grades}
    for person in found.missing:
        student = person.id
        while student in taken:  # somebody else's submission has this id
            student += "*"
        taken.add(student)
        entries.append(Entry(student, person, None, by_student.get(student, {})))
    return tuple(sorted(entries, key=lambda entry: entry.student))


def _tasks(grades: Iterable[Grade]) -> tuple[Task, ...]:
    """Return the tasks as the newest rows have them, in the lab's order."""
    tasks: dict[str, Task] = {}
    for grade in sorted(grades, key=lambda grade: (grade.graded_at, grade.student), reverse=True):
        for check in grade.checks:
            task = Task(check["name"], check["goal"], check["max_points"], check["is_hidden"])
            tasks.setdefault(task.name, task)
    return tuple(tasks.values())


def _questions(out: Path, entries: Iterable[Entry], marks: Iterable[Mark]) -> tuple[Question, ...]:
    questions = read_rubric(out / RUBRIC) if (out / RUBRIC).exists() else {}
    for mark in marks:
        questions.setdefault(mark.task, Question(mark.task, mark.max_points))
    for entry in entries:
        for name in sorted(entry.grade.written) if entry.grade else ():
            questions.setdefault(name, Question(name, 0.0))
    return tuple(questions.values())


def _notes(
    grades: Sequence[Grade],
    marks: dict[tuple[str, str], Mark],
    found: Match,
    has_roster: bool,
    entries: Sequence[Entry],
    questions: Sequence[Question],
) -> list[str]:
    notes = []
    if has_roster and found.unknown:
        notes.append(f"{_count(found.unknown, 'submission')} by nobody in the roster: {_some(found.unknown)}")
    if found.missing:
        names = [person.id for person in found.missing]
        notes.append(f"{_count(names, 'student')} of the roster handed nothing in: {_some(names)}")
    if len({grade.lab_sha256 for grade in grades if grade.status == "graded"}) > 1:
        notes.append("rows were graded with different versions of the lab: run `scalelab grade` once more")
    digging = [grade.student for grade in grades if grade.introspection]
    if digging:
        notes.append(
            f"{_count(digging, 'submission')} with words for Python's own workings, which is no verdict "
            f"({_some(digging)}): dashboard.html says where"
        )
    known = {entry.student for entry in entries}
    lost = sorted({student for student, _ in marks if student not in known})
    if lost:
        notes.append(f"{_count(lost, 'student')} with marks and without results: {_some(lost)}")
    waiting = [(e.student, q.name) for e in entries for q in questions if e.waits_for_mark(q.name)]
    if waiting:
        notes.append(f"{_count(waiting, 'written answer')} to mark: see written.csv")
    points = {question.name: question.points for question in questions}
    odd = sorted({task for (_, task), mark in marks.items() if mark.max_points != points[task]})
    if odd:
        notes.append(f"the rubric gives other points than the marks were given for: {_some(odd)}")
    again = [e.student for e in entries for task in e.marks if not e.is_marked(task)]
    if again:
        notes.append(
            f"{_count(again, 'mark')} for an answer that was changed since; it counts until you mark the new "
            f"one: {_some(again)}"
        )
    return notes


def _waiting(students: Sequence[str], found: Match) -> list[str]:
    if not students:
        return []
    names = [found.people[student].id if student in found.people else student for student in students]
    told = f"{_count(names, 'hand-in')} not graded yet, and so in no table"
    return [f"{told} ({_some(names)}): grade once more, without --only"]


def _settings(out: Path) -> dict[str, str]:
    try:
        facts = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{out / SETTINGS}: {error}", hint="delete it and give --title again") from None
    return {name: str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"


def _some(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(sorted(names)[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
