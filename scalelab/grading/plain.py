"""Plain data: the values that look the same in a notebook and on the far side of a process border.

A subclass is read as its base type, by the base type's own slots: a float that says it equals everything is
the float it holds. Functions and iterators stay what they are. What is none of these becomes an `Opaque`,
which a report can show and no check can use.
"""

from __future__ import annotations

import reprlib
import sys
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

DEPTH = 32
"""lists within lists; deeper ones are no answer"""
DIGITS = 4000
"""of a whole number: Python itself refuses to show many more"""
BITS = DIGITS * 3.322
ARRAYS = "biufcSU"
"""kinds of numpy's types that are plain: no objects, no records, no dates"""
SHOWN = 200
_SCALARS = {type(None), bool, float, complex, str, bytes, Fraction, Decimal, range, type(...)}
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
_text = reprlib.Repr()
_text.maxstring = _text.maxother = _text.maxlong = 60
_text.maxlist = _text.maxtuple = _text.maxdict = _text.maxset = 8


class Opaque:
    """A value that is no plain data: its type's name and a line that shows it."""

    def __init__(self, text: str, shape: tuple[int, ...] | None = None, dtype: str | None = None):
        self.text, self.shape, self.dtype = text, shape, dtype

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        raise TypeError(f"{self.text} is neither true nor false here")


def opaque(type_name: str, text: str, shape: Any = None, dtype: str | None = None) -> Opaque:
    """Return an `Opaque` whose type goes by `type_name`, as the report will call it."""
    return opaque_type(type_name)(text[:SHOWN], shape, dtype)


def opaque_type(name: str) -> type[Opaque]:
    """Return a class for opaque values of that name."""
    name = name if name.isprintable() else "object"
    if hasattr(reprlib.Repr, f"repr_{name}"):
        name = f"odd {name}"  # reprlib goes by the name, and would take it for that class
    return type(name[:60], (Opaque,), {})


def plain(value: Any, *, depth: int = 0) -> Any:
    """Return `value` as plain data, with all that it holds; never raises."""
    value = as_base(value)
    kind = type(value)
    if kind not in {list, tuple, set, frozenset, dict, deque} and not isinstance(value, _VIEWS):
        return value
    if depth > DEPTH:
        return opaque(kind.__name__, f"{kind.__name__} more than {DEPTH} deep")
    if kind is dict:
        return {plain(key, depth=depth + 1): plain(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, _VIEWS):
        return value
    made = [plain(item, depth=depth + 1) for item in value]
    return deque(made, value.maxlen) if kind is deque else kind(made)


def as_base(value: Any) -> Any:
    """Return `value` as an object of exactly its plain type, or an `Opaque`; what it holds stays as it is."""
    kind = type(value)
    if kind in _SCALARS or kind in {list, tuple, dict, set, frozenset, deque, *_VIEWS}:
        return value
    try:
        return _as_base(value, kind)
    except Exception:  # a class that breaks even there
        return _shown(value)


def _as_base(value: Any, kind: type) -> Any:
    mro = type.__dict__["__mro__"].__get__(kind)
    for base, read in _READERS:
        if base in mro:
            return read(value)
    torch = sys.modules.get("torch")
    if torch is not None and torch.Tensor in mro:
        with torch._C.DisableTorchFunctionSubclass():
            return (value if kind is torch.Tensor else torch.Tensor.as_subclass(value, torch.Tensor)).detach()
    if Opaque in mro or isinstance(value, Iterator) or callable(value):
        return value
    return _shown(value)


def whole(value: Any) -> Any:
    """Return a whole number as an int, or as an `Opaque` if it has more than `DIGITS` digits."""
    whole = int.__int__(value)
    if whole.bit_length() > BITS:
        return opaque("int", f"a whole number of more than {DIGITS} digits")
    return whole


def _array(value: Any) -> Any:
    array = np.ndarray.view(value, np.ndarray)
    return array if array.dtype.kind in ARRAYS else _shown(array)


def _number(value: Any) -> Any:
    return value if value.dtype.kind in ARRAYS else _shown(value)


_READERS = (
    (np.generic, _number),  # before float and str, of which some are subclasses
    (int, whole),
    (float, float.__float__),
    (complex, lambda value: complex.__add__(value, 0j)),
    (str, lambda value: "".join(str.__iter__(value))),
    (bytes, lambda value: bytes(bytes.__iter__(value))),
    (bytearray, lambda value: bytes(bytearray.__iter__(value))),
    (list, lambda value: list(list.__iter__(value))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
    (deque, lambda value: deque(deque.__iter__(value))),
    (np.ndarray, _array),
)


def _shown(value: Any) -> Opaque:
    kind = type.__dict__["__name__"].__get__(type(value))
    try:
        text = " ".join(_text.repr_instance(value, 1).split())
    except Exception:
        text = f"<{kind} object>"
    shape = getattr(value, "shape", None) if isinstance(value, np.ndarray) else None
    return opaque(kind, text, shape, str(value.dtype) if shape is not None else None)


def own_copy(value: Any, *, shared: Any = (), depth: int = 0) -> Any:
    """Copy lists, tuples, dicts, sets and arrays, through and through; all else stays the object it is.

    Args:
        shared: ids of objects that are not copied.
    """
    kind = type(value)
    if kind not in _COPIED or id(value) in shared or depth > DEPTH:
        return value
    if kind is np.ndarray:
        return value.copy()
    held = value.values() if kind is dict else value
    if not _COPIED & set(map(type, held)):
        return value.copy() if kind is not tuple else value
    if kind is dict:
        return {key: own_copy(item, shared=shared, depth=depth + 1) for key, item in value.items()}
    return kind(own_copy(item, shared=shared, depth=depth + 1) for item in value)


_COPIED = {list, tuple, dict, set, np.ndarray}
