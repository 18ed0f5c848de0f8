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
@click.option("--tier", default="", help="Size of the runs, as the suite declares: ci, laptop, ...")
@click.option("--fresh", is_flag=True, help="Run again what is already done.")
@click.option("--gate", is_flag=True, help="Exit 1 if a claim came out FAIL: for CI.")
def run(suite: Path, out: Path | None, tier: str, fresh: bool, gate: bool) -> None:
    """Run SUITE, a .toml file; what is done already is kept.

    Exit code 0 if every point succeeded, 4 if one failed or was skipped, 1 if --gate found a broken claim.
    """
    run_and_show(suite, out=out, tier=tier, fresh=fresh, gate=gate)


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def report(folder: Path, open_page: bool) -> None:
    """Build report.html from FOLDER's records, and print the table."""
    from scalelab.bench import build_report
    from scalelab.cli.suites import show_table

    page = build_report(folder)
    show_table(folder)
    click.echo(f"report: {page}")
    if open_page:
        click.launch(page.resolve().as_uri())


@bench.command()
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
def parameters(notebook: Path | None) -> None:
    """List what may be set in a NOTEBOOK: type, default, meaning.

    NOTEBOOK is a file, or the name of a benchmark such as road_prototype; without it these are listed.
    """
    from scalelab.bench.parameters import read_parameters
    from scalelab.core.errors import ConfigError, did_you_mean
    from scalelab.core.paths import shipped

    shipped_ones = {path.stem: path for path in sorted(shipped("benchmarks").glob("*.ipynb"))}
    if notebook is None:
        for name, path in shipped_ones.items():
            click.echo(f"{name:<20}{path}")
        click.echo(f"one of them: scalelab bench parameters {next(iter(shipped_ones), 'NOTEBOOK')}")
        return
    found = notebook if notebook.is_file() else shipped_ones.get(str(notebook).removesuffix(".ipynb"))
    if found is None:
        raise ConfigError(
            f"there is no notebook {notebook}", hint=did_you_mean(str(notebook), shipped_ones.keys())
        )
    for parameter in read_parameters(found).values():
        meaning = f"  # {parameter.help}" if parameter.help else ""
        click.echo(f"{parameter.name}: {parameter.type_name} = {parameter.default}{meaning}")


@bench.command()
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
