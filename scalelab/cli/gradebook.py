"""``scalelab gradebook write | marks``: what becomes of graded submissions."""

from __future__ import annotations

from pathlib import Path

import click

_OUT = click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def gradebook() -> None:
    """Make tables, feedback pages and a class dashboard of results."""


@gradebook.command()
@_OUT
@click.option(
    "--roster", type=_FILE, help="Class list: a CSV of yours, or an export of Canvas, Moodle, nbgrader."
)
@click.option("--rubric", type=_FILE, help="TOML with the points of questions answered in words.")
@click.option("--title", default="", help="Title of the lab, for people.")
@click.option("--column", default="", help="Name of the assignment in your course system: 'Lab 6 (1234)'.")
def write(out: Path, roster: Path | None, rubric: Path | None, title: str, column: str) -> None:
    """Write all tables and pages of the folder OUT of `scalelab grade`.

    Roster, rubric and names are kept in OUT, so they need to be given once.
    """
    from scalelab.gradebook import write_gradebook

    written = write_gradebook(out, roster=roster, rubric=rubric, title=title, column=column)
    click.echo(f"{_count(written.students, 'student')}, {written.max_points:g} points")
    for name, what in (
        ("gradebook.csv", "one row a student"),
        ("canvas.csv, moodle.csv, nbgrader.csv", "for your course system"),
        ("feedback/", "a page for each student"),
        ("dashboard.html", "the class"),
        ("written.csv", "answers to mark by hand"),
    ):
        if (out / name.split(",")[0]).exists():
            click.echo(f"  {out / name.split(',')[0]}{name[len(name.split(',')[0]) :]}: {what}")
    _say(written.notes)


@gradebook.command()
@_OUT
@click.argument("table", type=_FILE)
@click.option(
    "--overwrite", is_flag=True, help="Let marks of TABLE count that were replaced since it was written."
)
def marks(out: Path, table: Path, overwrite: bool) -> None:
    """Take the marks of a filled TABLE (written.csv), and write all anew."""
    from scalelab.gradebook import merge_marks, write_gradebook

    merged = merge_marks(out, table, overwrite=overwrite)
    click.echo(
        f"{_count(merged.new, 'new mark')}, {len(merged.changed)} changed, {merged.same} as before, "
        f"{_count(merged.unmarked, 'row')} without a mark"
    )
    for line in merged.changed:
        click.echo(f"  {line}")
    if merged.outdated:
        click.secho("passed over, as they were replaced since (--overwrite takes them):", fg="yellow")
        for line in merged.outdated:
            click.echo(f"  {line}")
    _say(write_gradebook(out).notes)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _say(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.secho(f"note: {note}", fg="yellow")
