"""The contract of the PIN reader: an image of six digits in, a PIN code and its place out.

An image is 28 × 168 bytes, row by row, 0 = paper and 255 = ink.
"""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import Any

from scalelab.serve.contract import JSON, MSGPACK, RAW, Contract, content_kind, read_field
from scalelab.serve.protocol import Problem

IMAGE_SHAPE = (28, 168)
"""rows, columns: six digits of 28 columns"""
IMAGE_BYTES = IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
PNG = "image/png"
CONTENT_TYPES = (PNG, RAW, JSON, MSGPACK)

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_DARK = bytes(range(128))
_WANTED_JSON = f'send {{"image": "<base64 of a PNG or of {IMAGE_BYTES} bytes>"}}'
_WANTED_MSGPACK = f'send {{"image": <bin: a PNG or {IMAGE_BYTES} bytes>}}'


def parse_image(content_type: str, body: bytes) -> bytes:
    """Return the `IMAGE_BYTES` bytes of the image that a request body holds.

    Raises:
        Problem: 415 for another content type, 400 for an empty body or one that cannot be read, 422 for what
            is no image or one of another shape. The message names the value.
    """
    kind = content_kind(content_type, body, CONTENT_TYPES, item="an image")
    if kind == RAW:
        return _image_of(body, where="the body", png=False)
    if kind == PNG:
        return _decode_png(body)
    return _image_of(_image_field(kind, body), where='"image"')


def curl_line(url: str, file: str = "image.png") -> str:
    """Return the command that sends a PNG, or the raw bytes of another `file`, to the service at `url`.

    Double quotes, since Windows knows no others.
    """
    kind = PNG if file.endswith(".png") else RAW
    return f'curl --data-binary "@{file}" -H "Content-Type: {kind}" "{url}/v1/pins?wait_s=5"'


def _prepare() -> None:
    """Import the PNG decoder, so that the first request does not pay for it."""
    import PIL.PngImagePlugin  # noqa: F401


def _image_field(kind: str, body: bytes) -> bytes:
    wanted = _WANTED_JSON if kind == JSON else _WANTED_MSGPACK
    content = read_field(kind, body, "image", wanted=wanted)
    if kind == MSGPACK and isinstance(content, bytes):
        return content
    if kind == MSGPACK or not isinstance(content, str):
        needed = "bin" if kind == MSGPACK else "a string"
        raise Problem(422, f'"image" is {type(content).__name__}, not {needed}', hint=wanted)
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(422, f'"image" is not base64: {error}', hint=wanted) from None


def _image_of(content: bytes, *, where: str, png: bool = True) -> bytes:
    if png and content.startswith(_PNG_MAGIC):
        return _decode_png(content)
    if len(content) != IMAGE_BYTES:
        raise Problem(
            422,
            f"{where} holds {len(content)} bytes, an image has {IMAGE_BYTES}",
            hint=f"send {IMAGE_SHAPE[0]} rows of {IMAGE_SHAPE[1]} bytes, 0 = paper, 255 = ink"
            + (", or a PNG of that size" if png else ""),
        )
    return content


def _decode_png(content: bytes) -> bytes:
    from PIL import Image

    if not content.startswith(_PNG_MAGIC):
        raise Problem(
            422,
            f"the body is no PNG, it begins with {content[:8]!r}",
            hint="send a PNG, or another content type: application/octet-stream for 4704 bytes",
        )
    rows, columns = IMAGE_SHAPE
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as picture:
            if picture.size != (columns, rows):  # known from the header: a bomb is refused before it unfolds
                raise Problem(
                    422,
                    f"the PNG has {picture.size[0]} x {picture.size[1]} pixels, not {columns} x {rows}",
                    hint=f"cut or scale the image to {columns} pixels wide and {rows} high",
                )
            if picture.mode not in _PNG_MODES:
                raise Problem(
                    422,
                    f"the PNG has mode {picture.mode!r}",
                    hint=f"save it as one of {', '.join(_PNG_MODES)}",
                )
            pixels = picture.convert("L").tobytes()
    except Problem:
        raise
    except Exception as error:  # Pillow raises many kinds for torn files; each of them is the sender's
        raise Problem(
            422,
            f"the body is no readable PNG: {type(error).__name__}: {str(error)[:100]}",
            hint="open the file in a viewer; send it with content type image/png",
        ) from None
    if _has_bright_border(pixels):
        raise Problem(
            422,
            "the PNG looks like dark ink on light paper: more than half of its border is brighter than 127",
            hint="send it inverted, 0 = paper and 255 = ink: PIL.ImageOps.invert(picture.convert('L'))",
        )
    return pixels


def _has_bright_border(pixels: bytes) -> bool:
    """Tell whether the median of the border is over 127: a reader answers such a picture with nonsense."""
    columns = IMAGE_SHAPE[1]
    border = pixels[:columns] + pixels[-columns:] + pixels[::columns] + pixels[columns - 1 :: columns]
    return 2 * len(border.translate(None, delete=_DARK)) > len(border)


_BLANK_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAKgAAAAcAQAAAADda8l6AAAAD0lEQVR42mNgGAWjgPYAAAJoAAH6db+gAAAAAElFTkSuQmCC"
)
_BINARY = {"type": "string", "format": "binary"}
_RESULT = {
    "pin": "560001",
    "digits": [5, 6, 0, 0, 0, 1],
    "confidence": 0.93,
    "district": "Bengaluru",
    "state": "Karnataka",
}


def _body() -> dict[str, Any]:
    """Return the OpenAPI description of what a POST may carry."""
    columns, rows = IMAGE_SHAPE[1], IMAGE_SHAPE[0]
    image = {"type": "string", "format": "byte"}
    return {
        PNG: {
            "schema": {
                **_BINARY,
                "description": f"a PNG of {columns} x {rows} pixels, light ink on black: "
                "`scalelab data image --out image.png` makes one",
            }
        },
        RAW: {
            "schema": {
                **_BINARY,
                "description": f"{IMAGE_BYTES} raw bytes, row by row: `pixels.tobytes()` of a uint8 array",
                "minLength": IMAGE_BYTES,
                "maxLength": IMAGE_BYTES,
            }
        },
        JSON: {
            "schema": {
                "type": "object",
                "description": f'{{"image": "<base64 of a PNG or of {IMAGE_BYTES} raw bytes>"}}',
                "required": ["image"],
                "additionalProperties": False,
                "properties": {"image": image},
            },
            "example": {"image": _BLANK_PNG},
        },
        MSGPACK: {
            "schema": {
                **_BINARY,
                "description": f'the same object; "image" is bin, a PNG or {IMAGE_BYTES} raw bytes: '
                '`msgpack.packb({"image": pixels.tobytes()})`',
            }
        },
    }


CONTRACT = Contract(
    noun="pins",
    shape=IMAGE_SHAPE,
    dtype="uint8",
    content_types=CONTENT_TYPES,
    parse=parse_image,
    body=_body(),
    result=_RESULT,
    item="image",
    title="Read a PIN code",
    about=f"{IMAGE_SHAPE[0]} rows of {IMAGE_SHAPE[1]} pixels, 0 = paper, 255 = ink.",
    try_it=("scalelab data image --out image.png", curl_line("{url}")),
    prepare=_prepare,
)
