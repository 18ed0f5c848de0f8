"""File names for pages of students, whatever their ids are: no path, no device, no two alike."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789")}
"""names that Windows keeps for itself, with any ending"""
_HASHED = re.compile(r"-[0-9a-f]{12}$")
BYTES = 100


def page_names(students: Iterable[str]) -> dict[str, str]:
    """Return a file name for each student: the id where it can be one, else what is left of it and a hash.

    Letters and digits of any script stay. Ids that differ only by case, or by what was replaced, get the
    hash, and so does one that looks as if it had one: no page is written over another on any file system.
    """
    ids = list(students)
    stems = {student: _stem(student) for student in ids}
    taken = Counter(stem.casefold() for stem in stems.values())
    return {
        student: f"{stem}.html"
        if stem == student and taken[stem.casefold()] == 1 and not _HASHED.search(stem)
        else f"{stem[:40]}-{hashlib.sha256(student.encode('utf-8', 'replace')).hexdigest()[:12]}.html"
        for student, stem in stems.items()
    }


def _stem(student: str) -> str:
    """Return letters, digits, ``- _ . @`` of an id, short enough for a file name, and no reserved one."""
    text = unicodedata.normalize("NFC", student)
    kept = "".join(sign if sign in "-_.@" or unicodedata.category(sign)[0] in "LNM" else "-" for sign in text)
    kept = kept.strip(".-") or "student"
    while len(kept.encode()) > BYTES:
        kept = kept[:-1]
    return f"_{kept}" if kept.split(".")[0].casefold() in _DEVICES else kept
