"""``scalelab bench run``: run suites of notebooks, and show what came out."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("suites", metavar="SUITE...", nargs=-1, required=True)
@click.option("--tier", default="", help="Size of the runs, as each suite declares: ci, laptop, ...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for results, of several suites for theirs.  [default: runs/NAME; of several runs/bench]",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    help="How often to run the points that say how often, or stand in a pair.",
)
@click.option("--fresh", is_flag=True, help="Run again what is already done.")
@click.option("--gate", is_flag=True, help="Exit 1 if a claim came out FAIL: for CI.")
@click.option(
    "--executor",
    default="",
    metavar="ADDRESS",
    help="dask://HOST:PORT: the workers of this cluster run the points, one at a time each.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser at the end.")
def run(
    suites: tuple[str, ...],
    tier: str,
    out: Path | None,
    rounds: int | None,
    fresh: bool,
    gate: bool,
    executor: str,
    open_page: bool,
) -> None:
    """Run suites of notebooks; what is done already is kept.

    SUITE is a .toml file, or the name of a suite that ships with ScaleLab, such as road.

    \b
    scalelab bench run road --tier laptop --open
    scalelab bench run mine.toml cost --rounds 6 --out runs/mine

    Exit codes: 0 every point succeeded, 1 --gate found a broken claim, 2 wrong input, 4 a point failed or was
    skipped, 130 Ctrl-C.
    """
    from scalelab.bench import load_suite
    from scalelab.cli.suites import find_suite, run_suites
    from scalelab.core.errors import ConfigError
    from scalelab.core.paths import runs_folder

    loaded = [load_suite(find_suite(named), tier=tier, rounds=rounds) for named in suites]
    names = [suite.name for suite in loaded]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"two suites are called {twice.pop()!r}", hint="give each once")
    if len(loaded) == 1:
        folders, page = [out or runs_folder() / names[0]], None
    else:
        top = out or runs_folder() / "bench"
        folders, page = [top / name for name in names], top / "report.html"
    run_suites(
        list(zip(loaded, folders, strict=True)),
        page=page,
        fresh=fresh,
        executor=executor,
        open_page=open_page,
        gate=gate,
    )
