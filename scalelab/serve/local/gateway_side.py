"""The gateway's side of the local broker: calls within one process, nothing is sent anywhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from scalelab.core.errors import ConfigError
from scalelab.serve.broker import BrokerAway, BrokerLimits, Health, Put, PutReport
from scalelab.serve.local.address import Address
from scalelab.serve.local.ledger import Answered, Ledger
from scalelab.serve.local.listener import Connection, Listener

log = logging.getLogger("scalelab.broker")
_TICK_S = 0.1
_STOOD_STILL_S = 0.5
_SYNC_S = 1.0
_DRAIN_S = 2.0
"""for workers to hand in what they hold when the gateway ends"""


class LocalGatewaySide:
    """The broker itself, and the gateway's way to it."""

    is_immediate = True

    def __init__(self, url: str, *, queue: str, name: str, limits: BrokerLimits):
        self._address = Address.parse(url)
        self._ledger = Ledger(self._address.folder, limits)
        self._listener = Listener(
            self._ledger,
            token=self._address.token,
            queue=queue,
            clock=time.monotonic,
            announce=self._announce,
        )
        self._new: Answered = []
        self._wake: asyncio.Future[None] | None = None
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._syncing: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Listen for workers.

        Raises:
            ConfigError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        host, port = self._address.host, self._address.port
        try:
            self._server = await loop.create_server(lambda: Connection(self._listener), host, port)
        except OSError as error:
            raise ConfigError(
                f"workers cannot connect to {host}:{port}: {error}", hint="is that port in use? Start again"
            ) from None
        self._ticking = loop.create_task(self._tick())

    async def put(self, puts: Sequence[Put]) -> PutReport:
        """Queue tasks; they are written to the journal before this returns."""
        if self._server is None:
            raise BrokerAway("the broker is closed", hint="it is tried again")
        placed = self._ledger.put(puts)
        self._listener.dispatch()
        return PutReport(placed, len(self._ledger.table.open), self._ledger.table.finished)

    async def look_up(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers: None for an unknown task, empty bytes for one without an answer yet."""
        return self._ledger.look_up(task_ids)

    async def cancel(self, task_id: str) -> bytes | None:
        """Answer a task that has no answer with "cancelled"; return what stands, None if it is unknown."""
        stands, new = self._ledger.cancel(task_id)
        self._announce(new)
        return stands

    async def next_answers(self) -> list[tuple[str, bytes]]:
        """Wait for answers: all of them, whichever gateway asked, for there is only one."""
        if not self._new:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        new, self._new = self._new, []
        return new

    async def health(self) -> Health:
        """Return the state of the queue."""
        return self._ledger.table.health(time.monotonic())

    async def close(self) -> None:
        """Give out no more tasks, wait a moment for those in work, and close the journal."""
        if self._server is None:
            return
        self._listener.is_draining = True
        until_s = time.monotonic() + _DRAIN_S
        while self._ledger.table.held_count() and time.monotonic() < until_s:
            await asyncio.sleep(0.005)
        self._server.close()
        self._server = None
        for connection in list(self._listener.connections):
            connection.close()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
        self._ledger.close()

    def _announce(self, new: Answered) -> None:
        self._new += new
        if new and self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        last_s = synced_s = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            table, late_s = self._ledger.table, now_s - last_s - _TICK_S
            last_s = now_s
            if late_s > _STOOD_STILL_S:
                table.shift(late_s)
            try:
                for name in table.silent(now_s):
                    log.warning("worker %s is silent: its tasks go to others", name)
                    self._listener.lose(name)
                self._listener.bury()
                self._ledger.tick()
                self._listener.dispatch()
            except Exception:
                log.exception("the local broker's housekeeping failed; it goes on")
            if now_s - synced_s >= _SYNC_S and (self._syncing is None or self._syncing.done()):
                synced_s = now_s
                self._syncing = loop.run_in_executor(None, self._sync)

    def _sync(self) -> None:
        try:
            self._ledger.sync()
        except OSError as error:
            log.error("the journal could not be put on the disk: %s", error)
