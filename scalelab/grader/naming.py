"""Whose file is it? One table of the names that course systems give to what students hand in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from scalelab.core.errors import ConfigError

# Each rule is a regular expression over a path inside the folder of submissions; the first that fits counts.
# Groups: student; folder: all below it is this student's; lab: of several labs; order: grows with time; late.
RULES: tuple[tuple[str, str], ...] = (
    ("nbgrader", r"(?P<folder>(?:.*/)?submitted/(?P<student>[^/]+)/(?P<lab>[^/]+))/.+"),
    ("Moodle", r"(?P<folder>(?:.*/)?(?P<student>[^/]+_\d+)_assignsubmission_[a-z]+_?)/.+"),
    ("Moodle, without folders", r"(?P<student>[^/]+_\d+)_assignsubmission_[a-z]+_[^/]+"),
    ("Canvas", r"(?P<student>[^\W_]+(?:_(?P<late>LATE))?_\d+)_(?P<order>\d+)_[^/]+"),
    ("Google Classroom", r"(?P<student>[^/]+?) - [^/]+"),
    ("a folder for each student", r"(?P<folder>(?P<student>[^/]+))/.+"),
    ("a file for each student", r"(?P<student>[^/]+?)\.\w+"),
)
_COMPILED = [(system, re.compile(rule)) for system, rule in RULES]
_COPIES = re.compile(r"(?: ?\((\d+)\)|-Copy(\d+))$")
"""what browsers and Jupyter add to a second file of one name"""
_COPY_OF = re.compile(r"^(?:Copy|Kopie) (?:of|von) ", re.IGNORECASE)
_FIELDS = {
    "student": r"(?P<student>[^/]+?)",
    "lab": r"(?P<lab>[^/]+?)",
    "order": r"(?P<order>\d+)",
    "*": r"[^/]*",
    "**": r".*",
}


@dataclass(frozen=True)
class Owner:
    """Whose file it is, as its path tells."""

    student: str
    folder: str = ""
    """all files below are this student's; empty where students share a folder"""
    lab: str = ""
    order: int = 0
    late: bool | None = None
    copy: int = 0
    """1 for ``name (1).ipynb``, which came after ``name.ipynb``"""


def find_owner(path: str, *, pattern: re.Pattern[str] | None = None) -> Owner | None:
    """Return whose file `path` is; None where a pattern is given and does not fit."""
    path = unicodedata.normalize("NFC", path)
    stem, dot, ending = path.rpartition(".")
    copied = _COPIES.search(stem) if dot and "/" not in ending else None
    copy = int(copied.group(1) or copied.group(2)) if copied else 0
    plain = f"{stem[: copied.start()]}.{ending}" if copied else path
    if pattern is not None:
        in_name = "/" not in pattern.pattern.replace("[^/]", "")
        found = pattern.fullmatch(plain.rpartition("/")[2] if in_name else plain)
        return _owner(found, copy) if found else None
    for system, rule in _COMPILED:
        if found := rule.fullmatch(plain):
            return _owner(found, copy, is_canvas=system == "Canvas")
    return Owner(plain, copy=copy)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the expression of a pattern like ``{student}_{lab}.ipynb``: fields, ``*`` and ``**``.

    With a ``/`` it is for the whole path, without one for the file's name.

    Raises:
        ConfigError: it has no ``{student}``, or another field than those known.
    """
    made, seen = "", set()
    for piece in re.split(r"(\{[^{}]*\}|\*\*|\*)", pattern):
        name = piece[1:-1] if piece.startswith("{") else piece
        if piece.startswith("{") and name not in _FIELDS:
            raise ConfigError(
                f"the pattern {pattern!r} has a field {piece}",
                hint="fields are {student}, {lab}, {order}, * and **",
            )
        if name in seen:
            raise ConfigError(
                f"the pattern {pattern!r} has {piece} twice", hint="use * for what does not matter"
            )
        if piece.startswith("{"):
            seen.add(name)
        made += _FIELDS[name] if piece in ("*", "**") or piece.startswith("{") else re.escape(piece)
    if "student" not in seen:
        raise ConfigError(
            f"the pattern {pattern!r} does not say where the student's name is",
            hint="for example '{student}_{lab}.ipynb' or '*/{student}/*.ipynb'",
        )
    return re.compile(made)


def is_lab(name: str, slug: str) -> bool:
    """Tell whether a folder's or file's name means the lab `slug`: itself, its number, or its words."""
    plain = re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
    number, _, words = slug.casefold().partition("_")
    known = {slug.casefold(), words} | ({number, str(int(number))} if number.isdigit() else set())
    return bool({plain, plain.removeprefix("lab").strip("_")} & (known - {""}))


def choose_lab(names: Iterable[str], slug: str) -> str | None:
    """Return which of several labs' folders is meant; None where all files are of one lab.

    Raises:
        ConfigError: none of them looks like this lab.
    """
    every = sorted(set(names))
    if len(every) < 2:
        return None
    for name in every:
        if is_lab(name, slug):
            return name
    raise ConfigError(
        f"there are submissions to {', '.join(every[:8])}, and none of these is {slug!r}",
        hint=f"say which by a pattern: --pattern 'submitted/{{student}}/{every[0]}/*.ipynb'",
    )


def _owner(found: re.Match[str], copy: int, *, is_canvas: bool = False) -> Owner:
    groups = found.groupdict()
    student = _COPY_OF.sub("", groups["student"]).strip()
    if is_canvas:
        student = student.replace("_LATE_", "_")
    late = bool(groups.get("late")) if is_canvas else None
    return Owner(
        student or found.string,
        groups.get("folder") or "",
        groups.get("lab") or "",
        int(groups.get("order") or 0),
        late,
        copy,
    )
