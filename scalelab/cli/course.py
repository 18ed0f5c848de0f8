"""``scalelab course new | release | collect | grade | export``: a term, from one ``course.toml``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

_PATH = click.Path(path_type=Path)
_COURSE = click.option(
    "--course", "folder", type=_PATH, default=".", show_default=True, help="Folder with the course.toml."
)
_FORMATS = ("csv", "canvas", "moodle", "nbgrader")


@click.group()
def course() -> None:
    """Walk through a term: hand out, collect, grade, export.

    All from one course.toml.
    """


@course.command()
@click.argument("folder", type=_PATH)
@click.option("--name", default="", help="Of the course.  [default: the folder's name]")
@click.option("--time-zone", default="UTC", show_default=True, help="Of due times: Asia/Kolkata, ...")
def new(folder: Path, name: str, time_zone: str) -> None:
    """Begin a course in FOLDER.

    It gets a commented course.toml, a class list, a secret key.
    """
    from scalelab.course import new_course

    made = new_course(folder, name=name, time_zone=time_zone)
    click.echo(f"{folder / 'course.toml'}: the course; choose its labs and due times there")
    click.echo(f"{made.roster}: the class; fill it in, or put your course system's export there")
    click.echo(f"{made.key_file}: the secret of all variants; keep a copy, give it to nobody")
    there = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    click.echo(f"next: edit the first two, then: {there}scalelab course release LAB")


@course.command()
@click.argument("lab")
@_COURSE
def release(lab: str, folder: Path) -> None:
    """Make what students get of LAB.

    One archive for all; or one for each, where the lab has variants.
    """
    from scalelab.course import hand_out, load_course

    opened = load_course(folder)
    chosen = opened.lab(lab)
    out = hand_out(opened, chosen)
    if out.is_per_student:
        click.echo(f"{out.folder}: {len(out.archives)} archives, each with one student's own variant")
        click.echo(f"{out.folder / 'handouts.csv'}: whose is which, for a mail merge")
    else:
        click.echo(f"{out.archives[0]}: the same for all")
    if chosen.due:
        click.echo(f"due: {chosen.due:%Y-%m-%d %H:%M %Z}. {opened.late}")
    else:
        click.echo(f"no due time; add one in {opened.folder / 'course.toml'}: due = 2026-11-30T23:59:00")
    click.echo(f"next, when hand-ins are there: scalelab course collect {chosen.slug} FOLDER_OR_ZIP")


@course.command()
@click.argument("lab")
@click.argument("source", type=_PATH, metavar="FOLDER_OR_ZIP")
@click.option("--pattern", help="Names of the files, such as '{student}_{lab}.ipynb'.")
@_COURSE
def collect(lab: str, source: Path, pattern: str | None, folder: Path) -> None:
    """Take in hand-ins to LAB.

    From a folder, or from what Canvas, Moodle, Google Classroom or nbgrader gave. They are
    copied; nothing that was collected earlier is overwritten, and of each student the newest counts.
    """
    from scalelab.course import load_course
    from scalelab.course.collecting import collect as collect_all

    opened = load_course(folder)
    chosen = opened.lab(lab)
    found = collect_all(opened, chosen, source, pattern=pattern)
    click.echo(f"{len(found.new)} new, {len(found.known)} were here already: {opened.collected}")
    for student, why in sorted(found.problems.items()):
        click.secho(f"  {student}: {why}", fg="yellow")
    _name("not in the class list, collected all the same", found.unlisted)
    _name("nothing yet from", [person.id for person in found.missing])
    click.echo(f"next: scalelab course grade {chosen.slug}")


@course.command()
@click.argument("lab")
@click.option(
    "--jobs", type=click.IntRange(1), help="Judges at one time.  [default: one per core, at most 8]"
)
@click.option("--only", multiple=True, metavar="STUDENT", help="Grade these again; may be repeated.")
@click.option("--require-sandbox", is_flag=True, help="Refuse to run with less than full isolation.")
@_COURSE
def grade(lab: str, jobs: int | None, only: tuple[str, ...], require_sandbox: bool, folder: Path) -> None:
    """Grade what was collected for LAB; again, only what has changed."""
    import os
    import sys

    from scalelab.cli.grade import show_finished, show_progress
    from scalelab.course import load_course
    from scalelab.course.grading_run import grade as grade_all

    opened = load_course(folder)
    chosen = opened.lab(lab)
    done = grade_all(
        opened,
        chosen,
        jobs=jobs or min(8, os.cpu_count() or 1),
        only=only,
        require_sandbox=require_sandbox,
        on_progress=show_progress if sys.stderr.isatty() else None,
    )
    show_finished(done.finished)
    for late in done.late:
        click.echo(f"late: {late.student}, {late.days_late} d after {late.due}: {late.percent_off:g} % off")
    _say(done.notes)
    click.echo(f"the class at a glance: {done.out / 'dashboard.html'}; feedback: {done.out / 'feedback'}")
    click.echo(f"next: scalelab course export {chosen.slug} --format canvas")


@course.command()
@click.argument("lab")
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="csv", show_default=True)
@_COURSE
def export(lab: str, kind: str, folder: Path) -> None:
    """Write LAB's gradebook for a course system.

    With late hand-ins and marks by hand as they are now.
    """
    from scalelab.course import load_course
    from scalelab.course.grading_run import export as export_table

    opened = load_course(folder)
    path, written = export_table(opened, opened.lab(lab), kind)
    _say(
        [
            note
            for note in written.notes
            if not any(f"{other}.csv" in note for other in _FORMATS if other != kind)
        ]
    )
    click.echo(f"{path}: {written.students} students, {written.max_points:g} points")
    where = {
        "canvas": "in Canvas: Grades > Import",
        "moodle": "in Moodle: Grades > Import > CSV file",
        "nbgrader": "read it beside what `nbgrader export` writes",
        "csv": "open it in any spreadsheet",
    }
    click.echo(f"next: {where[kind]}")


def _name(what: str, students: Sequence[str]) -> None:
    if students:
        shown = ", ".join(students[:10]) + (f" and {len(students) - 10} more" if len(students) > 10 else "")
        click.secho(f"  {what}: {shown}", fg="yellow")


def _say(notes: Sequence[str]) -> None:
    for note in notes:
        click.secho(f"note: {note}", fg="yellow")
