"""Written answers, for a person to mark: ``written.csv`` goes out, and comes back with numbers in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from scalelab.core.errors import DataError, did_you_mean
from scalelab.core.table_cells import EXCEL_LIMIT, plain_text, visible_id
from scalelab.gradebook.classbook import Classbook, Entry, read_classbook
from scalelab.gradebook.marks import Mark, answer_id, append_marks, read_marks
from scalelab.gradebook.rubric import Criterion, Question
from scalelab.gradebook.table_files import Row, Table, read_table, write_table

NAME = "written.csv"
BEFORE = ("student", "name", "task", "question", "answer")
AFTER = ("mark", "max", "comment", "note", "version")
NOT_ASKED = "–"
"""in the column of a criterion that the row's question does not have"""
SHOWN_PROBLEMS = 12


@dataclass(frozen=True)
class Merged:
    """What became of a table of marks."""

    new: int
    changed: tuple[str, ...]
    """``mira, residual: 2 -> 3``"""
    outdated: tuple[str, ...]
    """marks that were replaced since this table was written, which were passed over"""
    same: int
    unmarked: int
    """rows without a mark, which were passed over"""


def write_written(book: Classbook, out: Path) -> str:
    """Write ``written.csv``: one row an answer, with the marks that are known; nothing if there is none.

    A table with marks that were not merged yet is never written over.

    Returns:
        what to tell whoever asked for it; empty if all went its way.
    """
    rows = [
        _row(entry, question, _criteria(book))
        for question in book.questions
        for entry in book.entries
        if entry.answer(question.name).strip() or question.name in entry.marks
    ]
    path = out / NAME
    if path.exists() and (left := _unmerged(book, path)):
        return f"{path} was left as it is: {left}"
    if rows or path.exists():
        header = (*BEFORE, *(criterion.column for criterion in _criteria(book)), *AFTER)
        write_table(path, header, rows, for_excel=True)
    return ""


def merge_marks(
    out: Path, path: Path, *, overwrite: bool = False, now: Callable[[], datetime] | None = None
) -> Merged:
    """Take the marks of a filled ``written.csv`` into ``marks.jsonl``: all of them, or none and the reasons.

    An empty mark changes nothing, and a mark that somebody has replaced since is passed over, so that several
    people can mark a part each. Points of criteria add up to the mark; with a mark alone they are not needed.

    Args:
        out: folder of the results.
        path: the filled table.
        overwrite: let marks that were replaced since count again.
        now: clock, for tests.

    Raises:
        DataError: unknown or double rows, marks that are no numbers, below 0 or above the maximum.
    """
    book = read_classbook(out)
    found, unmarked, problems = _read_marks(book, read_table(path))
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        raise DataError(
            "\n  ".join([f"{path}: nothing was merged", *problems[:SHOWN_PROBLEMS]])
            + (f"\n  and {more} more" if more > 0 else ""),
            hint="mend these lines and merge again; no mark is lost meanwhile",
        )
    history = read_marks(out)
    at = (now or (lambda: datetime.now(timezone.utc)))().isoformat(timespec="seconds")
    fresh, changed, outdated, same = [], [], [], 0
    for mark in found:
        old = history.get((mark.student, mark.task), [])
        told = f"{mark.student}, {mark.task}: {old[-1].points:g} -> {mark.points:g}" if old else ""
        if old and mark.says_the_same(old[-1]):
            same += 1
        elif any(mark.says_the_same(each) for each in old[:-1]) and not overwrite:
            outdated.append(told)
        else:
            fresh.append(replace(mark, marked_at=at))
            changed += [told] if told else []
    append_marks(out, fresh)
    return Merged(len(fresh) - len(changed), tuple(changed), tuple(outdated), same, unmarked)


def _row(entry: Entry, question: Question, criteria: Sequence[Criterion]) -> list[object]:
    mark, notes = entry.marks.get(question.name), []
    if mark and not entry.is_marked(question.name):
        notes.append(f"an older answer was marked {mark.points:g}, which counts until this one is marked")
        mark = None
    answer = plain_text(entry.answer(question.name))
    if len(answer) > EXCEL_LIMIT:
        notes.append(f"cut: the answer has {len(answer):,} characters")
        answer = answer[:EXCEL_LIMIT]
    own = {criterion.column: criterion for criterion in question.criteria}
    given = mark.criteria if mark else {}
    return [
        visible_id(entry.student), plain_text(entry.person.full_name), question.name, question.text, answer,
        *(given.get(own[c.column].name, "") if c.column in own else NOT_ASKED for c in criteria),
        mark.points if mark else "", question.points or "", mark.comment if mark else "", "; ".join(notes),
        answer_id(entry.answer(question.name)),
    ]  # fmt: skip


def _criteria(book: Classbook) -> list[Criterion]:
    """Return the criteria of all questions; questions share one of equal name and points."""
    return list({c.column: c for question in book.questions for c in question.criteria}.values())


