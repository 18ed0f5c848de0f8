"""The gateway's end of the wire: workers connect over loopback, show the token, and ask for tasks.

A connection that ends is a worker that died: what it held goes to others at once. One that is silent (a
frozen process) counts as dead after its time; its answers still count if they come first.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Callable
from typing import Any

from scalelab.serve.broker import BrokerAway
from scalelab.serve.local import frames
from scalelab.serve.local.ledger import Answered, Ledger

log = logging.getLogger("scalelab.broker")
_HELLO_S = 5.0
"""to say who one is; whoever does not is no worker"""
_MAX_CONNECTIONS = 1024
_MOMENT_MS, _LONG_RUN_MS = 1, 50
"""runs of the model: a round trip is some tenths of a millisecond"""


class Listener:
    """All connections of workers and of people who look at dead letters."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        token: str,
        queue: str,
        clock: Callable[[], float],
        announce: Callable[[Answered], None],
    ):
        self.ledger, self.token, self.queue, self.clock = ledger, token, queue, clock
        self.announce = announce
        self.connections: set[Connection] = set()
        self.workers: dict[str, Connection] = {}
        self.waiting: dict[str, int] = {}
        """worker -> how many tasks it can take now; the longest waiting first"""
        self.is_draining = False

    def dispatch(self) -> None:
        """Give what is queued to the workers that wait, an equal share to each.

        The share of a busy one stays for it: in one batch of all, the last task would be answered no earlier
        and the first ones later.
        """
        if self.is_draining:
            return
        busy = len(self.workers) - len(self.waiting)
        while self.waiting and (ready := self.ledger.table.count_ready(self.clock())):
            share = -(-ready // (busy + len(self.waiting)))
            name = next(iter(self.waiting))
            max_tasks = self.waiting.pop(name)
            self.workers[name].give(self.ledger.take(name, min(max_tasks, share)))

    def next_for(self, name: str, batch: int, is_idle: bool, run_ms: int) -> list[Any]:
        """Take what a worker that hands in answers is given with the reply.

        What it can begin, it gets, but for the share of the others. A batch more, to lie ready while that one
        runs, spares it a round trip. It costs the tasks in it the rest of a run, where another worker could
        have begun them: so only if there is a batch for each worker. Beside a long run it spares nothing; and
        where a run is over in a moment, what counts is that batches are full.
        """
        ready = 0 if self.is_draining else self.ledger.table.count_ready(self.clock())
        is_moment = run_ms <= _MOMENT_MS
        share = ready if is_moment else -(-ready // len(self.workers))
        count = min(share, batch) if is_idle else 0
        enough = batch * (1 if is_moment else len(self.workers))
        if run_ms <= _LONG_RUN_MS and ready - count >= enough:
            count += batch
        return self.ledger.take(name, count) if count else []

    def lose(self, name: str) -> None:
        """Take a dead worker's tasks from it."""
        if self.waiting.pop(name, 0) and name in self.workers:
            self.workers[name].give([])  # a frozen one finds it when it wakes
        self.ledger.table.lose(name)
        self.bury()
        self.dispatch()

    def bury(self) -> None:
        """Give up what is out of attempts."""
        if self.ledger.table.exhausted:
            try:
                self.announce(self.ledger.bury_exhausted())
            except BrokerAway as error:  # the disk is full: tried again at the next tick
                log.warning("%s", error.message)


class Connection(asyncio.Protocol):
    """One peer, from its HELLO to its end."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._transport: Any = None
        self._buffer = bytearray()
        self._role = ""
        self._name = ""
        self._ttl_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._first = 0
        """of answers that were stored, to be said with the next tasks"""

    def connection_made(self, transport: Any) -> None:
        """Wait for its HELLO, for a while."""
        self._transport = transport
        self._listener.connections.add(self)
        if len(self._listener.connections) > _MAX_CONNECTIONS:
            transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(_HELLO_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """A worker died, or has left before."""
        self._stop_timer()
        listener = self._listener
        listener.connections.discard(self)
        if self._name and listener.workers.get(self._name) is self:
            del listener.workers[self._name]
            listener.lose(self._name)

    def data_received(self, data: bytes) -> None:
        """Handle each whole frame; whoever sends what is none is cut off, and nobody else is hurt."""
        if self._buffer:
            self._buffer += data
            data = b""
        view = self._buffer or data
        at = 0
        try:
            while len(view) - at >= frames.FRAME.size:
                length, kind = frames.FRAME.unpack_from(view, at)
                limit = frames.MAX_FRAME_BYTES if self._role else frames.MAX_HELLO_BYTES
                if length > limit:
                    raise ValueError(f"a frame of {length} bytes, the limit is {limit}")
                start = at + frames.FRAME.size
                if len(view) - start < length:
                    break
                at = start + length
                self._handle(kind, bytes(view[start:at]))
        except Exception as error:
            log.warning("a peer of the local broker was cut off: %s: %s", type(error).__name__, error)
            self._transport.abort()
            return
        if self._buffer:
            del self._buffer[:at]
        elif at < len(data):
            self._buffer += data[at:]

    def close(self) -> None:
        """End the connection, without the words a dead worker would cost."""
        self._transport.close()

    def give(self, entries: list[Any]) -> None:
        """Reply with tasks, and with how many answers were the first."""
        self._stop_timer()
        self._send(frames.pack_tasks(self._first, entries, self._listener.clock()))
        self._first = 0

    def _handle(self, kind: int, body: bytes) -> None:
        listener = self._listener
        if not self._role:
            if kind != frames.HELLO:
                raise ValueError("it did not say who it is")
            self._hello(body)
        elif self._role == "letters":
            self._letters(kind, body)
        else:
            listener.ledger.table.see(self._name, listener.clock(), self._ttl_s)
            if kind == frames.ANSWERS:
                self._finish(body)
            elif kind == frames.TAKE:
                self._take(*frames.TAKE_BODY.unpack(body))
            elif kind == frames.TAKE_OVER:
                self.give([] if listener.is_draining else listener.ledger.take_over(self._name))
            elif kind == frames.GIVE_BACK:
                (after_ms,) = frames.NUMBER.unpack_from(body)
                ids = frames.unpack_ids(body[frames.NUMBER.size :])
                ready_s = listener.clock() + after_ms / 1000
                listener.ledger.table.give_back(self._name, ids, ready_s=ready_s)
                listener.bury()
                self.give([])
                listener.dispatch()
            elif kind == frames.BYE:
                listener.ledger.table.untake(self._name, frames.unpack_ids(body))
                del listener.workers[self._name]
                listener.lose(self._name)
                self._name = ""
                self.give([])
                self._transport.close()
            elif kind != frames.BEAT:
                raise ValueError(f"frame kind {kind}")

    def _hello(self, body: bytes) -> None:
        listener = self._listener
        said = json.loads(body)
        reason = ""
        if not hmac.compare_digest(str(said["token"]).encode(), listener.token.encode()):
            reason = "the token is wrong"
        elif said["version"] != frames.VERSION:
            reason = f"it speaks version {said['version']}, this is {frames.VERSION}"
        elif said["queue"] != listener.queue:
            reason = f"the queue here is {listener.queue!r}, not {said['queue']!r}"
        if reason:
            log.warning("a peer of the local broker was refused: %s", reason.partition(",")[0])
            self._send(frames.frame(frames.REFUSED, reason.encode()))
            self._transport.close()
            return
        self._stop_timer()
        self._role = "worker" if said["name"] else "letters"
        if said["name"]:
            self._name, self._ttl_s = str(said["name"]), float(said["ttl_s"])
            if len(self._name.encode()) > frames.MAX_NAME_BYTES or not 0 < self._ttl_s < 3600:
                self._name = ""
                raise ValueError("a name too long, or a silence of no length")
            listener.workers[self._name] = self  # in the place of a connection that is about to end
            listener.waiting.pop(self._name, None)
            listener.ledger.table.adopt(self._name, said["held"], listener.clock(), ttl_s=self._ttl_s)
            listener.bury()
        self.give([])
        listener.dispatch()

    def _take(self, max_tasks: int, wait_ms: int) -> None:
        listener = self._listener
        listener.waiting[self._name] = max(1, max_tasks)
        listener.dispatch()
        if self._name in listener.waiting:
            self._wait(wait_ms)

    def _wait(self, wait_ms: int) -> None:
        if wait_ms:
            self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._listener.waiting.pop(self._name, 0):
            self.give([])

    def _finish(self, body: bytes) -> None:
        listener = self._listener
        batch, is_idle, run_ms, wait_ms = frames.WANT.unpack_from(body)
        try:
            new = listener.ledger.finish(body, frames.WANT.size)
        except BrokerAway as error:
            self._send(frames.frame(frames.AWAY, error.message.encode()))
            return
        self._first = len(new)
        entries = listener.next_for(self._name, batch, is_idle, run_ms)
        if entries or not (batch and is_idle and wait_ms) or listener.is_draining:
            self.give(entries)  # before others hear of the answers: a worker waits
        else:
            listener.waiting[self._name] = batch
            self._wait(wait_ms)
        listener.announce(new)

    def _letters(self, kind: int, body: bytes) -> None:
        listener = self._listener
        try:
            if kind == frames.LETTERS:
                self._send(frames.pack_letters(listener.ledger.letters(*frames.NUMBER.unpack(body))))
                return
            ids = frames.unpack_ids(body)
            if kind == frames.RETRY:
                count = listener.ledger.retry_letters(ids)
                listener.dispatch()
            elif kind == frames.DROP:
                count = listener.ledger.drop_letters(ids)
            else:
                raise ValueError(f"frame kind {kind}")
            self._send(frames.frame(frames.COUNT, frames.NUMBER.pack(count)))
        except BrokerAway as error:
            self._send(frames.frame(frames.AWAY, error.message.encode()))

    def _send(self, data: bytes) -> None:
        self._transport.write(data)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
