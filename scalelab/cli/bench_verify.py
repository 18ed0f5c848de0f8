"""``scalelab bench verify``: is a bundle as it was packed, and do its tables follow from its records?"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sha256", default="", metavar="DIGITS", help="The hash that was published with it.")
def verify(file: Path, sha256: str) -> None:
    """Find any changed byte in a bundle, and recompute its tables.

    FILE is read, never run. Without the published --sha256 one thing cannot be told:
    whether somebody changed the records and packed a whole new bundle of them.

    Exit codes: 0 whole, 1 a change was found, 2 no bundle.
    """
    from scalelab.bench.evidence import plain
    from scalelab.bench.verify import published, verify_bundle

    found = verify_bundle(file, sha256=published(sha256) if sha256 else "")
    for note in found.notes:
        click.secho(f"note: {plain(note)}", fg="yellow", err=True)
    for name, why in found.changed:
        click.secho(f"changed: {name}: {plain(why)}", fg="red")
    for name in found.tables_differ:
        click.secho(f"changed: the table {plain(name)} is not what the records give", fg="red")
    click.echo(f"sha256 {found.sha256}")
    if not found.is_whole:
        raise SystemExit(1)
    if found.unjudged:
        click.echo(
            f"not recomputed, since other code made them: the tables {', '.join(map(plain, found.unjudged))}"
        )
        click.echo("whole: each byte is as it was packed")
    else:
        click.echo("whole: each byte is as it was packed, and the tables follow from the records")
    if not sha256:
        click.echo("Is it the one that was published? Give its hash: --sha256")
