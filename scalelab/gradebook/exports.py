"""The gradebook as CSV: for people, and as Canvas, Moodle and nbgrader know it.

Equal results give equal bytes: no time of grading, students in the order of their ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from scalelab.core.table_cells import plain_text, safe_cell, visible_id
from scalelab.gradebook.classbook import Classbook, Entry
from scalelab.gradebook.table_files import write_table

MOODLE_LIMIT = 100
"""points that Moodle takes unless an administrator raised ``gradepointmax``"""


def write_exports(book: Classbook, out: Path) -> list[str]:
    """Write the four tables into `out`; return what the instructor must know before the upload."""
    _write_gradebook(book, out / "gradebook.csv")
    return [*_write_canvas(book, out / "canvas.csv"), *_write_moodle(book, out / "moodle.csv"),
            *_write_nbgrader(book, out / "nbgrader.csv")]  # fmt: skip


def _write_gradebook(book: Classbook, path: Path) -> None:
    """Write one row a student: points by task and question, sum, share, status and its reason."""
    counted = book.counted
    late = any(entry.grade and entry.grade.late is not None for entry in book.entries)
    costs = any(entry.percent_off for entry in book.entries)
    header = [
        "student", *(["name"] if book.has_roster else []),
        *(task.name for task in book.tasks), *(question.name for question in counted),
        "total", "max", "percent", "status", "reason", *(["late"] if late else []),
        *(["late_percent_off"] if costs else []),
        *(["to_mark"] if book.questions else []),
    ]  # fmt: skip
    rows = []
    for entry in book.entries:
        checks = [entry.check(task.name) for task in book.tasks]
        rows.append([
            visible_id(entry.student), *([plain_text(entry.person.full_name)] if book.has_roster else []),
            *(float(check["points"]) if check else 0.0 for check in checks),
            *(entry.marks[q.name].points if q.name in entry.marks else 0.0 for q in counted),
            entry.points, book.max_points, f"{book.percent(entry):.2f}",
            entry.status, plain_text(entry.reason),
            *([_late(entry)] if late else []), *([entry.percent_off] if costs else []),
            *([sum(entry.waits_for_mark(q.name) for q in book.questions)] if book.questions else []),
        ])  # fmt: skip
    write_table(path, header, rows, for_excel=True)


def _late(entry: Entry) -> str:
    is_late = entry.grade.late if entry.grade else None
    return "" if is_late is None else "yes" if is_late else "no"


def _write_canvas(book: Classbook, path: Path) -> list[str]:
    """Write what Canvas's Gradebook imports: five columns about the student, then the assignment.

    Canvas finds a student by ID, SIS User ID, SIS Login ID or name, in this order, and an assignment by the
    number in brackets that its own export puts behind the name; without one it offers to make an assignment.
    Whoever is not in the roster is left out, since Canvas would offer to add somebody.
    Source: lib/gradebook_importer.rb of instructure/canvas-lms.
    """
    rows: list[list[object]] = [["    Points Possible", "", "", "", "", book.max_points]]
    quoted = []
    for entry in book.entries:
        person = entry.person
        if book.has_roster and not person.id:
            continue
        name = f"{person.last_name}, {person.first_name}" if person.last_name else person.name
        if "Points Possible" in name:  # Canvas takes such a row for the assignment's points
            name = ""
        login = person.login if book.has_roster else visible_id(entry.student)
        sis_id = person.sis_id or ("" if person.login or not book.has_roster else person.student)
        fields = [plain_text(name), person.canvas_id, sis_id, login, person.section]
        if _is_quoted(fields):
            quoted.append(visible_id(entry.student))
        else:
            rows.append([*fields, round(entry.points, 2)])
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", book.column]
    write_table(path, header, rows)
    notes = []
    if not book.has_roster and book.column not in (book.title, book.lab):  # Canvas is meant
        notes.append("canvas.csv takes the files' names for login names: give the class list, --roster")
    notes += _left_out("canvas.csv", quoted)
    if book.has_roster and not re.search(r"\(\d+\)$", book.column):
        notes.append(
            f"canvas.csv names the assignment {book.column!r}: call the column 'Name (1234)' as Canvas's own "
            "export does (by --column, or in course.toml), or Canvas makes a new one"
        )
    return notes


def _write_moodle(book: Classbook, path: Path) -> list[str]:
    """Write what Moodle's "Import > CSV file" maps: user fields, the grade, and feedback in words.

    Grade and feedback belong in one import: one without the other empties it. A user that Moodle does not
    know stops the whole import, and so does a grade above `MOODLE_LIMIT`; hence nobody is listed who is not
    in the roster, and nobody whose field had to be quoted as a formula.
    Source: grade/import/csv/classes/load_data.php of moodle/moodle; docs.moodle.org, "Grade import".
    """
    rows, quoted = [], []
    for entry in book.entries:
        person = entry.person
        if book.has_roster and not person.id:
            continue
        login = (person.login or person.student) if book.has_roster else visible_id(entry.student)
        fields = [login, person.sis_id, person.email]
        if _is_quoted(fields):
            quoted.append(visible_id(entry.student))
            continue
        rows.append([*fields, entry.points, _in_words(book, entry)])
    header = ["Username", "ID number", "Email address", book.column, f"{book.column} (Feedback)"]
    write_table(path, header, rows)
    notes = []
    if book.max_points > MOODLE_LIMIT:
        notes.append(f"moodle.csv has points up to {book.max_points:g}: raise Moodle's gradepointmax first")
    return [*notes, *_left_out("moodle.csv", quoted)]


def _is_quoted(cells: Iterable[str]) -> bool:
    """Tell whether a cell would be written with a quote before it, and so name nobody."""
    return any(safe_cell(cell) != cell for cell in cells)


def _left_out(name: str, students: Sequence[str]) -> list[str]:
    if not students:
        return []
    return [
        f"not in {name}, since a spreadsheet would take the id for a formula: {', '.join(students)[:300]}"
    ]


def _in_words(book: Classbook, entry: Entry) -> str:
    if entry.grade is None or entry.status != "graded":
        return plain_text(entry.reason)
    passed = [task.name for task in book.tasks if (check := entry.check(task.name)) and check["points"] > 0]
    return f"{len(passed)} of {len(book.tasks)} checks passed; details are in your feedback page"


def _write_nbgrader(book: Classbook, path: Path) -> list[str]:
    """Write the columns of ``nbgrader export``, and ``id``, by which ``nbgrader db student import`` goes.

    nbgrader imports students and assignments from CSV, but no scores: those are for what reads its exports.
    Source: nbgrader/plugins/export.py and nbgrader/apps/dbapp.py of jupyter/nbgrader.
    """
    header = ["assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
              "raw_score", "late_submission_penalty", "score", "max_score", "id"]  # fmt: skip
    rows = [
        [book.lab, "", (entry.grade.submitted_at or "") if entry.grade else "", visible_id(entry.student),
         plain_text(entry.person.last_name), plain_text(entry.person.first_name), entry.person.email,
         entry.raw_points, entry.raw_points - entry.points, entry.points, book.max_points,
         visible_id(entry.student)]
        for entry in book.entries
    ]  # fmt: skip
    write_table(path, header, rows)
    return []
