"""``scalelab lab list | start | check | reset | watch``: the classroom from the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scalelab.classroom.catalog import LabInfo
    from scalelab.classroom.ledger import Ledger
    from scalelab.classroom.rechecking import NotebookReport
    from scalelab.grading import CheckResult

_COLOURS = {"passed": "green", "failed": "red", "crashed": "red", "inconclusive": "yellow"}


@click.group()
def lab() -> None:
    """Work through the labs: a question, a notebook, checked tasks."""


@lab.command("list")
def list_() -> None:
    """List the labs, and what I have earned."""
    from rich.console import Console
    from rich.table import Table

    from scalelab.classroom.catalog import list_labs
    from scalelab.classroom.copies import started_copy
    from scalelab.classroom.ledger import Ledger
    from scalelab.classroom.progress import next_lab, points_of

    ledger = Ledger()
    table = Table(box=None, pad_edge=False)
    for column, justify in (
        ("lab", "left"),
        ("", "left"),
        ("min", "right"),
        ("state", "left"),
        ("points", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    labs = list_labs()
    for info in labs:
        points, state = points_of(info, ledger)
        table.add_row(
            f"{info.number:02d}", info.title, f"{info.minutes}", state, f"{points:g}/{info.points:g}"
        )
    Console().print(table)
    info = next_lab(labs, ledger)
    if info is not None:
        mine = started_copy(info, ledger)
        begun = points_of(info, ledger)[1] == "begun"
        click.echo(f"\n{'Go on with' if begun else 'Next'}: scalelab lab start {info.number:02d}")
        if mine is not None:
            click.echo(f"Your copy: {mine}")


@lab.command()
@click.argument("number")
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
@click.option("--folder", type=click.Path(path_type=Path), help="[default: ./NN_slug, or ./my-labs for all]")
@click.option("--open/--no-open", "opens", default=True, show_default=True, help="Open JupyterLab there.")
def start(number: str, jupyter: tuple[str, ...], folder: Path | None, opens: bool) -> None:
    """Copy a lab's notebook and open it.

    NUMBER is the lab's number or name, or `all`, which opens the first that is not done. A copy that is
    there already, here or where I started it, is opened as it is. What follows a `--` is passed on to
    JupyterLab.
    """
    from scalelab.classroom.catalog import find_lab, list_labs
    from scalelab.classroom.copies import choose_folder, start_copy
    from scalelab.classroom.jupyterlab import lab_command
    from scalelab.classroom.ledger import Ledger
    from scalelab.classroom.progress import next_lab

    ledger = Ledger()
    if number == "all":
        opened = (folder or Path("my-labs")).resolve()
        folders = [(info, opened / info.slug) for info in list_labs()]
    else:
        folders = [(info, choose_folder(info, folder, ledger)) for info in [find_lab(number)]]
    paths = {}
    for info, place in folders:
        path, is_new = start_copy(info, place.resolve())
        paths[info.slug] = path
        told = "your copy" if is_new else "your copy, was there already and is left as it is"
        click.echo(f"{path}: {told}")
        if is_new:
            ledger.append("started", info.slug, "notebook", path=str(path))
    _warn(ledger)
    if not opens:
        return
    here = Path.cwd()
    if number == "all":
        begin = next_lab([info for info, _ in folders], ledger)
        target = paths[begin.slug] if begin is not None else opened
        command, variables = lab_command(target, here if here in opened.parents else opened)
    else:
        command, variables = lab_command(path)
    click.echo(
        "JupyterLab opens in your browser; if it does not, copy an address from below. Ctrl-C ends it."
    )
    environment = {**os.environ, **variables}
    if sys.platform == "win32":
        raise SystemExit(subprocess.call([*command, *jupyter], env=environment))
    # Ctrl-C is JupyterLab's own: it asks before it ends
    os.execve(command[0], [*command, *jupyter], environment)


@lab.command()
@click.argument("number")
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
@click.option("--timeout-s", default=600.0, show_default=True, help="For the whole notebook.")
def check(number: str, notebook: Path | None, timeout_s: float) -> None:
    """Check all tasks of my notebook.

    Runs its cells in a process of their own; exits with 1 while a task is not passed.
    """
    from scalelab.classroom.catalog import find_lab
    from scalelab.classroom.copies import find_copy
    from scalelab.classroom.ledger import Ledger

    info = find_lab(number)
    report = _check(info, find_copy(info, notebook, Ledger()), timeout_s)
    raise SystemExit(0 if report.next_task is None else 1)


@lab.command()
@click.argument("number")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="[default: ./NN_slug]")
def reset(number: str, folder: Path | None) -> None:
    """Start my notebook over; what I edited is kept."""
    from scalelab.classroom.catalog import find_lab
    from scalelab.classroom.copies import choose_folder, reset_copy
    from scalelab.classroom.ledger import Ledger

    info, ledger = find_lab(number), Ledger()
    path, backup, was_there = reset_copy(info, choose_folder(info, folder, ledger))
    ledger.append("reset", info.slug, "notebook", path=str(path.resolve()))
    is_untouched = was_there and backup is None
    click.echo(f"{path.resolve()}: new" + ("; the old one was untouched" if is_untouched else ""))
    if backup is not None:
        click.echo(f"{backup.resolve()}: your old notebook")
    _warn(ledger)
    click.echo(
        "Your points and predictions stay. If it is open in JupyterLab: File > Reload Notebook from Disk."
    )


@lab.command()
@click.argument("number")
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
@click.option("--timeout-s", default=600.0, show_default=True, help="For the whole notebook.")
def watch(number: str, notebook: Path | None, timeout_s: float) -> None:
    """Check my notebook at every save.

    Says what to do next; ends when all tasks are passed, or with Ctrl-C.
    """
    from scalelab.classroom.catalog import find_lab
    from scalelab.classroom.copies import find_copy
    from scalelab.classroom.ledger import Ledger
    from scalelab.classroom.watching import saves
    from scalelab.core.errors import DataError

    info = find_lab(number)
    path = find_copy(info, notebook, Ledger())
    try:
        for _ in saves(path):
            try:
                report = _check(info, path, timeout_s)
            except DataError as error:  # half-saved or broken: the next save may mend it
                click.secho(f"{error.message}: save it again", fg="red")
                continue
            if report.next_task is None:
                return
            click.echo("\nSave it to check again; Ctrl-C ends.\n")
    except KeyboardInterrupt:
        click.echo("")


def _warn(ledger: Ledger) -> None:
    if ledger.problem:
        click.secho(f"note: {ledger.problem}", fg="yellow")


def _check(info: LabInfo, path: Path, timeout_s: float) -> NotebookReport:
    from scalelab.classroom.ledger import Ledger
    from scalelab.classroom.progress import points_of
    from scalelab.classroom.rechecking import check_notebook

    if path.is_file():
        click.echo(f"{datetime.now():%H:%M:%S} checking {path} ...")
    report = check_notebook(info, path, timeout_s=timeout_s)
    task = report.next_task
    for result in report.results:
        _print_result(result, is_next=result is task)
    for note in report.notes:
        click.secho(f"note: {note}", fg="yellow")
    earned = points_of(info, Ledger())[0]
    stays = f" ({earned:g} were earned so far, and stay)" if earned > report.points else ""
    click.echo(f"\n{report.points:g} of {report.max_points:g} points{stays}")
    if task is None:
        click.secho("All tasks are passed.", fg="green")
    else:
        click.echo(f"next: {task.name}: {task.goal}")
    return report


def _print_result(result: CheckResult, *, is_next: bool) -> None:
    colour = _COLOURS.get(result.outcome.value)
    points = f"{result.points:g}/{result.max_points:g}"
    click.echo(f"{click.style(f'{result.outcome.value:<13}', fg=colour)} {points:>6}  {result.name}")
    if result.outcome.value == "not attempted" and not is_next:
        return
    for line in (result.message, result.meaning, f"hint: {result.hint}" if result.hint else ""):
        if line:
            click.echo(f"{'':<22}{line}")
