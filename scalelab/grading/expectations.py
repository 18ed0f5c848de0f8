"""What a check expects, and the sentence when it is not so.

Every failure carries a feedback code. The codes in `GENERAL` belong to values that are no answer at all
(None, a generator, NaN, another shape or type); authors give the rest, one code per misconception.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any

import numpy as np

from scalelab.grading.answers import NotAttempted, WrongArguments

GENERAL = ("returned-none", "returned-generator", "not-a-number", "wrong-shape", "wrong-type", "unusable")
SHOWN = 60
LONGEST = 400
_LOCALS = re.compile(r"(?:[\w.]|<lambda>)+\.<locals>\.")
_ADDRESS = re.compile(r"<([\w .<>]+) at 0x[0-9a-fA-F]+>")
_short = reprlib.Repr()  # stops early in a list of a million, and stands a class whose repr breaks
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 8
_short.maxstring = _short.maxother = _short.maxlong = SHOWN


class ExpectationFailed(Exception):
    """The answer is not what was wanted."""

    def __init__(self, message: str, *, code: str, meaning: str = ""):
        super().__init__(message)
        self.message, self.code, self.meaning = _tidy(message), code, meaning


class Inconclusive(Exception):
    """The machine was too noisy to tell."""


def expect(condition: object, message: str, *, code: str, meaning: str = "") -> None:
    """Fail with `message` unless `condition` holds.

    Args:
        condition: a truth value, of numpy or torch too; NaN and None do not hold.
        message: what came back and what was wanted: ``got 2 weights for 3 micro-batches``.
        code: kebab-case, one meaning within a lab.
        meaning: the misconception that it looks like, as the end of a sentence.
    """
    try:
        holds = bool(condition)
    except (TypeError, ValueError, RuntimeError):  # an array: all must hold, and an empty one never does
        truths = np.asarray(_plain(condition))
        holds = truths.size > 0 and bool(truths.all())
    if not holds or (isinstance(condition, float) and math.isnan(condition)):
        raise ExpectationFailed(message, code=code, meaning=meaning)


def expect_close(
    got: Any, wanted: Any, *, what: str, code: str, meaning: str = "", rtol: float = 1e-5, atol: float = 0.0
) -> None:
    """Fail unless ``|got - wanted| <= atol + rtol * |wanted|`` for every number.

    Args:
        got: a number, a sequence of them, an array or a tensor of any type and device.
        wanted: the same, of the same shape.
        what: names the value in the sentence: ``weight of 30 tokens out of 40``.
        code: feedback code if the numbers differ; other troubles have codes of their own.
    """
    want = np.asarray(_plain(wanted), dtype=float)
    have = _numbers(got, what)
    if have.shape != want.shape:
        raise ExpectationFailed(
            f"{what} {_shape_of(have)}, wanted {_shape_in_words(want)}", code="wrong-shape", meaning=""
        )
    with np.errstate(invalid="ignore"):
        is_close = np.isclose(have, want, rtol=rtol, atol=atol, equal_nan=True)
    if is_close.all():
        return
    odd = np.isnan(have) & ~np.isnan(want)
    at = tuple(map(int, np.argwhere(odd if odd.any() else ~is_close)[0]))
    place = f"{what}[{', '.join(map(str, at))}]" if at else what
    if odd.any():
        raise ExpectationFailed(
            f"{place} is NaN, wanted {_number(want[at])}",
            code="not-a-number",
            meaning="NaN comes from 0/0, inf - inf or the logarithm of a negative number",
        )
    left, right = _apart(have[at], want[at])
    tolerance = f"relative tolerance {rtol:g}" + (f", absolute {atol:g}" if atol else "")
    many = f"; {int((~is_close).sum())} of {want.size} values differ" if want.size > 1 else ""
    raise ExpectationFailed(
        f"{place} is {left}, wanted {right} ({tolerance}{many})", code=code, meaning=meaning
    )


def expect_type(
    value: Any, kind: type | tuple[type, ...], *, what: str, code: str = "wrong-type", meaning: str = ""
) -> None:
    """Fail unless `value` is a `kind`."""
    if isinstance(value, kind):
        return
    refuse_nothing(value, what)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join(dict.fromkeys(each.__name__ for each in kinds))
    raise ExpectationFailed(f"{what} is {describe(value)}, wanted {wanted}", code=code, meaning=meaning)


def expect_length(
    value: Any, length: int, *, what: str, code: str = "wrong-length", meaning: str = ""
) -> None:
    """Fail unless `value` holds `length` items."""
    refuse_nothing(value, what)
    if not isinstance(value, Sized):
        raise ExpectationFailed(
            f"{what} is {describe(value)}, wanted {length} items", code="wrong-type", meaning=""
        )
    count = len(value)
    if count != length:
        raise ExpectationFailed(f"{what} has {count} items, wanted {length}", code=code, meaning=meaning)


def expect_raises(
    kind: type[Exception], call: Callable[..., Any], *inputs: Any, what: str, code: str, meaning: str = ""
) -> None:
    """Fail unless ``call(*inputs)`` raises a `kind`; another error is a failure with `code`, no crash.

    A stub still counts as not attempted.
    """
    try:
        gave = f"gave {describe(call(*inputs))}"
    except (NotAttempted, WrongArguments, RecursionError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, NotImplementedError) and kind is not NotImplementedError:
            raise
        if isinstance(error, kind):
            return
        gave = f"raised {in_words(error)}"
    raise ExpectationFailed(f"{what} {gave}, wanted a {kind.__name__}", code=code, meaning=meaning)


def inconclusive(reason: str) -> None:
    """End a measured check without a verdict: the machine was too noisy to tell."""
    raise Inconclusive(reason)


def describe(value: Any) -> str:
    """Return a value and its type in at most a line: ``[0.5, 0.5] (list)``, ``None``, ``a generator``."""
    if value is None or value is ...:
        return repr(value)
    if isinstance(value, Iterator):
        return f"a {type(value).__name__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None and tuple(shape) != ():
        kind = type(value).__name__
        holds = "text" if getattr(dtype, "kind", "") in {"S", "U"} else dtype
        article = "an" if kind == "ndarray" or kind[0] in "AEIOaeio" else "a"
        return f"{article} {kind} of shape {tuple(shape)}, {holds}"
    text = " ".join(_short.repr(value).split())
    if text.startswith("<"):
        return f"a {type(value).__name__}"
    return f"{text if len(text) <= SHOWN else text[: SHOWN - 3] + '...'} ({type(value).__name__})"


def in_words(error: BaseException) -> str:
    """Return an exception in a line: ``KeyError: 'lr'``, with functions named as the learner named them."""
    text = _tidy(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _tidy(text: str) -> str:
    """Shorten a text, and name functions in it as the learner named them."""
    text = text[: 4 * LONGEST]  # the patterns try each sign of a long word
    text = _ADDRESS.sub(r"\1", _LOCALS.sub("", text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def refuse_nothing(value: Any, what: str) -> None:
    """Fail for values that are no answer, whatever was asked for: None, and what can be read only once."""
    if value is None:
        raise ExpectationFailed(
            f"{what} is None", code="returned-none", meaning="did you forget to return the result?"
        )
    if isinstance(value, Iterator):
        raise ExpectationFailed(
            f"{what} is {describe(value)}, which can be read only once",
            code="returned-generator",
            meaning="make a list of it: list(...), or [...] in place of (...)",
        )


def _numbers(got: Any, what: str) -> np.ndarray:
    """Return the numbers of a learner's value, or fail with a sentence about its kind."""
    refuse_nothing(got, what)
    if isinstance(got, str | bytes | Mapping | set | frozenset) or callable(got):
        raise ExpectationFailed(f"{what} is {describe(got)}, wanted numbers", code="wrong-type")
    items = list(got) if isinstance(got, list | tuple) else []
    for place, item in enumerate(items):
        refuse_nothing(item, f"{what}[{place}]")
    try:
        array = np.asarray(_plain(got))
        if array.dtype.kind in "SUMmV":
            raise TypeError(array.dtype)
        return array.astype(float) if array.dtype.kind != "c" else _real(array, what)
    except (TypeError, ValueError, RuntimeError):
        is_ragged = bool(items) and any(isinstance(item, list | tuple) for item in items)
        told = "rows of different lengths" if is_ragged else describe(got)
        raise ExpectationFailed(f"{what} is {told}, wanted numbers", code="wrong-type") from None


def _real(array: np.ndarray, what: str) -> np.ndarray:
    if np.any(array.imag):
        raise ExpectationFailed(f"{what} holds complex numbers, wanted real ones", code="wrong-type")
    return array.real.astype(float)


def _plain(value: Any) -> Any:
    """Turn tensors (also in lists, on a device, with a gradient, of a type that numpy lacks) into arrays."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        if getattr(tensor, "is_sparse", False):
            tensor = tensor.to_dense()
        return (tensor if tensor.is_complex() else tensor.double()).numpy()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _shape_of(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"is a single number ({_number(array)})"
    return f"has {len(array)} values" if array.ndim == 1 else f"has shape {array.shape}"


def _shape_in_words(array: np.ndarray) -> str:
    if array.ndim == 0:
        return "a single number"
    return f"{len(array)} values" if array.ndim == 1 else f"shape {array.shape}"


def _number(value: Any) -> str:
    return f"{float(value):.6g}"


def _apart(left: Any, right: Any) -> tuple[str, str]:
    """Show two different numbers with as many digits as tell them apart."""
    for digits in (6, 9, 12, 17):
        texts = f"{float(left):.{digits}g}", f"{float(right):.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts
