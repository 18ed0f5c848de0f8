"""What runs in place of a learner's notebook in the tests of the sandbox: any source at all."""

from __future__ import annotations

import socket
from typing import Any

from scalelab.grader.wire import Channel


def warm(setup_cells: list[str]) -> dict[str, Any]:
    """Run set-up cells as plain source; what they define is what a learner process starts from."""
    names: dict[str, Any] = {}
    for cell in setup_cells:
        exec(cell, names)
    return names


def attack(sock: socket.socket, names: dict[str, Any]) -> None:
    """Run the sources that come over the channel, and answer each with what it left in `result`."""
    channel = Channel(sock)
    while True:
        message = channel.receive()
        names.update(message, result=None)
        try:
            exec(message["source"], names)
            answer = {"result": names["result"]}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        channel.send(answer)
