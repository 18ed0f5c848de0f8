"""The rows that a folder of results has already: which are up to date, without holding them in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.grader.handed import Handed
from scalelab.grading.grades import Grade, append_grade, read_grades, scan_grades

_ORIGIN = ("submission", "attempts", "late", "submitted_at")
"""what a row says of where a submission came from: it may change although the submission does not"""


@dataclass(frozen=True)
class _Known:
    sha256: str
    lab_sha256: str
    reason: str
    """where there is no hash: why nothing could be read"""
    origin: int
    is_settled: bool
    """no measurement in it is waiting for a quieter machine"""


class KnownRows:
    """The newest row of each student in a file of results, and the way new ones get there.

    Raises:
        ConfigError: the rows are those of another lab.
    """

    def __init__(self, path: Path, *, lab: str):
        self._path = path
        self._rows: dict[str, _Known] = {}
        self._moved: dict[str, Handed] = {}
        for grade in scan_grades(path):
            if grade.lab != lab:
                raise ConfigError(
                    f"{path.parent} holds grades of {grade.lab}", hint="choose another folder with --out"
                )
            self._know(grade)

    @property
    def students(self) -> set[str]:
        """Return all students that have a row."""
        return set(self._rows)

    def is_current(self, handed: Handed, lab_sha256: str) -> bool:
        """Tell whether a submission has a row that judging it again would not change.

        What changed around it (its path, whether it is late) is kept in mind for `update`.
        """
        row = self._rows.get(handed.student)
        if row is None or not row.is_settled or row.lab_sha256 != lab_sha256:
            return False
        if row.sha256 != handed.sha256 or (not row.sha256 and row.reason != handed.problem):
            return False
        if row.origin != _origin(handed.facts):
            self._moved[handed.student] = replace(handed, raw=b"", files={})
        return True

    def append(self, *grades: Grade) -> None:
        """Add rows."""
        append_grade(self._path, *grades)
        for grade in grades:
            self._know(grade)

    def update(self) -> None:
        """Write rows anew around which something changed."""
        if self._moved:
            rows = [grade for grade in read_grades(self._path) if grade.student in self._moved]
            self.append(*(replace(grade, **self._moved[grade.student].facts) for grade in rows))
            self._moved.clear()

    def _know(self, grade: Grade) -> None:
        self._rows[grade.student] = _Known(
            grade.sha256,
            grade.lab_sha256,
            "" if grade.sha256 else grade.reason,
            _origin(vars(grade)),
            all(check["outcome"] != "inconclusive" for check in grade.checks),
        )


def _origin(facts: dict[str, Any]) -> int:
    return hash(repr([facts[name] for name in _ORIGIN]))
