"""Short JSON messages between our own processes, each with its length before it; not for learners' code."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any


def send_frame(line: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one message."""
    body = json.dumps(message).encode()
    line.sendall(struct.pack("!I", len(body)) + body)


def receive_frame(line: socket.socket) -> dict[str, Any]:
    """Return the next message.

    Raises:
        EOFError: the other side has closed.
    """
    (size,) = struct.unpack("!I", receive_exactly(line, 4))
    return dict(json.loads(receive_exactly(line, size)))


def receive_exactly(line: socket.socket, size: int) -> bytes:
    """Return `size` bytes; EOFError if the other side closes before."""
    data = bytearray()
    while len(data) < size:
        part = line.recv(min(size - len(data), 1 << 20))
        if not part:
            raise EOFError("the other side closed the line")
        data += part
    return bytes(data)
