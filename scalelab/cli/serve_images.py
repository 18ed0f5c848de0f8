"""``scalelab serve images``: build the container images and say what they weigh."""

from __future__ import annotations

import click


@click.command()
@click.option("--target", type=click.Choice(["gateway", "worker", "load"]), help="Only this one.")
@click.option("--builder", default="", help="docker, podman or buildah.  [default: the first that works]")
@click.option("--base", default="python:3.11-slim", show_default=True, help="Image that they begin with.")
@click.option("--tag", help="Tag of the images.  [default: the version]")
def images(target: str | None, builder: str, base: str, tag: str | None) -> None:
    """Build the container images, and say what they weigh.

    Those of gateway, worker and load generator, with what each part of them weighs.
    """
    from scalelab import __version__
    from scalelab.core.units import format_bytes
    from scalelab.serve.images import TARGETS, build_image, find_builder, image_layers

    found = find_builder(builder)
    for one in [target] if target else TARGETS:
        name = build_image(one, builder=found, base=base, tag=tag or __version__)
        layers = image_layers(name, builder=found)
        click.echo(f"{name:<26} {format_bytes(sum(layer.size_bytes for layer in layers)):>10}, by {found}")
        for layer in layers:
            click.echo(f"  {layer.what:<24} {format_bytes(layer.size_bytes):>10}")
