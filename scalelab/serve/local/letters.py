"""The dead letters of a local broker, for people: asked of the gateway that runs."""

from __future__ import annotations

from collections.abc import Sequence

from scalelab.serve.broker import BrokerAway, DeadLetter
from scalelab.serve.local import frames
from scalelab.serve.local.address import Address
from scalelab.serve.local.link import REPLY_S, Link


class LocalDeadLetters:
    """One connection per question."""

    def __init__(self, url: str, *, queue: str):
        self._address, self._queue = Address.parse(url), queue

    def list(self, limit: int) -> list[DeadLetter]:
        """Return the newest letters, newest last."""
        return list(frames.unpack_letters(self._ask(frames.frame(frames.LETTERS, frames.NUMBER.pack(limit)))))

    def retry(self, ids: Sequence[str]) -> int:
        """Queue these tasks anew, with all attempts before them and without their answer; return how many."""
        return self._count(frames.RETRY, ids)

    def drop(self, ids: Sequence[str]) -> int:
        """Forget these letters; return how many there were. The answer "failed" stays."""
        return self._count(frames.DROP, ids)

    def _count(self, kind: int, ids: Sequence[str]) -> int:
        count: int = frames.NUMBER.unpack(self._ask(frames.frame(kind, frames.pack_ids(ids))))[0]
        return count

    def _ask(self, data: bytes) -> memoryview:
        try:
            link = Link(self._address, queue=self._queue)
            try:
                link.send(data)
                return link.receive(REPLY_S)
            finally:
                link.close()
        except OSError as error:
            raise BrokerAway(
                f"no gateway answers at {self._address.host}:{self._address.port}: {error}",
                hint="dead letters are kept by a running stack: scalelab serve up",
            ) from None
