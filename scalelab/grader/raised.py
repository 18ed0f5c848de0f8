"""An exception told in plain data, and one that reads the same made of what was told.

Only Python's own exception types are made again; a class of somebody else's becomes a new subclass of the
builtin one below it. So no word from a learner's process can become an exception that means something to us.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from scalelab.grader.decoding import line_of, name_of
from scalelab.grader.messages import Malformed
from scalelab.grading.lines import Line

LONGEST = 2000
_LINES = 10**7
_NEVER = {"KeyboardInterrupt", "GeneratorExit", "ExceptionGroup", "BaseExceptionGroup"}
"""Ctrl-C is ours alone; the others mean something to Python itself"""
KINDS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException) and name not in _NEVER
}


def tell(error: BaseException, line: Line | None = None) -> dict[str, Any]:
    """Return an exception in plain data; never raises."""
    kind = type(error)
    try:
        message = str(error)
    except Exception:
        message = ""
    mro = [each.__name__ for each in type.__dict__["__mro__"].__get__(kind) if each in KINDS.values()]
    told: dict[str, Any] = {
        "type": type.__dict__["__name__"].__get__(kind),
        "mro": mro,
        "message": message[:LONGEST] if type(message) is str else "",
    }
    if line is not None:
        told["line"] = [line.function, line.number, line.text[:LONGEST], line.is_innermost]
    return told


def make(told: Mapping[str, Any]) -> tuple[BaseException, Line | None]:
    """Return the exception, and the learner's line, that were told.

    Raises:
        Malformed: they were not told in the agreed way.
    """
    mro, message = told.get("mro"), told.get("message")
    if type(mro) is not list or type(message) is not str:
        raise Malformed("an exception that is none")
    known = [KINDS[name] for name in mro if type(name) is str and name in KINDS]
    kind = known[0] if known else Exception
    text = line_of(message)
    made = type(name_of(told.get("type")), (kind,), {"__init__": _nothing, "__str__": lambda _self: text})
    error = made()
    error.args = (text,)
    return error, _line(told.get("line"))


def _nothing(*_: Any) -> None:
    pass


def _line(told: Any) -> Line | None:
    if told is None:
        return None
    if type(told) is not list or [type(part) for part in told] != [str, int, str, bool]:
        raise Malformed("a line that is none")
    function, number, text, is_innermost = told
    if not 0 <= number < _LINES:
        raise Malformed("a line that is none")
    return Line(name_of(function), number, line_of(text)[:200], is_innermost)
