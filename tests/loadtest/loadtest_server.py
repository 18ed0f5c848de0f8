"""A small HTTP/1.1 server for the tests: freezes when it is told to, misbehaves on demand.

    python loadtest_server.py [--service-ms 2] [--freeze-s 1 --every-s 3] [--tls CERTIFICATE]

It prints its port. Paths: /ok, /status/CODE, /slow/MS, /drop, /never, /to/PATH (a redirect); /freeze/MS
freezes it for so long, soon; /freezes lists ``[start, end]`` (epoch) of the freezes so far, and /answers
when each request to /ok was answered (epoch) since the last such question; POST /tasks gives 202 and a
Location that is done TASK_MS later; /tasks/lost never is.
"""

import argparse
import asyncio
import json
import ssl
import time
from itertools import count

TASK_MS = 300


class Server(asyncio.Protocol):
    freezes: list = []  # noqa: RUF012
    answers: list = []  # noqa: RUF012
    tasks: dict = {}  # noqa: RUF012
    numbers = count()
    service_s = 0.0

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode()
            length = next((int(line.split(":")[1]) for line in head.split("\r\n")[1:]
                           if line.lower().startswith("content-length:")), 0)  # fmt: skip
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.serve(*head.split(" ", 2)[:2])

    def serve(self, method, path):
        if self.service_s:
            time.sleep(self.service_s)  # it blocks the loop: a single server with a queue in front
        path, _, query = path.partition("?")
        parts = path.strip("/").split("/")
        loop = asyncio.get_running_loop()
        if parts[0] == "drop":
            self.transport.close()
        elif parts[0] == "never":
            return
        elif parts[0] == "slow":
            loop.call_later(int(parts[1]) / 1000, self.answer, 200, {})
        elif parts[0] == "status":
            self.answer(int(parts[1]), {})
        elif parts[0] == "to":
            self.answer(307, {}, f"Location: /{'/'.join(parts[1:])}\r\n")
        elif parts[0] == "freeze":
            self.answer(200, {})
            loop.call_later(0.02, freeze, int(parts[1]) / 1000)
        elif parts[0] == "freezes":
            self.answer(200, self.freezes)
        elif parts[0] == "answers":
            self.answer(200, self.answers)
            self.answers.clear()
        elif parts[0] == "tasks" and method == "POST":
            number = "lost" if parts[1:] == ["lost"] else str(next(self.numbers))
            self.tasks[number] = float("inf") if number == "lost" else time.monotonic() + TASK_MS / 1000
            self.answer(202, {"task_id": number, "status": "queued"}, f"Location: /tasks/{number}\r\n")
        elif parts[0] == "tasks":
            wait_s = float(query.removeprefix("wait_s=") or 0)
            left_s = self.tasks[parts[1]] - time.monotonic()
            loop.call_later(max(0.0, min(wait_s, left_s)), self.answer_task, parts[1])
        else:
            self.answer(200, {"result": "ok"})
            self.answers.append(time.time())

    def answer_task(self, number):
        done = self.tasks[number] <= time.monotonic()
        self.answer(200 if done else 202, {"status": "done" if done else "queued"})

    def answer(self, status, content, extra=""):
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 {status} X\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


def freeze(seconds):
    start = time.time()
    time.sleep(seconds)
    Server.freezes.append((start, time.time()))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--service-ms", type=float, default=0)
    parser.add_argument("--freeze-s", type=float, default=0)
    parser.add_argument("--every-s", type=float, default=3)
    parser.add_argument("--tls")
    options = parser.parse_args()
    Server.service_s = options.service_ms / 1000
    loop = asyncio.get_running_loop()
    tls = None
    if options.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.tls)
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    while True:
        await asyncio.sleep(options.every_s)
        if options.freeze_s:
            freeze(options.freeze_s)


asyncio.run(main())
