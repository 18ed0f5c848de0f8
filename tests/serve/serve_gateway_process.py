"""A gateway in a process of its own, whose broker answers at once: PORT, then settings as JSON."""

import asyncio
import json
import sys

from serve_gateway_fakes import DictBroker

from scalelab.serve.gateway import Gateway
from scalelab.serve.guard import open_guard
from scalelab.serve.protocol import DONE, answer
from scalelab.serve.server import serve_gateway
from scalelab.serve.settings import StackSettings

HELD_DEADLINE_S = 3599.0


class InstantBroker(DictBroker):
    """Answers each task at once, those of HELD_DEADLINE_S when the gateway is asked to end.

    It takes no key for used: a generator of requests uses one again and again.
    """

    async def put(self, puts):
        self.keys.clear()
        report = await super().put(puts)
        for put in puts:
            task_id = put.task.task_id
            if put.task.deadline_s == HELD_DEADLINE_S:
                self.held.append(asyncio.ensure_future(self.hold(task_id)))
            elif self.answers.get(task_id) == b"":
                self.answer(task_id)
        return report

    async def hold(self, task_id):
        await self.draining.wait()
        self.answer(task_id)

    def answer(self, task_id):
        self.answers[task_id] = answer(task_id, DONE, result={"pin": "560001"}, batch=1, attempts=1)
        self.news.put_nowait((task_id, self.answers[task_id]))


def main():
    settings = StackSettings(model_path="", **json.loads(sys.argv[2]))
    guard = open_guard(settings.api_key_file, settings.rate_limit)
    broker = InstantBroker()
    gateway = Gateway(broker, settings, name="g", guard=guard)
    broker.draining, broker.held = gateway.draining, []
    serve_gateway(gateway, settings.host, int(sys.argv[1]))


if __name__ == "__main__":
    main()
