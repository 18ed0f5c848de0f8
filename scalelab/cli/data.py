"""``scalelab data verify | list | card | show``: the data that ship with ScaleLab."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Check, describe and show the data: real digits, PIN codes that exist."""


@data.command()
def verify() -> None:
    """Check size and sha256 of every data file against the manifest."""
    from scalelab.core.units import format_bytes
    from scalelab.data import verify_all

    for file in verify_all():
        click.echo(f"{file.name}: as shipped ({format_bytes(file.bytes)}, sha256 {file.sha256[:16]}...)")


@data.command("list")
def list_files() -> None:
    """List the data files: what they hold, whence, under which licence."""
    from scalelab.core.units import format_bytes
    from scalelab.data import read_manifest

    for file in read_manifest().values():
        click.secho(f"{file.name}  {format_bytes(file.bytes)}", bold=True)
        for title, text in (
            ("holds", file.holds),
            ("source", file.source),
            ("licence", file.licence),
            ("note", file.licence_note),
        ):
            if text:
                click.echo(f"  {title + ':':<9}{text}")


@data.command()
def card() -> None:
    """Print the data card: use, origin and known limits."""
    from scalelab.data.files import read_card

    click.echo(read_card(), nl=False)


@data.command()
@click.option("--n", default=24, show_default=True, type=click.IntRange(1, 400), help="Images on the sheet.")
@click.option("--split", default="train", show_default=True, help="train, val or test.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other images.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to write.  [default: runs/pins.png]",
)
def show(n: int, split: str, seed: int, out: Path | None) -> None:
    """Draw a sheet of PIN code images, as a person would see them."""
    from scalelab.core.errors import ConfigError
    from scalelab.core.paths import runs_folder
    from scalelab.data import compose_pins, contact_sheet

    picture = contact_sheet(compose_pins(n, split, seed))
    path = out or runs_folder() / "pins.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="give another --out") from None
    click.echo(f"{path}: {n} images of the {split} split, seed {seed}")
