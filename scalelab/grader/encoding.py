"""Write plain data as wire types: msgpack and, for arrays and long texts, raw bytes behind it."""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from scalelab.grader.messages import MIB, Callables, NotPlain, TooLong, WireLimits
from scalelab.grading.plain import ARRAYS, DIGITS, Opaque, as_base, opaque, whole

INLINE = 1 << 14
"""a text or bytes of up to this length stand within the structure"""
TENSORS = (
    "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool", "uint8", "int8", "int16",
    "int32", "int64",
)  # fmt: skip
_INT64 = range(-(2**63), 2**63)
_LENDABLE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial, np.ufunc)


class Writer:
    """Encode one message: `structure` goes into msgpack, `parts` follow it as they are."""

    def __init__(self, callables: Callables, limits: WireLimits, *, is_strict: bool = False):
        self.parts: list[bytes | memoryview] = []
        self._callables, self._limits, self._is_strict = callables, limits, is_strict
        self._left = limits.frame_bytes

    def write(self, value: Any, depth: int = 0) -> Any:
        """Return the structure of `value`.

        Raises:
            TooLong: it is over the limits.
            NotPlain: strict, and it is no plain data.
        """
        if depth > self._limits.depth:
            raise TooLong(f"more than {self._limits.depth} levels of lists within lists")
        kind = type(value)
        write = _WRITE.get(kind)
        if write is None:
            base = as_base(value)
            if self._is_strict and isinstance(base, Opaque) and not isinstance(value, Opaque):
                raise NotPlain(f"a {kind.__name__} is no plain data")
            value, kind = base, type(base)
            write = _WRITE.get(kind)
        if write is not None:
            return write(self, value, depth + 1)
        if isinstance(value, np.generic):
            return ["number", self._array(np.asarray(value), depth)]
        if isinstance(value, Opaque):
            shape = list(value.shape) if value.shape is not None else None
            return ["opaque", kind.__name__, value.text, shape, value.dtype]
        if kind.__name__ == "Tensor" and kind.__module__ == "torch":
            return self._tensor(value)
        return self._function(value)

    def part(self, data: Any) -> int:
        """Take raw bytes to the end of the message; return their number."""
        data = memoryview(data).cast("B") if len(data) else b""
        self._left -= len(data)
        if self._left < 0:
            raise TooLong(f"more than {self._limits.frame_bytes // MIB} MiB")
        self.parts.append(data)
        return len(data)

    def _text(self, text: str, depth: int) -> Any:
        if len(text) <= INLINE:
            return text
        data = text.encode(errors="replace") if len(text) <= self._limits.numbers else b""
        if not 0 < len(data) <= self._limits.numbers:
            raise TooLong(f"a text of {len(text)} characters")
        return ["text", self.part(data)]

    def _bytes(self, data: bytes, depth: int) -> Any:
        return data if len(data) <= INLINE else ["bytes", self.part(data)]

    def _int(self, value: int, depth: int) -> Any:
        if value in _INT64:
            return value
        if value is not (value := whole(value)):
            return self.write(value)
        return ["int", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)]

    def _series(self, value: Any, depth: int) -> Any:
        """Write a list, tuple or set; a long list of numbers goes as raw bytes."""
        tag = type(value).__name__
        if len(value) > self._limits.items:
            raise TooLong(f"a {tag} of {len(value)} items")
        if tag == "list" and len(value) > 8:
            kinds = set(map(type, value))
            if kinds == {float}:
                return ["floats", self.part(np.array(value, dtype="<f8"))]
            if kinds == {int} and min(value) in _INT64 and max(value) in _INT64:
                return ["ints", self.part(np.array(value, dtype="<i8"))]
        return [tag, *[self.write(item, depth) for item in value]]

    def _deque(self, value: deque[Any], depth: int) -> Any:
        return ["deque", value.maxlen, self._series(list(value), depth)]

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if len(value) > self._limits.items:
            raise TooLong(f"a dict of {len(value)} items")
        made: list[Any] = ["dict"]
        for key, item in value.items():
            made += (self.write(key, depth), self.write(item, depth))
        return made

    def _array(self, value: np.ndarray, depth: int) -> Any:
        if value.dtype.kind not in ARRAYS:
            return self.write(as_base(value), depth)
        if value.size > self._limits.numbers or value.nbytes > self._limits.frame_bytes:
            raise TooLong(f"an array of shape {value.shape}")
        if value.dtype.kind == "U":
            texts = self._series(value.ravel().tolist(), depth)
            return ["texts", value.dtype.itemsize // 4, list(value.shape), texts]
        dtype = value.dtype.str if value.dtype.itemsize else "|S1"
        flat = np.ascontiguousarray(value, dtype=dtype).reshape(-1)
        return ["array", dtype, list(value.shape), self.part(flat.view(np.uint8))]

    def _tensor(self, value: Any) -> Any:
        name = str(value.dtype).rpartition(".")[2]
        if value.numel() > self._limits.numbers:
            raise TooLong(f"a tensor of shape {tuple(value.shape)}")
        if name not in TENSORS or value.is_quantized:
            return self.write(opaque("Tensor", f"a tensor of {name}", tuple(value.shape), name))
        if value.layout is not sys.modules["torch"].strided:
            value = value.to_dense()
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        flat = flat.as_strided((flat.numel(),), (1,))  # one number of a slice keeps the slice's stride
        raw = flat.view(sys.modules["torch"].uint8).numpy() if flat.numel() else b""
        return ["tensor", name, list(value.shape), self.part(raw)]

    def _function(self, value: Any) -> Any:
        theirs = self._callables.number_of_theirs(value)
        if theirs is not None:
            return ["yours", theirs]
        name = type.__dict__["__name__"].__get__(type(value))
        if isinstance(value, Iterator) and not isinstance(value, type):
            return ["iterator", self._callables.lend(value.__next__), name]
        if self._is_strict and not isinstance(value, _LENDABLE) and type(value).__module__ != "numpy":
            raise NotPlain(f"a {name} is no plain data, nor is it a function")
        called = getattr(value, "__name__", None) if self._callables.tells_names else "function"
        return ["function", self._callables.lend(value), called if type(called) is str else name]


def _range(writer: Writer, value: range, depth: int) -> Any:
    if abs((value.stop - value.start) // value.step) > writer._limits.items:
        return writer.write(opaque("range", f"{value!r}"))
    return ["range", *[writer.write(number) for number in (value.start, value.stop, value.step)]]


def _decimal(writer: Writer, value: Decimal, depth: int) -> Any:
    if value.is_finite() and (abs(value.adjusted()) > DIGITS or len(value.as_tuple().digits) > DIGITS // 2):
        return writer.write(opaque("Decimal", "a number that is too long"))
    return ["decimal", str(value)]


def _fraction(writer: Writer, value: Fraction, depth: int) -> Any:
    return ["fraction", writer.write(value.numerator), writer.write(value.denominator)]


_WRITE: dict[type, Callable[[Writer, Any, int], Any]] = {
    **dict.fromkeys((type(None), bool, float), lambda writer, value, depth: value),
    type(...): lambda writer, value, depth: ["..."],
    complex: lambda writer, value, depth: ["complex", value.real, value.imag],
    Decimal: _decimal,
    range: _range,
    Fraction: _fraction,
    int: Writer._int,
    str: Writer._text,
    bytes: Writer._bytes,
    **dict.fromkeys((list, tuple, set, frozenset), Writer._series),
    deque: Writer._deque,
    dict: Writer._dict,
    np.ndarray: Writer._array,
    type({}.keys()): lambda writer, value, depth: ["keys", writer._series(list(value), depth)],
    type({}.values()): lambda writer, value, depth: ["values", writer._series(list(value), depth)],
    type({}.items()): lambda writer, value, depth: ["items", writer._dict(dict(value), depth)],
}
