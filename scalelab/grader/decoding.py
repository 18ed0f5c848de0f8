"""Read wire types. Every byte may have been written by somebody who wants to fool or to break us.

Nothing executes on reading and nothing is imported but torch: a tag stands for one of the types below, or the
message is `Malformed`. Raw parts are used up in the order of their mention, each exactly once, so none can
overlap or be read twice; arrays are copies that belong to the reader.
"""

from __future__ import annotations

import math
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from scalelab.core.lazy import is_installed
from scalelab.grader.encoding import TENSORS
from scalelab.grader.messages import Callables, Malformed, TooLong, WireLimits
from scalelab.grading.plain import BITS, DIGITS, SHOWN, opaque, opaque_type

_DTYPE = re.compile(r"[<>|=](b1|[iu][1248]|f(2|4|8|16)|c(8|16|32))|\|S[1-9][0-9]{0,5}")
_BARE = {type(None), bool, int, float, str, bytes}
_KEYS = {type(None), bool, int, float, str, bytes}
_LONGEST_NAME = 60
_TYPES = 100
"""of opaque values and iterators in one message; the others go by one name"""


class Reader:
    """Decode one message: `read` its structure, then ask whether it is `done` with the raw parts."""

    def __init__(self, parts: memoryview, callables: Callables, limits: WireLimits):
        self._parts, self._at = parts, 0
        self._callables, self._limits = callables, limits
        self._types: dict[tuple[str, Any], type] = {}
        self._keys_left = limits.keys

    def read(self, node: Any, depth: int = 0) -> Any:
        """Return the value that a structure stands for.

        Raises:
            Malformed: it stands for none.
        """
        kind = type(node)
        if kind in _BARE:
            return node
        if kind is not list or not node or type(node[0]) is not str or node[0] not in _READ:
            raise Malformed("an unknown type")
        if depth > self._limits.depth:
            raise Malformed("too many levels")
        return _READ[node[0]](self, node, depth + 1)

    def done(self) -> None:
        """Make sure that every raw byte was used.

        Raises:
            Malformed: some were not.
        """
        if self._at != len(self._parts):
            raise Malformed("raw bytes that belong to nothing")

    def part(self, count: Any) -> memoryview:
        """Return the next raw bytes."""
        end = self._at + _whole(count, 2**40)
        if end > len(self._parts):
            raise Malformed("fewer raw bytes than announced")
        self._at, begin = end, self._at
        return self._parts[begin:end]

    def _series(self, node: list[Any], depth: int) -> list[Any]:
        return [self.read(item, depth) for item in node[1:]]

    def _pairs(self, node: list[Any], depth: int) -> dict[Any, Any]:
        if len(node) % 2 == 0:
            raise Malformed("a key without a value")
        return {
            self._key(self.read(node[i], depth)): self.read(node[i + 1], depth)
            for i in range(1, len(node), 2)
        }

    def _members(self, node: list[Any], depth: int) -> Iterator[Any]:
        return map(self._key, self._series(node, depth))

    def _key(self, value: Any) -> Any:
        """Return a key of a dict or member of a set, if there are not too many whose hashes can be chosen."""
        if type(value) not in _KEYS or (type(value) is int and value.bit_length() > 64):
            self._keys_left -= 1
            if self._keys_left < 0:
                raise TooLong(f"more than {self._limits.keys} keys that are tuples or the like")
        return value

    def _array(self, node: list[Any], depth: int) -> np.ndarray:
        _, name, shape, count = node
        if type(name) is not str or not _DTYPE.fullmatch(name):
            raise Malformed("an unknown type of numbers")
        dtype = np.dtype(name)
        raw, shape = self._sized(count, shape, dtype.itemsize)
        if dtype.kind == "b":
            return (np.frombuffer(raw, np.uint8) != 0).reshape(shape)
        return np.frombuffer(raw, dtype).reshape(shape).copy()

    def _tensor(self, node: list[Any], depth: int) -> Any:
        _, name, shape, count = node
        if name not in TENSORS:
            raise Malformed("an unknown type of tensor")
        if "torch" not in sys.modules and not is_installed("torch"):
            self.part(count)
            return opaque("Tensor", "a tensor", tuple(_whole(size, 2**40) for size in shape), name)
        import torch

        dtype = getattr(torch, name)
        raw, shape = self._sized(count, shape, dtype.itemsize)
        if not raw:
            return torch.empty(shape, dtype=dtype)
        if dtype is torch.bool:
            return torch.from_numpy(np.frombuffer(raw, np.uint8) != 0).reshape(shape)
        return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)

    def _text(self, node: list[Any], depth: int) -> str:
        raw = self.part(node[1])
        if len(raw) > self._limits.numbers:
            raise TooLong(f"a text of {len(raw)} bytes")
        return str(raw, "utf-8")

    def _texts(self, node: list[Any], depth: int) -> np.ndarray:
        _, width, shape, series = node
        items = self.read(series, depth)
        shape = tuple(_whole(size, 2**40) for size in shape)
        if type(items) is not list or not all(type(item) is str for item in items):
            raise Malformed("an array of texts of other things")
        if len(items) != math.prod(shape) or len(items) * width * 4 > self._limits.frame_bytes:
            raise Malformed("an array of texts of another size")
        return np.array(items, dtype=f"U{_whole(width, 2**24) or 1}").reshape(shape)

    def _numbers(self, node: list[Any], depth: int) -> list[Any]:
        raw = self.part(node[1])
        if len(raw) > 8 * self._limits.items:
            raise TooLong(f"a list of {len(raw) // 8} numbers")
        return np.frombuffer(raw, "<f8" if node[0] == "floats" else "<i8").tolist()

    def _stand_in(self, node: list[Any], depth: int) -> Any:
        _, number, name = node
        return self._callables.stand_in(_whole(number, 2**40), name_of(name))

    def _iterator(self, node: list[Any], depth: int) -> Iterator[Any]:
        _, number, name = node
        ask = self._callables.stand_in(_whole(number, 2**40), "next")
        return self._type(name, _iterator_type)(ask)

    def _opaque(self, node: list[Any], depth: int) -> Any:
        _, name, text, shape, dtype = node
        shape = tuple(_whole(size, 2**40) for size in shape) if shape is not None else None
        if type(text) is not str or not (dtype is None or type(dtype) is str):
            raise Malformed("an unknown value")
        text, dtype = line_of(text)[:SHOWN], line_of(dtype)[:_LONGEST_NAME] if dtype else None
        return self._type(name, opaque_type)(text, shape, dtype)

    def _type(self, name: Any, make: Callable[[str], type]) -> type:
        """Return a class of that name, since a report says of what kind a value was."""
        name = name_of(name)
        name = name if (name, make) in self._types or len(self._types) < _TYPES else "object"
        if (name, make) not in self._types:
            self._types[name, make] = make(name)
        return self._types[name, make]

    def _whole(self, node: list[Any], depth: int) -> int:
        if type(node[1]) is not bytes or len(node[1]) > BITS / 8 + 1:
            raise Malformed("a number that is too long")
        return int.from_bytes(node[1], "big", signed=True)

    def _sized(self, count: Any, shape: Any, itemsize: int) -> tuple[memoryview, tuple[int, ...]]:
        if type(shape) is not list or len(shape) > 32:
            raise Malformed("an unknown shape")
        sizes = tuple(_whole(size, 2**40) for size in shape)
        if count != math.prod(sizes) * itemsize:
            raise Malformed("a shape that does not fit the bytes")
        if math.prod(sizes) > self._limits.numbers:
            raise TooLong(f"an array of shape {sizes}")
        return self.part(count), sizes


