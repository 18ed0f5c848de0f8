"""``scalelab author``: make a lab, build its two notebooks, prove that it holds."""

from __future__ import annotations

import click


@click.group()
def author() -> None:
    """Write labs: one source, two notebooks, and a proof that they hold."""


@author.command()
@click.argument("labs", nargs=-1, metavar="[LAB]...")
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit 1 if a notebook is out of date."
)
def build(labs: tuple[str, ...], only_check: bool) -> None:
    """Render solutions/LAB/source.py as the student's and the solution notebook; all labs by default."""
    from scalelab.authoring import build_lab, find_labs

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
    """Start a lab: a small one that works, to be changed piece by piece. SLUG is like 07_data_parallel."""
    from scalelab.authoring import new_lab

    folders = new_lab(slug, title=title)
    for path in sorted([*folders.lab.iterdir(), *folders.solution.iterdir()]):
        click.echo(f"{path.parent.parent.name}/{slug}/{path.name}: written")
    click.echo(f"next: change solutions/{slug}/source.py, then scalelab author build {slug}")
