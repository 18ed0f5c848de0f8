"""The private line between the judge and a learner process: messages with hard limits and a deadline."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from scalelab.core.lazy import require
from scalelab.grader.decoding import Reader
from scalelab.grader.encoding import Writer
from scalelab.grader.messages import Callables, Malformed, TooLong, WireError, WireLimits

msgpack = require("msgpack", extra="grade")

__all__ = ["Channel", "Closed", "Late", "Malformed", "TooLong", "WireError", "WireLimits", "decode", "encode"]

_HEAD = struct.Struct("!II")
_JOINED = 1 << 16
"""raw parts of up to this many bytes are copied to be sent at once"""


class Closed(WireError):
    """The other side is gone, or the channel was given up after an error."""


class Late(WireError):
    """The deadline has passed."""


def encode(
    value: Any, *, callables: Callables, limits: WireLimits, is_strict: bool = False
) -> list[bytes | memoryview]:
    """Return the bytes of one message, in pieces: its head, its structure and its raw parts.

    Args:
        is_strict: refuse what is no plain data; else it is sent as a line that shows it.

    Raises:
        TooLong: it is over the limits.
        NotPlain: strict, and it is no plain data.
    """
    writer = Writer(callables, limits, is_strict=is_strict)
    structure = msgpack.packb(writer.write(value), unicode_errors="replace")
    if len(structure) > limits.structure_bytes:
        raise TooLong(f"a structure of {len(structure)} bytes")
    return [_HEAD.pack(len(structure), sum(map(len, writer.parts))), structure, *writer.parts]


def decode(structure: Any, parts: memoryview, *, callables: Callables, limits: WireLimits) -> Any:
    """Return the value of one message.

    Raises:
        Malformed: the bytes are no message.
        TooLong: they hold too much.
    """
    try:
        tree = msgpack.unpackb(
            structure,
            use_list=True,
            raw=False,
            max_str_len=limits.structure_bytes,
            max_bin_len=limits.structure_bytes,
            max_array_len=2 * limits.items + 1,
            max_map_len=0,
            max_ext_len=0,
        )
        reader = Reader(parts, callables, limits)
        value = reader.read(tree)
        reader.done()
    except WireError:
        raise
    except Exception as error:
        raise Malformed(f"{type(error).__name__}") from None
    return value


class Channel:
    """Messages (dicts with text keys) over a connected socket.

    After an error, or an exception that broke into a message, all that follows is `Closed`: no one
    knows where the next message begins.
    """

    def __init__(self, sock: socket.socket, *, limits: WireLimits | None = None):
        self._socket = sock
        self._limits = limits or WireLimits()
        self.callables = Callables(self._limits.functions)
        self.is_open = True
        self.renew()

    def renew(self) -> None:
        """Begin a check: what was lent is taken back, and what the check may receive counts from 0 again."""
        self.callables.forget()
        self._structure_left = self._limits.all_structure_bytes
        self._raw_left = self._limits.all_frame_bytes

    def send(
        self, message: dict[str, Any], deadline: float | None = None, *, is_strict: bool = False
    ) -> None:
        """Send one message.

        Args:
            deadline: on `time.monotonic`'s clock [s]; None waits as long as it takes.
            is_strict: refuse what is no plain data.

        Raises:
            TooLong: the message is over the limits; nothing was sent.
            NotPlain: strict, and something in it is no plain data; nothing was sent.
            Late, Closed: it was not sent whole.
        """
        self._expect_open()
        pieces = encode(message, callables=self.callables, limits=self._limits, is_strict=is_strict)
        if sum(map(len, pieces)) <= _JOINED:
            pieces = [b"".join(pieces)]
        with self._all_or_closed():
            for piece in pieces:
                self._wait_until(deadline)
                self._socket.sendall(piece)

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        """Return the next message.

        Raises:
            Late, Closed, TooLong, Malformed: there is none that can be read.
        """
        self._expect_open()
        with self._all_or_closed():
            size, raw = _HEAD.unpack(self._read(_HEAD.size, deadline))
            if size > self._limits.structure_bytes or raw > self._limits.frame_bytes:
                raise TooLong("a message over the limits")
            self._structure_left -= size
            self._raw_left -= raw
            if self._structure_left < 0 or self._raw_left < 0:
                raise TooLong("more messages than one check may receive")
            body = self._read(size + raw, deadline)
            message = decode(body[:size], body[size:], callables=self.callables, limits=self._limits)
            if type(message) is not dict or not all(type(key) is str for key in message):
                raise Malformed("a message that is no dict")
        return message

    def close(self) -> None:
        """Hang up."""
        self.is_open = False
        with contextlib.suppress(OSError):
            self._socket.close()

    def _read(self, size: int, deadline: float | None) -> memoryview:
        data = memoryview(bytearray(size))
        at = 0
        while at < size:
            self._wait_until(deadline)
            count = self._socket.recv_into(data[at:])
            if not count:
                raise Closed("the other side hung up")
            at += count
        return data

    def _wait_until(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise Late
        self._socket.settimeout(left)

    def _expect_open(self) -> None:
        if not self.is_open:
            raise Closed("the channel was given up")

    @contextlib.contextmanager
    def _all_or_closed(self) -> Iterator[None]:
        self.is_open = False
        try:
            yield
        except TimeoutError:
            raise Late from None
        except OSError as error:
            raise Closed(f"the other side is gone ({type(error).__name__})") from None
        self.is_open = True
