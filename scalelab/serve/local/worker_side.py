"""A worker's side of the local broker.

It connects when it must and again when the gateway comes back; what it holds then stays its own. While the
model runs, the answers of the batch before are on their way, and the batch after it is here already: nobody
waits for a round trip under load.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from scalelab.serve.broker import Answer, BrokerAway, BrokerLimits, Delivery
from scalelab.serve.local import frames
from scalelab.serve.local.address import Address
from scalelab.serve.local.link import REPLY_S, Link
from scalelab.serve.local.records import pack_answer
from scalelab.serve.protocol import FAILED, answer


class LocalWorkerSide:
    """Takes tasks in batches and hands in their answers. `beat` may be called by another thread."""

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        self._address, self._queue, self._name, self._limits = Address.parse(url), queue, name, limits
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._held: set[str] = set()
        self._ahead: list[list[Delivery]] = []
        """what each reply brought and was not taken yet; apart, for a dead worker's task is to run alone"""
        self._posted = b""
        """a frame of answers whose reply was not read yet: sent again if it never comes"""
        self._patience_s = 0.0
        """how long the reply to what was posted may wait for tasks"""
        self._answered: list[str] = []
        self._asked: Link | None = None
        """owes a reply: whoever reads it sees the end of the connection, and nobody else may read"""

    def take(self, max_tasks: int, wait_s: float) -> list[Delivery]:
        """Return what is queued, up to `max_tasks`; wait up to `wait_s` for the first."""
        has_waited = False
        if not self._ahead:
            has_waited = self._patience_s > 0
            self.settle()
        if not self._ahead:
            if has_waited:
                return []
            body = frames.TAKE_BODY.pack(max_tasks, round(wait_s * 1000))
            self._ahead = [self._ask(frames.frame(frames.TAKE, body), wait_s + REPLY_S)[1]]
        first, *others = self._ahead
        self._ahead = [*filter(None, [first[max_tasks:]]), *others]
        return first[:max_tasks]

    def take_over(self) -> list[Delivery]:
        """Return at most one task that a dead worker held."""
        return self._ask(frames.frame(frames.TAKE_OVER))[1]

    def finish(self, answers: Sequence[Answer]) -> int:
        """Store, announce and acknowledge answers; return how many were the first for their task."""
        first = 0
        for part in _parts(answers):
            self._hand_in(part)
            first += self.settle()
        return first

    def post(self, answers: Sequence[Answer], max_tasks: int, run_s: float, wait_s: float = 0.0) -> None:
        """Hand in answers and ask for the next tasks; the reply is read when something is asked again."""
        *before, last = _parts(answers)
        for part in before:
            self._hand_in(part)
        self._hand_in(last, max_tasks, run_s, wait_s)

    def settle(self) -> int:
        """Wait until what was posted is stored; return how many answers were the first for their task."""
        if not self._posted:
            return 0
        with self._lock:
            if self._asked is None:  # the connection broke, or the disk was full
                self._send(self._posted)
        first, ahead = self._reply(REPLY_S + self._patience_s)
        self._posted, self._patience_s = b"", 0.0
        if ahead:
            self._ahead.append(ahead)
        self._held.difference_update(self._answered)
        return first

    def give_back(self, deliveries: Sequence[Delivery], *, after_s: float) -> None:
        """Let tasks be taken again, by anyone, `after_s` from now."""
        ids = [delivery.receipt for delivery in deliveries]
        self._ask(
            frames.frame(frames.GIVE_BACK, frames.NUMBER.pack(round(after_s * 1000)), frames.pack_ids(ids))
        )
        self._held.difference_update(ids)

    def beat(self) -> None:
        """Say that this worker lives; connect again if the gateway has come back."""
        with self._lock:
            if self._link is not None and self._asked is None and not self._link.is_open():
                self._away(self._link, ConnectionError())
            link = self._connected()
            try:
                link.send(frames.frame(frames.BEAT))
            except OSError as error:
                raise self._away(link, error) from None

    def leave(self) -> None:
        """Say that this worker ends in order; what it was given and has not begun goes to others."""
        if self._link is not None:
            self.settle()
            ids = [delivery.receipt for batch in self._ahead for delivery in batch]
            self._ask(frames.frame(frames.BYE, frames.pack_ids(ids)))
            self.cut()

    def cut(self) -> None:
        """End the connection without a word, as death would."""
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None

    def _hand_in(
        self, answers: Sequence[Answer], max_tasks: int = 0, run_s: float = 0.0, wait_s: float = 0.0
    ) -> None:
        packed = [pack_answer(done.delivery.receipt, _fit(done), done.dead_letter) for done in answers]
        is_idle = not self._ahead
        wait_s = wait_s if is_idle and max_tasks else 0.0
        want = frames.WANT.pack(
            max_tasks, is_idle, min(frames.MAX_MS, round(run_s * 1000)), round(wait_s * 1000)
        )
        data = frames.frame(frames.ANSWERS, want, *packed)
        if data != self._posted:  # else it is said again, after an error
            self.settle()
            self._posted, self._patience_s = data, wait_s
            self._answered = [done.delivery.receipt for done in answers]
        with self._lock:
            if self._asked is None:
                self._send(data)

    def _ask(self, data: bytes, timeout_s: float = REPLY_S) -> tuple[int, list[Delivery]]:
        self.settle()
        with self._lock:
            self._send(data)
        return self._reply(timeout_s)

    def _send(self, data: bytes) -> None:
        link = self._connected()
        try:
            link.send(data)
        except OSError as error:
            raise self._away(link, error) from None
        self._asked = link

    def _reply(self, timeout_s: float) -> tuple[int, list[Delivery]]:
        """Read a reply without the lock: heartbeats go on while this waits."""
        link = self._asked
        try:
            if link is None:  # a heartbeat found it broken
                raise ConnectionError("the connection broke")
            first, deliveries = frames.unpack_tasks(link.receive(timeout_s))
        except OSError as error:
            with self._lock:
                raise self._away(link, error) from None
        finally:
            self._asked = None
        self._held.update([delivery.receipt for delivery in deliveries])
        return first, deliveries

    def _connected(self) -> Link:
        if self._link is None:
            ttl_s, held = self._limits.worker_ttl_s, sorted(self._held)
            try:
                self._link = Link(self._address, queue=self._queue, name=self._name, ttl_s=ttl_s, held=held)
            except OSError as error:
                raise BrokerAway(
                    f"no gateway at {self._address.host}:{self._address.port}: {error}",
                    hint="it is tried again",
                ) from None
        return self._link

    def _away(self, link: Link | None, error: OSError) -> BrokerAway:
        if link is not None:
            link.close()
        if self._link is link:
            self._link = None
        self._asked = None
        return BrokerAway(f"the gateway is gone: {error}", hint="it is tried again")


def _parts(answers: Sequence[Answer]) -> list[Sequence[Answer]]:
    """Return answers by frame: one, or one each if they are large."""
    if len(answers) > 1 and sum(len(done.body) for done in answers) > frames.MAX_FRAME_BYTES // 2:
        return [[done] for done in answers]
    return [answers] if answers else []


def _fit(done: Answer) -> bytes:
    """Return the answer, or that it is too large: the gateway would cut us off for it, again and again."""
    size, limit = len(done.body), frames.MAX_FRAME_BYTES // 2
    if size <= limit:
        return done.body
    return answer(done.delivery.receipt, FAILED, error=f"the answer has {size} bytes, the limit is {limit}")