def _unmerged(book: Classbook, path: Path) -> str:
    """Say what in an existing table is not among the marks; empty if it may be written over."""
    try:
        found, _, problems = _read_marks(book, read_table(path))
    except DataError as error:
        return error.message
    history = read_marks(path.parent)
    new = [
        mark
        for mark in found
        if not any(mark.says_the_same(old) for old in history.get((mark.student, mark.task), []))
    ]
    if not new and not problems:
        return ""
    which = f"{len(new)} marks in it are" if new else f"{problems[0]}; its marks are"
    return f"{which} not merged yet. Run `scalelab gradebook marks {path.parent} {path}`"


def _read_marks(book: Classbook, table: Table) -> tuple[list[Mark], int, list[str]]:
    """Return the marks of a table, the number of rows without one, and what is wrong."""
    if missing := {"student", "task", "mark"} - set(table.header):
        raise DataError(
            f"{table.path} has no column {' and no column '.join(sorted(missing))}",
            hint="fill in the written.csv that `scalelab gradebook write` made, and keep its first line",
        )
    reader = _Reader(book)
    marks, unmarked, problems = [], 0, []
    seen: dict[tuple[str, str], int] = {}
    for row in table.rows:
        try:
            mark = reader.mark(row)
        except _Problem as problem:
            problems.append(f"line {row.line}: {problem}")
            continue
        if mark is None:
            unmarked += 1
            continue
        key = (mark.student, mark.task)
        if key in seen:
            problems.append(f"line {row.line}: {' and '.join(key)} are in line {seen[key]} already: keep one")
        seen.setdefault(key, row.line)
        marks.append(mark)
    return marks, unmarked, problems


class _Problem(Exception):
    """What is wrong with one row."""


class _Reader:
    """Reads rows of marks for a class."""

    def __init__(self, book: Classbook):
        self.questions = {question.name: question for question in book.questions}
        self.entries = {visible_id(entry.student): entry for entry in book.entries}
        numbers = [name.lstrip("0") for name in self.entries if name.isdecimal()]
        self.without_zeros = {
            name.lstrip("0"): name
            for name in self.entries
            if name.isdecimal() and numbers.count(name.lstrip("0")) == 1
        }
        """spreadsheets turn 007 into 7"""

    def mark(self, row: Row) -> Mark | None:
        """Return the mark in a row; None if there is none."""
        student, task, comment = row.get("student"), row.get("task"), row.get("comment")
        student = student if student in self.entries else self.without_zeros.get(student, student)
        if student not in self.entries:
            raise _Problem(f"student {student!r} is unknown: {did_you_mean(student, self.entries)[:200]}")
        if task not in self.questions:
            raise _Problem(f"task {task!r} is unknown: {did_you_mean(task, self.questions)[:200]}")
        question, entry = self.questions[task], self.entries[student]
        criteria = self._criteria(row, question)
        points = _number(row.get("mark"), "mark")
        if criteria:
            total = sum(criteria.values())
            if points is not None and abs(points - total) > 1e-9:
                raise _Problem(
                    f"mark {points:g} is not the sum of the criteria, {total:g}: empty one of them"
                )
            points = total
        if points is None:
            if comment and not (entry.marks.get(task) and entry.marks[task].comment == comment):
                raise _Problem("a comment without a mark: give the mark too")
            return None
        limit = _number(row.get("max"), "max") or question.points
        if question.points and limit != question.points:
            raise _Problem(f"max is {limit:g} here and {question.points:g} elsewhere: a question has one")
        if not limit:
            raise _Problem("no maximum: fill in the column max, or give points in the rubric")
        if points > limit:
            raise _Problem(f"mark {points:g} is above the maximum of {limit:g}")
        self.questions[task] = Question(task, limit, question.text, question.criteria)
        return Mark(
            entry.student, task, points, limit, criteria, comment,
            answer=row.get("version") or answer_id(entry.answer(task)),
        )  # fmt: skip

    def _criteria(self, row: Row, question: Question) -> dict[str, float]:
        given = {each.name: _number(row.get(each.column), each.name) for each in question.criteria}
        if all(points is None for points in given.values()):
            return {}
        full: dict[str, float] = {}
        for each in question.criteria:
            points = given[each.name]
            if points is None:
                raise _Problem(f"{each.name!r} is empty: write 0 if it earns nothing")
            if points > each.points:
                raise _Problem(f"{each.name!r} has {points:g}, above its maximum of {each.points:g}")
            full[each.name] = points
        return full


def _number(text: str, what: str) -> float | None:
    """Read points, with a point or a comma; None if the cell is empty."""
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise _Problem(f"{what} {text[:40]!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise _Problem(f"{what} {text[:40]!r} is not a number from 0 up")
    return value
