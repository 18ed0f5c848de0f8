"""What a message between judge and learner process may be: its limits, its faults, the functions it lends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MIB = 1024**2


class WireError(Exception):
    """The channel cannot be used any more."""


class TooLong(WireError):
    """A message is over the limits."""


class NotPlain(TypeError):
    """A value cannot be sent."""


class Malformed(WireError):
    """A message is not what the protocol says."""


@dataclass(frozen=True)
class WireLimits:
    """What a message may take, and all messages of one check together."""

    structure_bytes: int = 4 * MIB
    """without the raw parts"""
    frame_bytes: int = 64 * MIB
    """raw parts"""
    depth: int = 40
    items: int = 500_000
    """of one list"""
    numbers: int = 16 * MIB
    """of one array: a check makes float64 of them, whatever they were; and bytes of one text"""
    all_structure_bytes: int = 16 * MIB
    """of a check; as objects they take up to 45 times as much memory"""
    all_frame_bytes: int = 256 * MIB
    functions: int = 10_000
    """of the other side, for which there are stand-ins"""
    keys: int = 5_000
    """of dicts and sets that are neither texts nor small numbers: many can be made with one same hash"""


class Callables:
    """The functions that this side lends to the other, and stands-in for those that the other side lent."""

    def __init__(self, most: int = WireLimits.functions):
        self.make_stand_in: Callable[[int, str], Callable[..., Any]] | None = None
        """of number and name; None where no function is expected"""
        self.tells_names = True
        """a check's function is lent without its name, which may say what it does"""
        self._most = most
        self._lent: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._theirs: dict[int, tuple[Any, int]] = {}
        self._stand_ins: dict[int, Any] = {}
        self._next = 0

    def lend(self, function: Any) -> int:
        """Return the number under which the other side may call `function`."""
        number = self._numbers.get(id(function))
        if number is None:
            self._next += 1
            number = self._next
            self._lent[number] = function
            self._numbers[id(function)] = number
        return number

    def lent(self, number: Any) -> Any:
        """Return the function of this side that goes by a number.

        Raises:
            Malformed: no function was lent under it, or not in this check.
        """
        if type(number) is not int or number not in self._lent:
            raise Malformed("a call of a function that was not handed over")
        return self._lent[number]

    def number_of_theirs(self, function: Any) -> int | None:
        """Return the other side's number of a stand-in, None for any other function."""
        found = self._theirs.get(id(function))
        return found[1] if found else None

    def stand_in(self, number: int, name: str) -> Any:
        """Return a function that calls the other side's.

        Raises:
            Malformed: no function is expected.
            TooLong: there are too many.
        """
        if self.make_stand_in is None:
            raise Malformed("a function where none is expected")
        if number not in self._stand_ins:
            if len(self._stand_ins) >= self._most:
                raise TooLong(f"more than {self._most} functions")
            self._stand_ins[number] = self.know(self.make_stand_in(number, name), number)
        return self._stand_ins[number]

    def know(self, function: Any, number: int) -> Any:
        """Return `function`, which stands for the other side's of that number from now on."""
        self._theirs[id(function)] = (function, number)
        return function

    def forget(self) -> None:
        """Take back all that was lent; its numbers are never used again."""
        self._lent.clear()
        self._numbers.clear()
        self._theirs.clear()
        self._stand_ins.clear()
