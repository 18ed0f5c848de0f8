"""``scalelab bench bundle``: all that a claim rests on, in one file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="The file to write.  [default: FOLDER.bench.zip]")  # fmt: skip
@click.option("--suite", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="TOML",
              help="The suite that was run, if its notebooks are elsewhere now.")  # fmt: skip
def bundle(folder: Path, out: Path | None, suite: Path | None) -> None:
    """Pack FOLDER's results into one file for others to check.

    It holds the records, the executed notebooks and their sources, the machine, the code's hash, the tables
    and the page. Publish its sha256 where others find it: a bundle that somebody changes and packs anew is
    told apart by that alone.

    Exit codes: 0 packed, 2 something that belongs into it is missing.
    """
    from scalelab.bench.bundle import make_bundle
    from scalelab.bench.verify import verify_bundle
    from scalelab.core.units import format_bytes

    path = make_bundle(folder, out, suite=suite)
    found = verify_bundle(path)  # what was written is what is read
    for note in found.notes:
        click.secho(f"note: {note}", fg="yellow", err=True)
    click.echo(f"{path} ({format_bytes(path.stat().st_size)})")
    click.echo(f"sha256 {found.sha256}")