class RemoteIterator(Iterator[Any]):
    """An iterator of the other side: `ask` gives the next value, or raises StopIteration."""

    def __init__(self, ask: Callable[[], Any]):
        self._ask, self._is_over = ask, False

    def __next__(self) -> Any:
        if self._is_over:
            raise StopIteration
        try:
            return self._ask()
        except StopIteration:
            self._is_over = True
            raise


def _iterator_type(name: str) -> type[RemoteIterator]:
    return type(name, (RemoteIterator,), {})


def name_of(text: Any) -> str:
    """Return a name that can be shown: one short line of printable signs."""
    if type(text) is not str:
        raise Malformed("a name that is no text")
    return line_of(text)[:_LONGEST_NAME] or "object"


def line_of(text: str) -> str:
    """Return a text as one line of printable signs."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:4000])


def _whole(number: Any, below: int) -> int:
    if type(number) is not int or not 0 <= number < below:
        raise Malformed("a size that is none")
    return number


def _view(reader: Reader, node: list[Any], depth: int) -> Any:
    held = reader.read(node[1], depth)
    if node[0] == "items":
        return _a(held, dict).items()
    items = _a(held, list)
    if node[0] == "values":
        return dict(enumerate(items)).values()
    return dict.fromkeys(map(reader._key, items)).keys()


def _deque(reader: Reader, node: list[Any], depth: int) -> deque[Any]:
    most = None if node[1] is None else _whole(node[1], 2**40)
    return deque(_a(reader.read(node[2], depth), list), most)


def _range(reader: Reader, node: list[Any], depth: int) -> range:
    made = range(*[_a(reader.read(part, depth), int) for part in node[1:4]])
    if not -reader._limits.items <= (made.stop - made.start) // made.step <= reader._limits.items:
        raise Malformed("a range that is too long")  # some check would make a list of it
    return made


def _fraction(reader: Reader, node: list[Any], depth: int) -> Fraction:
    return Fraction(*[_a(reader.read(part, depth), int) for part in node[1:3]])


def _decimal(reader: Reader, node: list[Any], depth: int) -> Decimal:
    if len(_a(node[1], str)) > DIGITS:
        raise Malformed("a number that is too long")
    number = Decimal(node[1])
    if number.is_finite() and abs(number.adjusted()) > DIGITS:
        raise Malformed("a number that is too long")  # int() of it would take all memory
    return number


def _number(reader: Reader, node: list[Any], depth: int) -> Any:
    array = reader.read(node[1], depth)
    if type(array) is not np.ndarray or array.shape != ():
        raise Malformed("a number that is none")
    return array[()]


def _a(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Malformed(f"no {kind.__name__} where one belongs")
    return value


_READ: dict[str, Callable[[Reader, list[Any], int], Any]] = {
    "...": lambda reader, node, depth: ...,
    "text": Reader._text,
    "bytes": lambda reader, node, depth: bytes(reader.part(node[1])),
    "int": Reader._whole,
    "floats": Reader._numbers,
    "ints": Reader._numbers,
    "complex": lambda reader, node, depth: complex(_a(node[1], float), _a(node[2], float)),
    "fraction": _fraction,
    "decimal": _decimal,
    "range": _range,
    "list": Reader._series,
    "tuple": lambda reader, node, depth: tuple(reader._series(node, depth)),
    "set": lambda reader, node, depth: set(reader._members(node, depth)),
    "frozenset": lambda reader, node, depth: frozenset(reader._members(node, depth)),
    "deque": _deque,
    "dict": Reader._pairs,
    "keys": _view,
    "values": _view,
    "items": _view,
    "array": Reader._array,
    "texts": Reader._texts,
    "number": _number,
    "tensor": Reader._tensor,
    "function": Reader._stand_in,
    "iterator": Reader._iterator,
    "yours": lambda reader, node, depth: reader._callables.lent(node[1]),
    "opaque": Reader._opaque,
}
