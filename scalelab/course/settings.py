"""A course, as its ``course.toml`` describes it."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from scalelab.classroom import LabInfo, find_lab, list_labs
from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.course.late import LatePolicy
from scalelab.course.toml_tables import read_due, read_toml, take
from scalelab.gradebook.roster import Person, read_roster
from scalelab.grader.naming import is_lab

FILE = "course.toml"
_COURSE = {"name": str, "time_zone": str, "roster": str, "key_file": str, "late": dict, "folders": dict,
           "labs": dict}  # fmt: skip
_LATE = {"words": str, "grace_minutes": float, "percent_per_day": float, "days": int}
_FOLDERS = {"released": str, "collected": str, "grades": str}
_LAB = {"due": None, "column": str, "extensions": dict}


@dataclass(frozen=True)
class CourseLab:
    """A lab of the course."""

    info: LabInfo
    due: datetime | None = None
    """with time zone; None: whenever"""
    column: str = ""
    """name of the assignment in the course system: ``Lab 6 (1234)``"""
    extensions: dict[str, datetime] = field(default_factory=dict)
    """students with a due time of their own"""

    @property
    def slug(self) -> str:
        """The lab's name."""
        return self.info.slug

    def due_for(self, student: str) -> datetime | None:
        """Return a student's due time."""
        return self.extensions.get(student, self.due)


@dataclass(frozen=True)
class Course:
    """A course: who, what, until when, and where things lie."""

    folder: Path
    name: str
    time_zone: ZoneInfo
    roster: Path
    key_file: Path
    late: LatePolicy
    released: Path
    collected: Path
    grades: Path
    labs: dict[str, CourseLab]

    def lab(self, name: str) -> CourseLab:
        """Return a lab of the course by its slug, its number or its words.

        Raises:
            ConfigError: the course has no such lab.
        """
        for slug, lab in self.labs.items():
            if is_lab(name, slug) or (name.isdecimal() and int(name) == lab.info.number):
                return lab
        path, known = self.folder / FILE, [info.slug for info in list_labs()]
        slug = next((slug for slug in known if is_lab(name, slug)), "")
        if slug:
            hint = f'in {path}, uncomment [labs."{slug}"] with its due time (or write these lines), and go on'
            raise ConfigError(f"the course does not give lab {slug} yet", hint=hint)
        raise ConfigError(f"the course has no lab {name!r}", hint=did_you_mean(name, self.labs or known))

    def students(self) -> tuple[Person, ...]:
        """Return the class list.

        Raises:
            DataError: the file is missing or damaged, or a student is there twice.
            ConfigError: nobody is in it.
        """
        people = read_roster(self.roster)
        if not people:
            raise ConfigError(
                f"{self.roster} lists no student",
                hint="one line each: student,name,email; or put your course system's own export there",
            )
        return people

    def key(self) -> str:
        """Return the course's secret.

        Raises:
            ConfigError: its file is missing or empty.
        """
        try:
            key = self.key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            told = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{self.key_file} cannot be read: {told}",
                hint="take it from your backup: with another key all students get other numbers",
            ) from None
        if not key:
            raise ConfigError(f"{self.key_file} is empty", hint="take it from your backup")
        return key


def load_course(folder: Path) -> Course:
    """Read the course in a folder, from its ``course.toml``.

    Raises:
        ConfigError: something in it is wrong; the message names the table and the value.
    """
    path = folder / FILE
    if not path.exists():
        raise ConfigError(
            f"there is no {FILE} in {folder.resolve()}",
            hint="go to the course's folder, or begin one with: scalelab course new FOLDER",
        )
    raw = take(read_toml(path), _COURSE, str(path))
    zone = _zone(raw.get("time_zone", "UTC"), path)
    folders = take(raw.get("folders", {}), _FOLDERS, f"{path}, [folders]")
    return Course(
        folder=folder,
        name=raw.get("name", folder.resolve().name),
        time_zone=zone,
        roster=folder / raw.get("roster", "roster.csv"),
        key_file=folder / raw.get("key_file", "course.key"),
        late=_late(raw.get("late", {}), f"{path}, [late]"),
        released=folder / folders.get("released", "released"),
        collected=folder / folders.get("collected", "collected"),
        grades=folder / folders.get("grades", "grades"),
        labs=_labs(raw.get("labs", {}), zone, path),
    )


def _zone(name: str, path: Path) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else "for example 'Asia/Kolkata', 'Europe/Berlin' or 'UTC'"
        )
        if not known:  # Windows has no such table of its own
            hint = "pip install tzdata"
        raise ConfigError(f"{path}: there is no time zone {name!r}", hint=hint) from None


def _late(raw: dict[str, Any], where: str) -> LatePolicy:
    policy = LatePolicy(**take(raw, _LATE, where))
    for name in ("grace_minutes", "percent_per_day", "days"):
        value = getattr(policy, name)
        top = 100 if name == "percent_per_day" else math.inf
        if value is not None and not 0 <= value <= top:
            raise ConfigError(
                f"{where}: {name} is {value}", hint="from 0 to 100" if top == 100 else "0 or more"
            )
    return policy


def _labs(raw: dict[str, Any], zone: ZoneInfo, path: Path) -> dict[str, CourseLab]:
    labs: dict[str, CourseLab] = {}
    for name, table in raw.items():
        where = f"{path}, [labs.{name}]"
        if not isinstance(table, dict):
            raise ConfigError(
                f"{where[:-1]} is {table!r}", hint=f'write a table: [labs."{name}"] and below it due = ...'
            )
        try:
            info = find_lab(name)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
        if info.slug in labs:
            raise ConfigError(f"{path}: lab {info.slug} is there twice", hint="keep one of the tables")
        facts = take(table, _LAB, where)
        due = read_due(facts["due"], zone, f"{where}: due") if "due" in facts else None
        extensions = {
            student: read_due(value, zone, f"{where}: extension of {student}")
            for student, value in facts.get("extensions", {}).items()
        }
        labs[info.slug] = CourseLab(info, due, facts.get("column", ""), extensions)
    return labs
