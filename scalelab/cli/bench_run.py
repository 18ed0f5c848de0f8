"""``scalelab bench run``: run a suite of notebooks, and show what came out."""

from __future__ import annotations

from pathlib import Path

import click

from scalelab.cli.suites import run_and_show


@click.command()
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
