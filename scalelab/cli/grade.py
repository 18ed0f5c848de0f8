"""``scalelab grade``: a folder of submissions in, results and gradebooks out."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scalelab.grader.run import Finished, Progress

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("lab")
@click.argument("submissions", type=PATH)
@click.option("--out", type=PATH, default="grades", show_default=True, help="Folder for the results.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Judges at one time.  [default: one per core, at most 8]"
)
@click.option("--executor", default="", metavar="URL", help="dask://HOST:PORT of a Dask scheduler.")
@click.option("--pattern", help="Names of the files, such as '{student}_{lab}.ipynb'.")
@click.option("--only", multiple=True, metavar="STUDENT", help="Grade these again; may be repeated.")
@click.option("--due", metavar="TIME", help="ISO 8601: what comes later is marked late.")
@click.option(
    "--key-file", type=PATH, help="The course's secret.  [default: OUT/course.key, made if missing]"
)
@click.option("--require-sandbox", is_flag=True, help="Refuse to run with less than full isolation.")
def grade(
    lab: str,
    submissions: Path,
    out: Path,
    jobs: int | None,
    executor: str,
    pattern: str | None,
    only: tuple[str, ...],
    due: str | None,
    key_file: Path | None,
    require_sandbox: bool,
) -> None:
    """Grade the SUBMISSIONS of a class to a LAB.

    LAB is a slug or number of the course, or a folder with checks.py and the notebook that students got.
    SUBMISSIONS is a folder of notebooks, a folder for each student, or what Canvas, Moodle, Google Classroom
    or nbgrader gave, packed or not. Every submission gets a row, also one that cannot be read. The same
    command again grades only what changed.
    """
    import os

    from scalelab.gradebook import listed_names, write_gradebook
    from scalelab.grader.run import run_grading

    finished = run_grading(
        _find(lab),
        submissions,
        out,
        jobs=jobs or min(8, os.cpu_count() or 1),
        executor=executor,
        pattern=pattern,
        only=only,
        also_called=lambda students: listed_names(out, students),
        due=_read_time(due) if due else None,
        key_file=key_file,
        require_sandbox=require_sandbox,
        on_progress=show_progress if sys.stderr.isatty() else None,
    )
    show_finished(finished)
    report = write_gradebook(out)
    for note in report.notes:
        click.echo(note)
    click.echo(f"gradebook: {out / 'gradebook.csv'}; the class at a glance: {out / 'dashboard.html'}")


def _find(lab: str) -> Any:
    from scalelab.classroom.catalog import find_lab
    from scalelab.grader.lab import GradedLab

    folder = Path(lab)
    return GradedLab.load(folder if (folder / "checks.py").is_file() else find_lab(lab).folder)


def _read_time(due: str) -> datetime:
    from scalelab.core.errors import ConfigError

    try:
        told = datetime.fromisoformat(due.replace("Z", "+00:00"))
    except ValueError:
        raise ConfigError(f"--due {due!r} is no time", hint="for example 2026-11-30T23:59+05:30") from None
    return told if told.tzinfo else told.astimezone()


def show_progress(progress: Progress) -> None:
    """Show how far a run is, on the terminal's last line."""
    from scalelab.core.units import format_seconds

    left = f" · about {format_seconds(progress.left_s)} left" if progress.left_s else ""
    click.echo(f"\r\033[K{progress.done} of {progress.total} graded{left}", nl=False, err=True)


def show_finished(finished: Finished) -> None:
    """Say what a run came to, in the place of its progress."""
    from scalelab.core.units import format_seconds

    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    judged = sum(finished.by_status.values())
    words = [f"{count} {status}" for status, count in sorted(finished.by_status.items())]
    words += [f"{finished.skipped} unchanged"] if finished.skipped else []
    rate = f", {60 * judged / finished.seconds:.0f} a minute" if judged and finished.seconds else ""
    click.echo(
        f"{finished.total} submissions in {format_seconds(finished.seconds)}{rate}: {', '.join(words)}"
    )
    if finished.gone:
        click.echo(f"{finished.gone} rows are of students who have no submission there any more; they stay")
    if finished.isolation:
        click.echo(f"isolation: {', '.join(finished.isolation)}")
    for trouble in finished.troubles:
        click.secho(trouble, fg="yellow")
