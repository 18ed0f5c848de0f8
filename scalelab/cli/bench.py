"""``scalelab bench``: run suites of notebooks, and read their results."""

from __future__ import annotations

from pathlib import Path

import click

from scalelab.cli.suites import run_and_show


@click.group()
def bench() -> None:
    """Run benchmark suites by papermill, and report on them."""


@bench.command()
@click.argument("suite", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for results.  [default: runs/NAME]")
@click.option("--tier", default="", help="Size of the runs, as the suite declares: tiny, laptop, ...")
@click.option("--fresh", is_flag=True, help="Run again what is already done.")
@click.option("--gate", is_flag=True, help="Exit 1 if a claim came out FAIL: for CI.")
def run(suite: Path, out: Path | None, tier: str, fresh: bool, gate: bool) -> None:
    """Run SUITE, a .toml file; points that are done already are kept.

    Exit code 0 if every point succeeded, 4 if one failed or was skipped, 1 if --gate found a broken claim.
    """
    run_and_show(suite, out=out, tier=tier, fresh=fresh, gate=gate)


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def report(folder: Path, open_page: bool) -> None:
    """Build report.html from the records in FOLDER, and print the table."""
    from scalelab.bench import build_report
    from scalelab.cli.suites import show_table

    page = build_report(folder)
    show_table(folder)
    click.echo(f"report: {page}")
    if open_page:
        click.launch(page.resolve().as_uri())


@bench.command()
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def parameters(notebook: Path) -> None:
    """List what may be set in a NOTEBOOK, with type, default and meaning."""
    from scalelab.bench.parameters import read_parameters

    for parameter in read_parameters(notebook).values():
        click.echo(f"{parameter.name}: {parameter.type_name} = {parameter.default}  # {parameter.help}")


@bench.command()
@click.argument("sources", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit 1 if a notebook is out of date."
)
def build(sources: tuple[Path, ...], only_check: bool) -> None:
    """Render jupytext SOURCES (.py) as notebooks beside them; all benchmarks if none is given."""
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
