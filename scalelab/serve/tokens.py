"""The contract of a small transformer: 64 token ids in, whatever its model makes of them out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from scalelab.serve.contract import JSON, MSGPACK, RAW, Contract, content_kind, quick_reader, read_field
from scalelab.serve.protocol import Problem

COUNT = 64
"""token ids in one item"""
PAYLOAD_BYTES = 8 * COUNT
CONTENT_TYPES = (RAW, JSON, MSGPACK)
_IDS = struct.Struct(f"<{COUNT}q")
_WANTED = f'send {{"tokens": [<{COUNT} integers>]}}'


def parse_tokens(content_type: str, body: bytes) -> bytes:
    """Return the ids of a request body as little-endian int64, `PAYLOAD_BYTES` bytes.

    Raises:
        Problem: 415 for another content type, 400 for an empty body or one that cannot be read, 422 for
            another number of ids or what is no integer. The message names the value.
    """
    kind = content_kind(content_type, body, CONTENT_TYPES, item="token ids")
    if kind == RAW:
        return _checked(body, where="the body")
    if kind == JSON and (ids := _quick()(body)) is not None:
        return _IDS.pack(*ids)
    tokens = read_field(kind, body, "tokens", wanted=_WANTED)
    if kind == MSGPACK and isinstance(tokens, bytes):
        return _checked(tokens, where='"tokens"')
    return _pack(tokens)


@cache
def _quick() -> Callable[[bytes], list[int] | None]:
    from msgspec import Meta

    whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    return quick_reader("tokens", Annotated[list[whole], Meta(min_length=COUNT, max_length=COUNT)])  # type: ignore[valid-type]


def _prepare() -> None:
    """Make the reader, so that the first request does not pay for it."""
    _quick()


def _checked(content: bytes, *, where: str) -> bytes:
    if len(content) != PAYLOAD_BYTES:
        raise Problem(
            422,
            f"{where} holds {len(content)} bytes, {COUNT} token ids have {PAYLOAD_BYTES}",
            hint=f"send {COUNT} little-endian int64: numpy.asarray(ids, '<i8').tobytes()",
        )
    return content


def _pack(tokens: Any) -> bytes:
    if not isinstance(tokens, list):
        raise Problem(422, f'"tokens" is {type(tokens).__name__}, not a list', hint=_WANTED)
    if len(tokens) != COUNT:
        raise Problem(422, f'"tokens" has {len(tokens)} ids, not {COUNT}', hint=_WANTED)
    for token in tokens:
        is_whole = type(token) is int or (type(token) is float and token.is_integer())  # to JSON, 1.0 is one
        if not is_whole or not -(2**63) <= token < 2**63:
            said = f'"tokens" holds {str(token)[:50]!r}, which is no 64-bit integer'
            raise Problem(422, said, hint=_WANTED)
    return _IDS.pack(*map(int, tokens))


_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {"tokens": list(range(COUNT))}

CONTRACT = Contract(
    noun="tokens",
    shape=(COUNT,),
    dtype="int64",
    content_types=CONTENT_TYPES,
    parse=parse_tokens,
    body={
        RAW: {
            "schema": {
                **_BINARY,
                "description": f"{COUNT} little-endian int64: `numpy.asarray(ids, '<i8').tobytes()`",
                "minLength": PAYLOAD_BYTES,
                "maxLength": PAYLOAD_BYTES,
            }
        },
        JSON: {
            "schema": {
                "type": "object",
                "description": f'{{"tokens": [{COUNT} integers]}}',
                "required": ["tokens"],
                "additionalProperties": False,
                "properties": {
                    "tokens": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
                        "minItems": COUNT,
                        "maxItems": COUNT,
                    }
                },
            },
            "example": _EXAMPLE,
        },
        MSGPACK: {
            "schema": {
                **_BINARY,
                "description": f'the same object; "tokens" may be bin, {PAYLOAD_BYTES} raw bytes: '
                '`msgpack.packb({"tokens": ids})`',
            }
        },
    },
    result={"logits": [0.1, -1.2]},
    prepare=_prepare,
    item="sequence",
    title="Run the model on token ids",
    about=f"{COUNT} token ids make one item.",
    try_it=(
        f"python -c \"open('tokens.bin', 'wb').write(bytes({PAYLOAD_BYTES}))\"",
        f'curl --data-binary "@tokens.bin" -H "Content-Type: {RAW}" "{{url}}/v1/tokens?wait_s=5"',
    ),
)
