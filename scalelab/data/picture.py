"""PIN images as PNG: one for a request, many on a sheet for people."""

from __future__ import annotations

import io

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.lazy import require
from scalelab.data.compose import HEIGHT, WIDTH, PinImages


def to_png(image: np.ndarray) -> bytes:
    """Return one ``(28, 168) uint8`` image as a grey PNG, pixel for pixel (0 = paper stays 0).

    Raises:
        DataError: the array has another shape or type.
        MissingDependency: pillow is not installed.
    """
    if image.shape != (HEIGHT, WIDTH) or image.dtype != np.uint8:
        raise DataError(
            f"an image is ({HEIGHT}, {WIDTH}) uint8, this is {image.shape} {image.dtype}",
            hint="pass one image of a batch: to_png(images[0])",
        )
    return _encode(image)


def contact_sheet(sample: PinImages, *, columns: int = 2, zoom: int = 2) -> bytes:
    """Return a PNG for people: dark ink on white paper, each image above the PIN code it holds.

    Raises:
        MissingDependency: pillow is not installed.
    """
    draw = require("PIL.ImageDraw", extra="serve")
    pillow = require("PIL.Image", extra="serve")
    gap, caption = 8, 14
    cell_w, cell_h = WIDTH * zoom + gap, HEIGHT * zoom + caption + gap
    rows = -(-len(sample) // columns)
    sheet = pillow.new("L", (columns * cell_w + gap, rows * cell_h + gap), 255)
    pen = draw.Draw(sheet)
    for i, (image, label) in enumerate(zip(sample.images, sample.labels, strict=True)):
        x, y = gap + i % columns * cell_w, gap + i // columns * cell_h
        enlarged = pillow.fromarray(255 - image).resize(
            (WIDTH * zoom, HEIGHT * zoom), pillow.Resampling.NEAREST
        )
        sheet.paste(enlarged, (x, y))
        pen.text((x, y + HEIGHT * zoom + 1), "".join(map(str, label)), fill=0)
    packed = io.BytesIO()
    sheet.save(packed, "PNG")
    return packed.getvalue()


def _encode(image: np.ndarray) -> bytes:
    packed = io.BytesIO()
    require("PIL.Image", extra="serve").fromarray(image).save(packed, "PNG")
    return packed.getvalue()
