"""One row per submission: what a grader writes and a gradebook reads, as lines of ``results.jsonl``.

A row is a JSON object of plain data with a schema number. The file only grows; a student's newest row counts.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.jsonl import TornRecordWarning, append_line
from scalelab.grading.checks import CheckResult

SCHEMA = 1
STATUSES = ("graded", "refused", "crashed", "timed out")
TEXT_LIMIT = 20_000
"""characters of one text in a row; a longer one is cut, and says so"""
_CONTROLS = {
    code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}


@dataclass(frozen=True)
class Grade:
    """What became of one submission, whatever it was: a file that could not be read has its row too."""

    student: str
    submission: str
    """its path in the folder of submissions, with ``/``; ``bulk.zip!/mira/lab.ipynb`` inside an archive"""
    sha256: str
    """of the notebook and the files handed in with it; empty if nothing could be read"""
    lab: str
    lab_sha256: str
    """of all files that decide points; another value means that the row is out of date"""
    status: str
    """``graded``, ``refused`` (no notebook to judge), ``crashed`` or ``timed out`` (it was stopped)"""
    reason: str = ""
    """why it was not graded, one sentence for the student; empty if graded"""
    points: float = 0.0
    max_points: float = 0.0
    checks: list[dict[str, Any]] = field(default_factory=list)
    """in the lab's order, each with name, outcome, points, max_points, goal, message, code, meaning, hint,
    is_hidden"""
    written: dict[str, str] = field(default_factory=dict)
    """answers in words, by the name of the question: for marking by hand"""
    fingerprints: dict[str, list[int]] = field(default_factory=dict)
    """`fingerprints.fingerprint` of the student's code, by the name of the task"""
    introspection: list[str] = field(default_factory=list)
    """where the code looks into Python's frames, closures or objects: for the instructor, no verdict"""
    notes: list[str] = field(default_factory=list)
    """what the grader passed over or mended, a sentence each: cells that ended in an error, a renamed file"""
    attempts: list[str] = field(default_factory=list)
    """paths of this student's older submissions, which do not count"""
    late: bool | None = None
    """None where there is no due date, or no time of submission"""
    submitted_at: str | None = None
    """ISO 8601 with offset, where the file or its folder tells"""
    isolation: list[str] = field(default_factory=list)
    """the layers that held around the learner's code"""
    seconds: float = 0.0
    """from the begin of the learner's process to its end [s]"""
    machine_load: float | None = None
    """load of the machine meanwhile, per core"""
    graded_at: str = ""
    """ISO 8601, UTC"""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        assert self.status in STATUSES, self.status
        assert math.isfinite(self.points), self.points

    def to_json(self) -> bytes:
        """Return the row as one line of JSON, without its end."""
        return json.dumps(_clean(asdict(self)), allow_nan=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, line: bytes) -> Grade:
        """Read a row; fields that a later version added are passed over.

        Raises:
            DataError: it is no row, or one of another schema.
        """
        try:
            facts = json.loads(line)
            known = {each.name for each in fields(cls)}
            row = cls(**{name: value for name, value in facts.items() if name in known})
        except (ValueError, TypeError, AttributeError, AssertionError) as error:
            raise DataError(
                f"{line[:60]!r}... is no row of results: {error}",
                hint="delete that line: its submission is then graded again",
            ) from None
        if row.schema != SCHEMA:
            raise DataError(
                f"a row of schema {row.schema}, this version reads {SCHEMA}",
                hint="grade into a new folder, or with the version that wrote these rows",
            )
        return row


def check_row(result: CheckResult, *, is_hidden: bool = False) -> dict[str, Any]:
    """Return what a row keeps of a check's result: no seed, no time, nothing that the code printed."""
    kept = ("name", "points", "max_points", "goal", "message", "code", "meaning", "hint")
    return {
        **{name: getattr(result, name) for name in kept},
        "outcome": result.outcome.value,
        "is_hidden": is_hidden,
    }


def append_grade(path: Path, *grades: Grade) -> None:
    """Add rows; on return they are on the disk.

    A run that is killed meanwhile leaves at most half a line, which the next one moves aside: its submission
    has no row then and is graded again.

    Raises:
        OSError: the disk is full or read-only; nothing was added.
    """
    if not grades:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornRecordWarning)
        append_line(path, b"\n".join(grade.to_json() for grade in grades))


def scan_grades(path: Path) -> Iterator[Grade]:
    """Yield all rows, oldest first, one at a time; half a line at the end is passed over.

    Raises:
        DataError: a whole line is no row; the message has its number.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Grade.from_json(line)
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error.message}", hint=error.hint) from None


def read_grades(path: Path) -> list[Grade]:
    """Return the newest row of each student, by the student's name.

    Raises:
        DataError: a whole line is no row.
    """
    newest = {grade.student: grade for grade in scan_grades(path)}
    return [newest[student] for student in sorted(newest)]


def _clean(value: Any) -> Any:
    """Make every text printable UTF-8 of a bounded length, so that whoever reads a row can write it again."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode().translate(_CONTROLS)
        if len(text) > TEXT_LIMIT:
            return f"{text[:TEXT_LIMIT]}... ({len(text) - TEXT_LIMIT} more characters)"
        return text
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
