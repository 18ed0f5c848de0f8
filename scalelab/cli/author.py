"""``scalelab author``: make a lab, build its two notebooks, prove that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click


@click.group()
def author() -> None:
    """Write labs: one source, two notebooks, and a proof of both."""


@author.command()
@click.argument("labs", nargs=-1, metavar="[LAB]...")
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit 1 if a notebook is out of date."
)
@click.option(
    "--nbgrader",
    type=click.Path(file_okay=False, path_type=Path),
    help="Instead, write the notebooks for nbgrader into this folder: the course's `source`.",
)
def build(labs: tuple[str, ...], only_check: bool, nbgrader: Path | None) -> None:
    """Render solutions/LAB/source.py as its two notebooks.

    The student's and the solution; of all labs by default.
    """
    from scalelab.authoring import build_for_nbgrader, build_lab, find_labs

    if nbgrader is not None:
        for folders in find_labs(labs):
            click.echo(f"{build_for_nbgrader(folders, nbgrader)}: written")
        click.echo("next, in the course's folder: nbgrader generate_assignment NN_slug")
        return
    stale = 0
    for folders in find_labs(labs):
        for built in build_lab(folders, only_check=only_check):
            stale += not built.is_fresh
            word = "up to date" if built.is_fresh else "STALE" if only_check else "written"
            click.echo(f"{built.path.parent.parent.name}/{folders.slug}/{built.path.name}: {word}")
    if only_check and stale:
        click.echo("hint: scalelab author build", err=True)
        raise SystemExit(1)


@author.command()
@click.argument("slug")
@click.option("--title", default="", help="Of the lab.  [default: the words of SLUG]")
def new(slug: str, title: str) -> None:
    """Start a lab: a small one that works, to be changed piece by piece.

    SLUG is like 07_data_parallel.
    """
    from scalelab.authoring import new_lab

    folders = new_lab(slug, title=title)
    for path in sorted([*folders.lab.iterdir(), *folders.solution.iterdir()]):
        click.echo(f"{path.parent.parent.name}/{slug}/{path.name}: written")
    click.echo(f"next: change solutions/{slug}/source.py, then scalelab author build {slug}")


@author.command()
@click.argument("labs", nargs=-1, metavar="[LAB]...")
@click.option("--notebooks/--no-notebooks", default=True, show_default=True, help="Run the notebooks too.")
@click.option("--packages/--no-packages", default=True, show_default=True, help="Search wheel and sdist too.")
def verify(labs: tuple[str, ...], notebooks: bool, packages: bool) -> None:
    """Prove that labs hold; all labs by default. Exit code 3 if one does not.

    Untouched notebooks score 0 and solutions everything; right answers pass, wrong ones get their own
    feedback, crashing ones crash; notebooks stay within their budgets; students get no solution.
    """
    from rich.console import Console

    from scalelab.authoring import find_labs, verify_lab, verify_packages
    from scalelab.core.units import format_bytes, format_seconds

    found = find_labs(labs)
    problems = 0
    with Console(stderr=True).status("") as status:
        for folders in found:
            result = verify_lab(
                folders,
                notebooks=notebooks,
                on_step=lambda step, slug=folders.slug: status.update(f"{slug}: {step}"),
            )
            facts = [f"{result.points:g} points", f"{result.trials} trials"]
            if result.notebook_s:
                facts.append(f"notebook {format_seconds(result.notebook_s)}")
                facts.append(format_bytes(result.peak_memory_bytes))
            problems += _show(f"{result.slug} ({', '.join(facts)})", "holds", result.problems)
        root = found[0].lab.parents[1] if found else None
        if packages and root is not None and (root / "pyproject.toml").exists():
            status.update("wheel and sdist")
            problems += _show("wheel and sdist", "no solution in them", verify_packages(found, root))
    if problems:
        raise SystemExit(3)


def _show(what: str, good: str, problems: Sequence[str]) -> int:
    count = len(problems)
    verdict = f"{count} problem{'s' * (count > 1)}" if count else good
    click.secho(f"{what}: {verdict}", fg="red" if count else "green")
    for problem in problems:
        click.echo(f"  {problem}")
    return count
