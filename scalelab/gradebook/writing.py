"""All that becomes of a folder of results, written anew from what is on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scalelab.core.locks import hold_lock
from scalelab.gradebook.classbook import keep_settings, read_classbook
from scalelab.gradebook.dashboard import write_dashboard
from scalelab.gradebook.exports import write_exports
from scalelab.gradebook.feedback import write_feedback
from scalelab.gradebook.written import write_written

LOCK = ".gradebook.lock"


@dataclass(frozen=True)
class Report:
    """What was written, and what to know about it."""

    students: int
    max_points: float
    notes: tuple[str, ...]
    """a sentence each"""


def write_gradebook(
    out: Path, *, roster: Path | None = None, rubric: Path | None = None, title: str = "", column: str = ""
) -> Report:
    """Write gradebook, exports, feedback pages, dashboard and the table of written answers into `out`.

    Everything is made from ``results.jsonl``, ``marks.jsonl``, and what was given now or before. Equal
    results give equal CSV files, byte for byte.

    Args:
        out: folder of the results.
        roster: a class list (see `read_roster`), kept as ``roster.csv``.
        rubric: points of the questions that are answered in words, kept as ``rubric.toml``.
        title: of the lab, for people.
        column: name of the assignment in the course system: ``Lab 6 (1234)`` as Canvas exports it.

    Raises:
        DataError: no results, or a file that cannot be used.
        ConfigError: somebody else is writing it.
    """
    with hold_lock(out / LOCK, doing="writing the gradebook"):
        keep_settings(out, roster=roster, rubric=rubric, title=title, column=column)
        book = read_classbook(out)
        notes = [*book.notes, *write_exports(book, out)]
        if told := write_written(book, out):
            notes.append(told)
        write_feedback(book, out)
        write_dashboard(book, out)
    return Report(len(book.entries), book.max_points, tuple(notes))
