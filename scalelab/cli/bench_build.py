"""``scalelab bench build``: render benchmark notebooks from their sources."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit 1 if a notebook is out of date."
)
def build(sources: tuple[Path, ...], only_check: bool) -> None:
    """Render jupytext SOURCES (.py) as notebooks beside them.

    Without SOURCES, all benchmarks.
    """
    from scalelab.authoring.render import benchmark_sources, render_script, write_if_changed
    from scalelab.core.errors import ConfigError

    stale = 0
    for source in sources:
        if source.suffix != ".py":  # beside a notebook it would write over the notebook itself
            raise ConfigError(f"{source} is no source", hint="give the .py file beside the notebook")
    for source in sources or benchmark_sources():
        target = source.with_suffix(".ipynb")
        is_fresh = write_if_changed(target, render_script(source), only_check=only_check)
        stale += not is_fresh
        word = "up to date" if is_fresh else "STALE: run `scalelab bench build`" if only_check else "written"
        click.echo(f"{target.name}: {word}")
    if only_check and stale:
        raise SystemExit(1)
