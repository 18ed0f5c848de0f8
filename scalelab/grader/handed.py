"""A submission on its way to a judge: read, hashed, with what its row will say about where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from scalelab.grader.cells import Refused
from scalelab.grader.submissions import Submission


@dataclass(frozen=True)
class Handed:
    """All that a judge needs, as plain data: it may sit in another process or on another machine."""

    student: str
    submission: str
    """its path, to show"""
    raw: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    sha256: str = ""
    problem: str = ""
    """why it cannot be judged; empty if it can"""
    notes: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()
    late: bool | None = None
    submitted_at: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """Return what goes into the row as it is."""
        kept = ("student", "submission", "sha256", "late", "submitted_at")
        return {**{name: getattr(self, name) for name in kept}, "attempts": list(self.attempts)}

    def to_plain(self) -> dict[str, Any]:
        """Return it as a dict of plain data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, facts: Mapping[str, Any]) -> Handed:
        """Return what `to_plain` was made of."""
        return cls(**{**facts, "notes": tuple(facts["notes"]), "attempts": tuple(facts["attempts"])})


def hand_over(submission: Submission, *, lab: str = "", due: datetime | None = None) -> Handed:
    """Read a submission; never raises for what a student handed in.

    Args:
        lab: the lab's slug.
        due: with it, the time of the file itself counts where the course system tells none.
    """
    notes = list(submission.notes)
    told = submission.submitted_at
    if told is None and due is not None and submission.is_late is None and submission.modified_at is not None:
        told = submission.modified_at
        notes.append("the time of submission is that of the file")
    late = submission.is_late
    if late is None and due is not None and told is not None:
        late = told > due
    facts: dict[str, Any] = {
        "student": submission.student,
        "submission": submission.path,
        "attempts": submission.attempts,
        "late": late,
        "submitted_at": told.isoformat() if told else None,
    }
    try:
        read = submission.load(lab=lab)
    except Refused as refused:
        return Handed(**facts, problem=refused.reason, notes=tuple(notes))
    return Handed(**facts, raw=read.raw, files=read.files, sha256=read.sha256, notes=(*notes, *read.notes))
