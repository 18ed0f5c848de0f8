"""Marks that a person gave for written answers: ``marks.jsonl`` beside the results, which only grows.

A mark is never changed or removed in the file; the newest of a student's answer counts.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.jsonl import TornRecordWarning, append_line, read_lines

NAME = "marks.jsonl"
SCHEMA = 1


@dataclass(frozen=True)
class Mark:
    """One answer's points, as a person gave them."""

    student: str
    task: str
    """the question's name"""
    points: float
    max_points: float
    criteria: dict[str, float] = field(default_factory=dict)
    """points by criterion, where the rubric has criteria and they were filled in"""
    comment: str = ""
    """for the student"""
    answer: str = ""
    """`answer_id` of what was marked: shows if another answer was handed in since"""
    marked_at: str = ""
    """ISO 8601, UTC"""
    schema: int = SCHEMA

    def says_the_same(self, other: Mark) -> bool:
        """Tell whether another mark differs in its time only."""
        return replace(self, marked_at="") == replace(other, marked_at="")


def answer_id(text: str) -> str:
    """Return a short name of an answer's wording, which no spreadsheet takes for a number."""
    return "v-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def append_marks(out: Path, marks: Iterable[Mark]) -> None:
    """Add marks, all or none of them; on return they are on the disk.

    Raises:
        OSError: the disk is full or read-only; nothing was added.
    """
    lines = [json.dumps(asdict(mark), separators=(",", ":")).encode() for mark in marks]
    if lines:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TornRecordWarning)
            append_line(out / NAME, b"\n".join(lines))


def read_marks(out: Path) -> dict[tuple[str, str], list[Mark]]:
    """Return the marks of each (student, task), the newest last.

    Raises:
        DataError: a whole line is no mark; the message has its number.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordWarning)
        lines = read_lines(out / NAME)
    marks: dict[tuple[str, str], list[Mark]] = {}
    for number, line in enumerate(lines, 1):
        mark = _mark(out / NAME, number, line)
        marks.setdefault((mark.student, mark.task), []).append(mark)
    return marks


def _mark(path: Path, number: int, line: bytes) -> Mark:
    try:
        facts: dict[str, Any] = json.loads(line)
        known = {each.name for each in fields(Mark)}
        return Mark(**{name: value for name, value in facts.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}, line {number} is no mark: {error}",
            hint="put that line right, or move it to another file: the marks around it are not touched",
        ) from None
