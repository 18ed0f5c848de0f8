"""A gateway in a test's hands: its broker is a dictionary, its requests come over ASGI or over a socket."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote

from uvicorn.server import ServerState

from scalelab.serve.broker import BrokerAway, BrokerLimits, Health, Placed, PutReport
from scalelab.serve.connections import Connections
from scalelab.serve.face import build_face
from scalelab.serve.gateway import Gateway
from scalelab.serve.pins import IMAGE_BYTES
from scalelab.serve.protocol import CANCELLED, DONE, answer
from scalelab.serve.routes import TaskRoutes
from scalelab.serve.server import configure
from scalelab.serve.settings import StackSettings
from scalelab.serve.wire import Wire

IMAGE = bytes([7]) * IMAGE_BYTES
RAW = "application/octet-stream"


class DictBroker:
    is_immediate = False

    def __init__(self):
        self.puts, self.answers, self.keys = [], {}, {}
        self.news = asyncio.Queue()
        self.is_full = self.is_away = False
        self.error = None
        self.waiting = self.finished = 0
        self.workers, self.calls = 1, 0

    async def start(self):
        pass

    async def put(self, puts):
        self._check()
        self.calls += 1
        placed = []
        for put in puts:
            if put.key in self.keys:
                placed.append(self.keys[put.key])
            elif self.is_full:
                placed.append(Placed(""))
            else:
                self.puts.append(put)
                placed.append(Placed(put.task.task_id, put.digest))
                self.answers.setdefault(put.task.task_id, b"")
                if put.key:
                    self.keys[put.key] = placed[-1]
        return PutReport(placed, len(self.puts) + self.waiting, self.finished)

    async def look_up(self, task_ids):
        self._check()
        return [self.answers.get(task_id) for task_id in task_ids]

    async def cancel(self, task_id):
        self._check()
        if self.answers.get(task_id) == b"":
            self.answers[task_id] = answer(task_id, CANCELLED)
        return self.answers.get(task_id)

    async def next_answers(self):
        return [await self.news.get()]

    async def health(self):
        self._check()
        return Health(len(self.puts), self.workers, 0)

    async def close(self):
        self.is_closed = True

    def finish(self, status=DONE, **fields):
        task_id = self.puts[-1].task.task_id
        self.answers[task_id] = answer(task_id, status, **fields)
        self.news.put_nowait((task_id, self.answers[task_id]))

    def _check(self):
        if self.error:
            raise self.error
        if self.is_away:
            raise BrokerAway("no broker: refused", hint="it is tried again")


class JsonClient:
    async def json(self, *args, **options):
        status, headers, body = await self.request(*args, **options)
        return status, headers, json.loads(body)


class AsgiClient(JsonClient):
    """Calls an ASGI application as a web server would, without sockets."""

    def __init__(self, app):
        self.app = app

    async def request(self, method, target, body=b"", kind=RAW, headers=(), chunks=None):
        path, _, query = target.partition("?")
        pieces = list(chunks or [body])
        sent = [(b"content-type", kind.encode())] if kind else []
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "server": ("test", 80),
            "client": ("test", 1),
            "http_version": "1.1",
            "query_string": query.encode(),
            "headers": [*sent, *[(name.encode(), value.encode()) for name, value in headers]],
        }
        self.received = 0
        reply = {"body": b""}

        async def receive():
            self.received += 1
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message):
            for name in ("status", "headers"):
                reply[name] = message.get(name, reply.get(name))
            reply["body"] += message.get("body", b"")

        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in reply["headers"]}
        return reply["status"], headers, reply["body"]


class Connection:
    """A connection that can do what no library would: half a request, two at once, silence."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, *pieces):
        for piece in pieces:
            self.writer.write(piece)

    async def reply(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def is_closed(self):
        """Wait until the other side ends the connection; tell whether it said nothing more."""
        return await self.reader.read(1) == b""

    async def close(self):
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(port):
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield connection
    finally:
        await connection.close()


def request_bytes(method, target, body=b"", kind=RAW, headers=(), chunks=None):
    sent = [*([("Content-Type", kind)] if kind else []), *headers]
    names = {name.lower() for name, _ in sent}
    sent += [] if "host" in names else [("Host", "test")]
    if chunks is not None and "content-length" not in names:
        sent.append(("Transfer-Encoding", "chunked"))
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk) + b"0\r\n\r\n"
    elif chunks is not None:
        body = b"".join(chunks)
    elif body or method == "POST":
        sent.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


class WireClient(JsonClient):
    """Sends each request over a connection of its own."""

    def __init__(self, gateway, port, connections, state):
        self.gateway, self.port, self.connections, self.state = gateway, port, connections, state

    def connect(self):
        return connected(self.port)

    async def request(self, method, target, body=b"", kind=RAW, headers=(), chunks=None):
        async with self.connect() as connection:
            connection.send(request_bytes(method, target, body, kind, headers, chunks))
            return await connection.reply()


@asynccontextmanager
async def gateway_over(way, *, guard=None, clock=None, **settings):
    """Give a client of a started gateway, and its broker. `way`: "asgi" or "wire"."""
    broker = DictBroker()
    settings = StackSettings(model_path="", limits=BrokerLimits(max_depth=9), **settings)
    gateway = Gateway(broker, settings, name="g", guard=guard, **({"clock": clock} if clock else {}))
    app = TaskRoutes(gateway, build_face(gateway))
    await gateway.start()
    try:
        if way == "asgi":
            yield AsgiClient(app), broker
        else:
            async with _listening(gateway, app, clock) as client:
                yield client, broker
    finally:
        await gateway.stop()


@asynccontextmanager
async def _listening(gateway, app, clock):
    settings = gateway.settings
    limits = {"idle_timeout_s": settings.idle_timeout_s, "upload_timeout_s": settings.upload_timeout_s}
    connections = Connections(settings.max_connections, **limits, **({"clock": clock} if clock else {}))
    bound = Wire.bound(gateway, connections)
    config, state = configure(app, "127.0.0.1", 0, http=bound), ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: bound(config, state, {}), "127.0.0.1", 0)
    try:
        yield WireClient(gateway, server.sockets[0].getsockname()[1], connections, state)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)
