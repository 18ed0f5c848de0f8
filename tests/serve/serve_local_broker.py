"""A local broker on an event loop of its own thread, so that plain tests can hold both of its sides."""

import asyncio
import os
import threading

from scalelab.core.machine import free_port
from scalelab.serve.broker import (
    Answer,
    BrokerLimits,
    Put,
    open_dead_letters,
    open_gateway_side,
    open_worker_side,
)
from scalelab.serve.local.address import Address
from scalelab.serve.protocol import DONE, NORMAL, Task, answer

LIMITS = BrokerLimits(max_depth=50, worker_ttl_s=60.0)


def make_task(payload=b"payload", *, deadline_s=60.0, priority=NORMAL, task_id=""):
    return Task(task_id or os.urandom(16).hex(), payload, "gateway", deadline_s, priority)


def done(task_id, **fields):
    return answer(task_id, DONE, **fields)


class LocalBroker:
    """A gateway's side that runs, and workers' sides on the same address."""

    def __init__(self, folder, limits=LIMITS, queue="q"):
        self.address, self.limits, self.queue = Address.new(folder, free_port()), limits, queue
        self.workers = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.gateway = None
        self.open()

    def open(self):
        self.gateway = open_gateway_side(
            self.address.url(), queue=self.queue, name="gateway", limits=self.limits
        )
        self.run(self.gateway.start())

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def put(self, *tasks, key="", digest=""):
        return self.run(self.gateway.put([Put(task, key, digest) for task in tasks]))

    def look_up(self, *task_ids):
        return self.run(self.gateway.look_up(task_ids))

    def health(self):
        return self.run(self.gateway.health())

    def worker(self, name, limits=None):
        url = self.address.url()
        side = open_worker_side(url, queue=self.queue, name=name, limits=limits or self.limits)
        side.beat()
        self.workers.append(side)
        return side

    def letters(self):
        return open_dead_letters(self.address.url(), queue=self.queue)

    def close(self):
        for side in self.workers:
            side.cut()  # a gateway that ends would wait for what they hold
        self.run(self.gateway.close())

    def end(self):
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def answers_of(deliveries, **fields):
    return [Answer(delivery, done(delivery.task.task_id, **fields)) for delivery in deliveries]


def crash(broker):
    """End the gateway's side as a kill would, but for the port and the lock, which the system frees."""

    async def end():
        side = broker.gateway
        side._listener.workers.clear()  # the dead notice nobody's death
        side._server.close()
        side._ticking.cancel()
        for connection in list(side._listener.connections):
            connection.close()
        side._ledger.close()

    broker.run(end())
