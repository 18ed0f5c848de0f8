"""A worker's end of the wire: one connection, one reply for each question."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Sequence

from scalelab.core.errors import ConfigError
from scalelab.serve.broker import BrokerAway
from scalelab.serve.local import frames
from scalelab.serve.local.address import Address

_CONNECT_S = 2.0
REPLY_S = 10.0
"""a gateway that is silent for so long is gone"""
_BUFFER_BYTES = 256 * 1024


class Link:
    """An open connection that has been welcomed."""

    def __init__(
        self, address: Address, *, queue: str, name: str = "", ttl_s: float = 0.0, held: Sequence[str] = ()
    ):
        """Connect and say who comes; without a `name` to look at dead letters.

        Raises:
            OSError: nobody answers there.
            ConfigError: the token or the queue is another.
        """
        self._socket = socket.create_connection((address.host, address.port), timeout=_CONNECT_S)
        self._buffer = bytearray(_BUFFER_BYTES)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hello = {"version": frames.VERSION, "token": address.token, "queue": queue, "name": name}
            body = json.dumps({**hello, "ttl_s": ttl_s, "held": list(held)}).encode()
            self.send(frames.frame(frames.HELLO, body))
            self.receive(REPLY_S)
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes) -> None:
        """Send one frame."""
        self._socket.settimeout(REPLY_S)
        self._socket.sendall(data)

    def receive(self, timeout_s: float) -> memoryview:
        """Return the body of the next frame; it is valid until the next call.

        Raises:
            OSError: nothing came in time, or the connection ended.
            BrokerAway: the broker cannot do it now.
            ConfigError: the broker will never do it.
        """
        self._socket.settimeout(timeout_s)
        have = self._fill(0, frames.FRAME.size)
        length, kind = frames.FRAME.unpack_from(self._buffer)
        end = frames.FRAME.size + length
        if end > len(self._buffer):
            self._buffer = self._buffer[:have].ljust(end, b"\0")
        self._fill(have, end)
        body = memoryview(self._buffer)[frames.FRAME.size : end]
        if kind == frames.REFUSED:
            raise ConfigError(
                f"the local broker refused this process: {str(body, 'utf-8')}",
                hint="it belongs to another stack; start again: scalelab serve up",
            )
        if kind == frames.AWAY:
            raise BrokerAway(str(body, "utf-8"), hint="it is tried again")
        return body

    def is_open(self) -> bool:
        """Tell whether the gateway has not closed it. Not beside `receive`: that may take what was seen."""
        if not select.select([self._socket], [], [], 0)[0]:
            return True
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _fill(self, have: int, wanted: int) -> int:
        view = memoryview(self._buffer)
        while have < wanted:
            count = self._socket.recv_into(view[have:])
            if not count:
                raise ConnectionError("the gateway closed the connection")
            have += count
        return have
