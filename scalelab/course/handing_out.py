"""What students get: one archive for all, or one for each where the lab has variants."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.paths import make_folder
from scalelab.course.settings import Course, CourseLab
from scalelab.gradebook.page_names import page_names
from scalelab.gradebook.table_files import write_table
from scalelab.grader.lab import GradedLab
from scalelab.grading.variants import FILE, student_variant, variant_file

TABLE = "handouts.csv"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""time of all members, so that the same hand-out has the same bytes"""


@dataclass(frozen=True)
class HandedOut:
    """The archives of one lab."""

    folder: Path
    archives: tuple[Path, ...]
    is_per_student: bool


def hand_out(course: Course, lab: CourseLab) -> HandedOut:
    """Write the archives of a lab, and for variants a table with everybody's file.

    The same course gives the same bytes, so it may be repeated when somebody joins.

    Raises:
        ConfigError: the key is missing, or nobody is in the class list, and the lab has variants.
        DataError: the class list is damaged.
    """
    files = {f"{lab.slug}.ipynb": lab.info.notebook.read_bytes()}
    readme = lab.info.folder / "README.md"
    if readme.is_file():
        files["README.md"] = readme.read_bytes()
    is_per_student = GradedLab.load(lab.info.folder).has_variants
    key, people = (course.key(), course.students()) if is_per_student else ("", ())
    folder = make_folder(course.released / lab.slug)
    if not is_per_student:
        path = _write(folder / f"{lab.slug}.zip", _archive(lab.slug, files))
        return HandedOut(folder, (path,), False)
    names = page_names(person.id for person in people)
    archives, rows = [], []
    for person in people:
        variant = student_variant(key, student=person.id, lab=lab.slug)
        own = files | {FILE: variant_file(variant, student=person.id)}
        path = folder / names[person.id].replace(".html", ".zip")
        archives.append(_write(path, _archive(lab.slug, own)))
        rows.append((person.id, person.full_name, person.email, path.name))
    write_table(folder / TABLE, ("student", "name", "email", "file"), rows)
    return HandedOut(folder, tuple(archives), True)


def _archive(slug: str, files: dict[str, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(f"{slug}/{name}", _LONG_AGO)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return into.getvalue()


def _write(path: Path, content: bytes) -> Path:
    """Write a file so that nobody meets half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path
