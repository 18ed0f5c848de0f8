"""The contract of the small CNN for `scalelab serve`: 784 pixels, raw or as a JSON list."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated

from peers.workload import DIGITS
from scalelab.serve.contract import JSON, RAW, Contract, content_kind, quick_reader, read_field
from scalelab.serve.protocol import Problem

COUNT = 28 * 28
_WANTED = f'send {{"{DIGITS.field}": [<{COUNT} numbers from 0 to 255>]}} or {COUNT} raw bytes'


def parse_pixels(content_type: str, body: bytes) -> bytes:
    """Return the pixels of a request body, one byte each.

    Raises:
        Problem: it holds no 784 pixels.
    """
    if content_kind(content_type, body, (RAW, JSON), item="an image") == JSON:
        if (pixels := _quick()(body)) is not None:
            return bytes(pixels)
        values = read_field(JSON, body, DIGITS.field, wanted=_WANTED)
        try:
            body = bytes(values)
        except (TypeError, ValueError):
            raise Problem(422, f'"{DIGITS.field}" is no list of bytes', hint=_WANTED) from None
    if len(body) != COUNT:
        raise Problem(422, f"{len(body)} pixels, an image has {COUNT}", hint=_WANTED)
    return body


@cache
def _quick() -> Callable[[bytes], list[int] | None]:
    from msgspec import Meta

    pixel = Annotated[int, Meta(ge=0, le=255)]
    return quick_reader(DIGITS.field, Annotated[list[pixel], Meta(min_length=COUNT, max_length=COUNT)])  # type: ignore[valid-type]


CONTRACT = Contract(
    noun="digits",
    shape=DIGITS.shape,
    dtype=DIGITS.dtype,
    content_types=(RAW, JSON),
    parse=parse_pixels,
    body={
        RAW: {"schema": {"type": "string", "format": "binary", "minLength": COUNT, "maxLength": COUNT}},
        JSON: {
            "schema": {
                "type": "object",
                "required": [DIGITS.field],
                "properties": {DIGITS.field: {"type": "array", "items": {"type": "integer"}}},
            },
            "example": {DIGITS.field: [0] * COUNT},
        },
    },
    result={"label": 3, "score": 1.5},
    item="image",
)
