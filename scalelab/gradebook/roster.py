"""Who is in the class: a CSV of one's own, or what Canvas, Moodle or nbgrader export."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.gradebook.table_files import Row, read_table


@dataclass(frozen=True)
class Person:
    """One student, as the course system knows them; what a roster does not say is empty."""

    student: str = ""
    """the id that submissions carry"""
    name: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    login: str = ""
    """user name: Canvas calls it SIS Login ID"""
    sis_id: str = ""
    """number in the student administration: SIS User ID in Canvas, ID number in Moodle"""
    canvas_id: str = ""
    """Canvas's own number"""
    section: str = ""

    @property
    def full_name(self) -> str:
        """The name in reading order, as far as it is known."""
        return self.name or f"{self.first_name} {self.last_name}".strip()

    @property
    def id(self) -> str:
        """What to call this person by: the first of `KEYS` that is known."""
        return next(filter(None, (of_person(self) for of_person, _ in KEYS)), "")


def _letters(text: str) -> str:
    return "".join(sign for sign in text if sign.isalnum())


def _number(student: str) -> str:
    """Return the number that Canvas puts behind a name: ``raomira_77`` is user 77."""
    return student.rpartition("_")[2]


def _name(student: str) -> str:
    """Return the name before the number that Canvas and Moodle put behind it: ``Mira Rao_12345``."""
    name, _, number = student.rpartition("_")
    return name if name and number.isdecimal() else student


def _last_word_first(name: str) -> str:
    """Return ``Rao Mira`` for ``Mira Rao``, where nobody said which is which."""
    *others, last = name.split() or [""]
    return " ".join([last, *others])


KEYS: tuple[tuple[Callable[[Person], str], Callable[[str], str]], ...] = (
    (lambda person: person.student, str),
    (lambda person: person.login, str),
    (lambda person: person.sis_id, str),
    (lambda person: person.canvas_id, _number),
    (lambda person: person.email, str),
    (lambda person: person.email.split("@")[0], str),
    (lambda person: person.full_name, _name),
    # as Canvas names the files of a bulk download: "Rao, Mira" is raomira
    (lambda person: _letters(person.last_name + person.first_name or person.name), _name),
    (lambda person: _letters(_last_word_first(person.full_name)), _name),
)
"""by what a person is known, and what of a submission's id says it; the strongest first"""

# columns of a roster, in small letters -> the field they fill. Sources: Canvas's gradebook export
# (lib/gradebook_importer.rb of instructure/canvas-lms), Moodle's user fields (docs.moodle.org, "Grade export"
# and "Upload users"), the columns of `nbgrader db student import` (nbgrader/apps/dbapp.py).
COLUMNS = {
    "student": "student",
    "student_id": "student",
    "name": "name",
    "full name": "name",
    "first name": "first_name",
    "first_name": "first_name",
    "firstname": "first_name",
    "last name": "last_name",
    "last_name": "last_name",
    "lastname": "last_name",
    "surname": "last_name",
    "email": "email",
    "email address": "email",
    "username": "login",
    "login": "login",
    "sis login id": "login",
    "sis user id": "sis_id",
    "sis_id": "sis_id",
    "id number": "sis_id",
    "idnumber": "sis_id",
    "canvas_id": "canvas_id",
    "section": "section",
}
_CANVAS = {"id": "canvas_id", "student": "name"}
"""in a file that has Canvas's SIS columns, these two mean something else"""


@dataclass(frozen=True)
class Match:
    """Which person handed in under which id."""

    people: dict[str, Person]
    """by the id of the submission"""
    missing: tuple[Person, ...]
    """in the roster, without a submission"""
    unknown: tuple[str, ...]
    """ids of submissions that the roster does not have"""


def read_roster(path: Path) -> tuple[Person, ...]:
    """Read a class list; columns that it does not know are passed over.

    Raises:
        DataError: no column names a student, a row is empty, or a student is there twice.
    """
    table = read_table(path)
    names = {column: column.lower() for column in table.header}
    is_canvas = any(name.startswith("sis ") for name in names.values())
    known = {**COLUMNS, **(_CANVAS if is_canvas else {"id": "student"})}
    homes = {column: known[name] for column, name in names.items() if name in known}
    if not set(homes.values()) & {"student", "login", "sis_id", "canvas_id", "email", "name"}:
        raise DataError(
            f"{path} has no column that names a student, only {', '.join(table.header)[:200]}",
            hint="name one of them student, login, email or id; or give your course system's own export",
        )
    people: dict[str, tuple[Person, int]] = {}
    for row in table.rows:
        if _is_canvas_heading(row):
            continue
        person = _person(row, homes)
        name = person.id
        if not name:
            raise DataError(f"{path}, line {row.line} names no student", hint="delete the line or fill it in")
        if name in people:
            raise DataError(
                f"{path}, line {row.line}: {name!r} was there in line {people[name][1]}",
                hint="keep one of the two lines",
            )
        people[name] = (person, row.line)
    return tuple(person for person, _ in people.values())


def match(students: Iterable[str], people: Iterable[Person]) -> Match:
    """Find each submission's person by the first of `KEYS` that fits, whatever its case.

    The better key wins over the weaker for the whole class; a key that two people share names nobody, and no
    person gets two submissions.
    """
    waiting, listed = list(students), tuple(people)
    found: dict[str, Person] = {}
    free = set(range(len(listed)))
    for of_person, of_student in KEYS:
        owners: dict[str, list[int]] = {}
        for number in free:
            if key := of_person(listed[number]).casefold():
                owners.setdefault(key, []).append(number)
        for student in waiting:
            numbers = owners.get(of_student(student).strip().casefold(), [])
            if len(numbers) == 1 and numbers[0] in free:
                found[student] = listed[numbers[0]]
                free.discard(numbers[0])
        waiting = [student for student in waiting if student not in found]
    return Match(found, tuple(listed[number] for number in sorted(free)), tuple(waiting))


def _person(row: Row, homes: dict[str, str]) -> Person:
    found = {field.name: "" for field in fields(Person)}
    for column, home in homes.items():
        found[home] = found[home] or row.get(column)
    last, comma, first = found["name"].partition(", ")
    if comma and not found["last_name"] and not found["first_name"]:  # as Canvas writes names
        found |= {"name": f"{first} {last}", "last_name": last, "first_name": first}
    return Person(**found)


def _is_canvas_heading(row: Row) -> bool:
    """Tell Canvas's line of maximal points from a student's."""
    return next(iter(row.cells.values()), "").strip().startswith("Points Possible")
