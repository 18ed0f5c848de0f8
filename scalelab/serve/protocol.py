"""What crosses the borders of the service: an image in, a task between, an answer out.

An image is 28 × 168 bytes, row by row, 0 = paper and 255 = ink. A task is a few packed fields in front of
these bytes; an answer is one line of JSON that the gateway hands on as it is. Nothing here needs numpy or a
model, and nothing is pickled.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from scalelab.core.errors import ScalelabError, did_you_mean

IMAGE_SHAPE = (28, 168)
"""rows, columns: six digits of 28 columns"""
IMAGE_BYTES = IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
MAX_BODY_BYTES = 64 * 1024
MAX_WAIT_S = 30.0
MAX_DEADLINE_S = 3600.0
MAX_KEY_CHARS = 200

QUEUED, DONE, FAILED, EXPIRED = "queued", "done", "failed", "expired"
STATUSES = (QUEUED, DONE, FAILED, EXPIRED)
CONTENT_TYPES = ("image/png", "application/octet-stream", "application/json")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_HEADER = struct.Struct(">16sIB")
_DARK = bytes(range(128))


class Problem(ScalelabError):
    """A request that cannot be served, as ``application/problem+json`` (RFC 9457) tells it."""

    def __init__(self, status: int, message: str, *, hint: str, headers: dict[str, str] | None = None):
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers or {}

    def body(self) -> bytes:
        """Return the problem document: what, with which value (`detail`), and the next step (`hint`)."""
        title = HTTPStatus(self.status).phrase
        fields = {"type": "about:blank", "title": title, "status": self.status}
        return json.dumps({**fields, "detail": self.message, "hint": self.hint}).encode()


@dataclass(frozen=True)
class Task:
    """One image on its way to a worker."""

    task_id: str
    """32 hexadecimal digits"""
    image: bytes
    """`IMAGE_BYTES` bytes, row by row"""
    reply_to: str
    """the gateway that wants to hear of the answer"""
    deadline_s: float
    """seconds after it was queued when nobody wants the answer any more"""

    def pack(self) -> bytes:
        """Return the task as bytes: id, deadline [ms], reply-to, image."""
        reply_to = self.reply_to.encode()
        head = _HEADER.pack(bytes.fromhex(self.task_id), round(self.deadline_s * 1000), len(reply_to))
        return head + reply_to + self.image

    @classmethod
    def unpack(cls, payload: bytes) -> Task:
        """Read what `pack` wrote.

        Raises:
            ValueError: these bytes are no task.
        """
        if len(payload) < _HEADER.size + IMAGE_BYTES:
            raise ValueError(f"{len(payload)} bytes are no task")
        task_id, deadline_ms, length = _HEADER.unpack_from(payload)
        start = _HEADER.size + length
        reply_to = payload[_HEADER.size : start].decode()
        image = payload[start:]
        if len(image) != IMAGE_BYTES:
            raise ValueError(f"the task's image has {len(image)} bytes")
        return cls(task_id.hex(), image, reply_to, deadline_ms / 1000)


@dataclass(frozen=True)
class Options:
    """What the query string of a request asks for."""

    wait_s: float = 0.0
    deadline_s: float | None = None


def queued_answer(task_id: str) -> bytes:
    """Return the answer about a task that no worker has finished."""
    return b'{"task_id":"%b","status":"queued"}' % task_id.encode()


def answer(task_id: str, status: str, **fields: Any) -> bytes:
    """Return the final answer about a task as one line of JSON."""
    whole = {"task_id": task_id, "status": status, **fields}
    return json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()


def is_task_id(text: str) -> bool:
    """Tell whether `text` has the form of a task id, without asking whether the task exists."""
    return len(text) == 32 and all(sign in "0123456789abcdef" for sign in text)


@lru_cache(maxsize=512)  # clients repeat one query string: parsed once, then a dictionary look-up
def parse_options(query: bytes, *, allowed: tuple[str, ...] = ("wait_s", "deadline_s")) -> Options:
    """Read a query string.

    Raises:
        Problem: 400 for an unknown name, for no number, or for one out of range.
    """
    if len(query) > 200:
        raise Problem(400, f"a query string of {len(query)} bytes", hint=f"known: {', '.join(allowed)}")
    limits = {"wait_s": (0.0, MAX_WAIT_S), "deadline_s": (0.001, MAX_DEADLINE_S)}
    found: dict[str, float] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in allowed:
            raise Problem(400, f"there is no query parameter {name[:50]!r}", hint=did_you_mean(name, allowed))
        low, high = limits[name]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise Problem(
                400,
                f"{name}={text[:50]} is no time that can be kept",
                hint=f"give {low:g} to {high:g} seconds",
            )
        found[name] = value
    return Options(**found)


def parse_key(value: bytes | None) -> str:
    """Read the header ``Idempotency-Key``; an empty string if there is none.

    Raises:
        Problem: 400 for a key that is empty, too long or not printable ASCII.
    """
    if value is None:
        return ""
    key = value.decode("latin-1")
    if not 0 < len(key) <= MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise Problem(
            400,
            f"Idempotency-Key {key[:40]!r} ({len(key)} characters) cannot be used",
            hint=f"send 1 to {MAX_KEY_CHARS} printable ASCII characters, for example a UUID",
        )
    return key


def check_length(count: int, limit: int = MAX_BODY_BYTES) -> None:
    """Refuse a body that is over the limit; called before and while it is read.

    Raises:
        Problem: 413, and the connection is closed so that the rest is not read.
    """
    if count > limit:
        raise Problem(
            413,
            f"the body has {count} bytes or more, the limit is {limit}",
            hint=f"send one image of {IMAGE_SHAPE[0]} x {IMAGE_SHAPE[1]} pixels a request",
            headers={"connection": "close"},
        )


def parse_image(content_type: str, body: bytes) -> bytes:
    """Return the `IMAGE_BYTES` bytes of the image that a request body holds.

    Raises:
        Problem: 415 for another content type, 400 for an empty body or broken JSON, 422 for what is no image
            or one of another shape. The message names the value.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        raise Problem(
            415,
            f"content type {kind[:80]!r} is not understood" if kind else "the request has no content type",
            hint=f"send one of {', '.join(CONTENT_TYPES)}",
        )
    if not body:
        raise Problem(400, "the body is empty", hint=f"send an image as {kind}")
    if kind == "application/json":
        return _image_of(_image_field(body), where='"image"')
    if kind == "image/png":
        return _decode_png(body)
    return _image_of(body, where="the body", png=False)


def warm_up() -> None:
    """Import the PNG decoder, so that the first request does not pay for it."""
    import PIL.PngImagePlugin  # noqa: F401


def _image_field(body: bytes) -> bytes:
    wanted = 'send {"image": "<base64 of a PNG or of 4704 bytes>"}'
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, f"the body is not JSON: {reason}", hint=wanted) from None
    if not isinstance(document, dict) or "image" not in document:
        found = (
            f"an object with {sorted(document)}" if isinstance(document, dict) else type(document).__name__
        )
        raise Problem(422, f'the JSON body has no "image", it is {found[:200]}', hint=wanted)
    extra = sorted(set(document) - {"image"})
    if extra:
        raise Problem(422, f"the JSON body has unknown fields {str(extra)[:200]}", hint=wanted)
    text = document["image"]
    if not isinstance(text, str):
        raise Problem(422, f'"image" is {type(text).__name__}, not a string', hint=wanted)
    try:
        return base64.b64decode(text, validate=True)
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
