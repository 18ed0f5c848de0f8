"""What a served model takes and gives, known to the gateway without loading the model.

A payload is one item as raw bytes, row by row in the machine's (little-endian) order: what raw bodies hold
already, what the broker carries, and what `numpy.frombuffer` reads without a copy.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.serve.protocol import Problem

RAW, JSON, MSGPACK = "application/octet-stream", "application/json", "application/msgpack"
_ITEM_BYTES = {"uint8": 1, "int8": 1, "float16": 2, "int32": 4, "float32": 4, "int64": 8, "float64": 8}


def _nothing() -> None:
    """Stand for a contract that needs no preparation."""


@dataclass(frozen=True)
class Contract:
    """The face of one model: how a request's body becomes a payload, and how that is documented."""

    noun: str
    """in the plural: ``pins`` is served at ``/v1/pins``"""
    shape: tuple[int, ...]
    """of one item"""
    dtype: str
    """of one item, as numpy names it"""
    content_types: tuple[str, ...]
    parse: Callable[[str, bytes], bytes]
    """content type and body -> payload of `payload_bytes` bytes; raises `Problem`"""
    body: Mapping[str, Any]
    """content type -> OpenAPI media type object of a request, with an example"""
    result: Any
    """an example of what the model gives"""
    item: str = "item"
    """what one payload is called"""
    title: str = "Run the model"
    about: str = ""
    try_it: Sequence[str] = ()
    """commands for a person who sees the service for the first time; ``{url}`` stands for its address"""
    prepare: Callable[[], None] = field(default=_nothing, repr=False)
    """run once before the first request: imports that `parse` needs"""

    @property
    def payload_bytes(self) -> int:
        """Return the length of every payload [bytes]."""
        return prod(self.shape) * _ITEM_BYTES[self.dtype]

    @property
    def path(self) -> str:
        """Return the path of the collection: ``/v1/pins``."""
        return f"/v1/{self.noun}"


def load_contract(name: str) -> Contract:
    """Import the contract that ``module:NAME`` names.

    Raises:
        ConfigError: there is no such module or name, or what stands there is no contract.
    """
    module, colon, attribute = name.partition(":")
    hint = "give MODULE:NAME, like scalelab.serve.pins:CONTRACT"
    if not (colon and module and attribute.isidentifier()):
        raise ConfigError(f"{name!r} names no contract", hint=hint)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the contract {name!r} cannot be imported: {error}",
            hint="is its package installed, its folder on PYTHONPATH?",
        ) from None
    except AttributeError:
        raise ConfigError(f"the module {module} has no {attribute!r}", hint=hint) from None
    if not isinstance(found, Contract):
        raise ConfigError(f"{name!r} is {type(found).__name__}, not a Contract", hint=hint)
    if found.dtype not in _ITEM_BYTES:
        raise ConfigError(f"the contract {name!r} has dtype {found.dtype!r}", hint=", ".join(_ITEM_BYTES))
    return found


def content_kind(content_type: str, body: bytes, allowed: Sequence[str], *, item: str) -> str:
    """Return the content type without its parameters.

    Raises:
        Problem: 415 if it is none of `allowed`, 400 if the body is empty.
    """
    kind = content_type if content_type in allowed else content_type.partition(";")[0].strip().lower()
    if kind not in allowed:
        raise Problem(
            415,
            f"content type {kind[:80]!r} is not understood" if kind else "the request has no content type",
            hint=f"send one of {', '.join(allowed)}",
        )
    if not body:
        raise Problem(400, "the body is empty", hint=f"send {item} as {kind}")
    return kind


def read_field(kind: str, body: bytes, name: str, *, wanted: str) -> Any:
    """Return the only field of the JSON or msgpack object that is the body.

    Raises:
        Problem: 400 if the body cannot be read, 422 if it is no object with this field alone.
    """
    document = _read_msgpack(body, wanted) if kind == MSGPACK else _read_json(body, wanted)
    what = kind.rpartition("/")[2].upper() if kind == JSON else "msgpack"
    if not isinstance(document, dict) or name not in document:
        found = f"an object with {list(document)}" if isinstance(document, dict) else type(document).__name__
        guess = did_you_mean(name, map(str, document)) if isinstance(document, dict) and document else ""
        hint = f"{guess} {wanted}" if guess.startswith("did") else wanted
        raise Problem(422, f'the {what} body has no "{name}", it is {found[:200]}', hint=hint)
    extra = [key for key in document if key != name]
    if extra:
        raise Problem(422, f"the {what} body has unknown fields {str(extra)[:200]}", hint=wanted)
    return document[name]


def quick_reader(name: str, kind: Any) -> Callable[[bytes], Any]:
    """Return a function that reads the only field of a JSON body, or None if the body is not as it should be.

    A tenth of the time of `read_field`, which then says what is wrong.

    Args:
        name: of the field.
        kind: its type as msgspec checks it, bounds and lengths included.
    """
    import msgspec

    form = msgspec.defstruct("Body", [(name, kind)], forbid_unknown_fields=True)
    decode = msgspec.json.Decoder(form).decode

    def read(body: bytes) -> Any:
        try:
            return getattr(decode(body), name)
        except (ValueError, RecursionError):
            return None

    return read


def _read_json(body: bytes, wanted: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, f"the body is not JSON: {reason}", hint=wanted) from None


def _read_msgpack(body: bytes, wanted: str) -> Any:
    import msgpack

    try:
        return msgpack.unpackb(body)
    except (ValueError, TypeError, RecursionError) as error:  # a key that is a list is a TypeError
        raise Problem(
            400, f"the body is not msgpack: {str(error) or type(error).__name__}", hint=wanted
        ) from None
