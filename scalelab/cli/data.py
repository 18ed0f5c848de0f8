"""``scalelab data verify | list | card | show | image``: the data that ship with ScaleLab."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Check, describe and draw the data: digits and real PIN codes."""


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
    from scalelab.core.paths import runs_folder
    from scalelab.data import compose_pins, contact_sheet

    path = out or runs_folder() / "pins.png"
    _write(path, contact_sheet(compose_pins(n, split, seed)))
    click.echo(f"{path}: {n} images of the {split} split, seed {seed}")


@data.command()
@click.option("--split", default="test", show_default=True, help="train, val or test.")
# 1: the demo's reader misreads seed 0, as it does one PIN in eight; a first look should not be at that one
@click.option("--seed", default=1, show_default=True, help="Another seed, another image.")
@click.option(
    "--out",
    default="image.png",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .png, or .bin for the 4704 raw bytes.",
)
def image(split: str, seed: int, out: Path) -> None:
    """Write one image as the service wants it, and say how to send it."""
    from scalelab.core.errors import ConfigError
    from scalelab.data import compose_pins, to_png
    from scalelab.serve.pins import curl_line
    from scalelab.serve.stack import default_folder
    from scalelab.serve.state import running

    if out.suffix not in (".png", ".bin"):
        raise ConfigError(f"{out} is neither .png nor .bin", hint="try --out image.png")
    sample = compose_pins(1, split, seed)
    _write(out, to_png(sample.images[0]) if out.suffix == ".png" else sample.images[0].tobytes())
    pin = "".join(map(str, sample.labels[0]))
    click.echo(f"{out}: the true PIN is {pin} ({split} split, seed {seed}; 0 = paper, 255 = ink)")
    click.echo("a reader misreads some: --seed N draws another")
    state = running(default_folder())
    if state is None:
        click.echo("no service runs here: scalelab serve up; then, with the port that it tells:")
    click.echo(curl_line(state.url if state else "http://127.0.0.1:PORT", str(out)))


def _write(path: Path, content: bytes) -> None:
    from scalelab.core.errors import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="give another --out") from None
