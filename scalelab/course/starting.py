"""A new course: a folder with a commented ``course.toml``, a class list to fill in, and a secret key."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from scalelab.classroom import list_labs
from scalelab.core.errors import ConfigError
from scalelab.core.paths import make_folder
from scalelab.course.settings import FILE, Course, load_course

_TOML = """\
# A course. Every command of `scalelab course` reads this file; run them in this folder.
name = {name}
time_zone = {time_zone}      # of the due times below: Asia/Kolkata, Europe/Berlin, America/New_York, ...

# The class: a CSV with the columns student, name, email; or what Canvas, Moodle or nbgrader export.
roster = "roster.csv"

# The course's secret: all variants and hidden inputs come from it. Keep a copy, and give it to nobody.
key_file = "course.key"

[late]
# In words, for the students; and in numbers, for the gradebook. `days`: after so many nothing counts.
words = "Each begun day costs 10 % of the points; after 3 days nothing counts."
grace_minutes = 15
percent_per_day = 10
days = 3

[folders]
released = "released"      # what students get
collected = "collected"    # what they handed in
grades = "grades"          # results, gradebooks, feedback

# The labs of this course. Uncomment those that you give, with their due times (seconds are part of a time).
# `column` is the assignment's name in your course system, as its own export has it.
# `extensions` are students with a due time of their own.
{labs}"""
_LAB = """\
#[labs.{slug}]
#due = 2026-11-30T23:59:00
#column = "Lab {number} (1234)"
#extensions = {{ "student-id" = 2026-12-07T23:59:00 }}
"""
_ROSTER = "student,name,email\n"
_IGNORED = "course.key\nroster.csv\nreleased/\ncollected/\ngrades/\n"


def new_course(folder: Path, *, name: str = "", time_zone: str = "UTC") -> Course:
    """Write the files of a new course; a file that is there already is left as it is.

    Raises:
        ConfigError: there is a course already, the folder cannot be written, or there is no such time zone.
    """
    path = folder / FILE
    if path.exists():
        raise ConfigError(f"{path} is there already", hint="choose another folder, or edit that file")
    make_folder(folder)
    labs = "\n".join(_LAB.format(slug=f'"{info.slug}"', number=info.number) for info in list_labs())
    text = _TOML.format(
        name=json.dumps(name or folder.resolve().name), time_zone=json.dumps(time_zone), labs=labs
    )
    for file, content, mode in (
        (FILE, text, 0o666),
        ("roster.csv", _ROSTER, 0o666),
        (".gitignore", _IGNORED, 0o666),
        ("course.key", secrets.token_hex(32) + "\n", 0o600),
    ):
        _write_new(folder / file, content, mode)
    try:
        return load_course(folder)
    except ConfigError:
        path.unlink()  # a wrong time zone: the next attempt begins anew
        raise


def _write_new(path: Path, content: str, mode: int) -> None:
    """Write a file that is not there yet, from the first moment readable only for those whom `mode` lets."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(content)
