import asyncio
import json
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from serve_brokers import Queue, Rabbit, among

from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree
from scalelab.serve.embedded import prepare_embedded


@pytest.fixture(scope="session", params=["embedded", pytest.param("redis", marks=pytest.mark.redis)])
def broker_url(request, tmp_path_factory):
    """A server that is the tests' own: our embedded Valkey, and a real Redis where one is installed."""
    folder, port = tmp_path_factory.mktemp("broker"), free_port()
    embedded = prepare_embedded(folder, port)
    command = list(embedded.command)
    if request.param == "redis":
        if not shutil.which("redis-server"):
            pytest.skip("no redis-server on the path")
        command[0] = "redis-server"
    with (folder / "log").open("wb") as output:
        server = start(command, output=output)
    wait_for_broker(embedded.url)
    yield embedded.url
    stop_tree(server.pid)
    server.wait()


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """A RabbitMQ that has begun to start; its `wait` waits, or skips the test where none is installed."""
    server = Rabbit(tmp_path_factory.mktemp("rabbitmq"))
    server.begin()
    yield server
    server.stop()


def pytest_generate_tests(metafunc):
    """Run a test that asks for a `server` on the `KINDS` of its module, unless it names its own."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "server" in metafunc.fixturenames and "server" not in named:
        mark = among(metafunc.module.KINDS).mark
        metafunc.parametrize(*mark.args, **mark.kwargs)


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """A broker's server of the kind that `among` names."""
    if request.param is Rabbit:
        rabbitmq = request.getfixturevalue("rabbitmq")
        rabbitmq.wait()
        yield rabbitmq
        return
    server = request.param(tmp_path_factory.mktemp(request.param.name))
    server.start()
    server.wait()
    yield server
    server.stop()


@pytest.fixture
def queue(server):
    """A queue of its own on that server."""
    queue = Queue(server)
    yield queue
    queue.close()


def wait_for_broker(url):
    from scalelab.core.errors import ConfigError
    from scalelab.serve.redis_broker import connect

    limit = time.monotonic() + 20
    while True:
        try:
            with closing(connect(url)):
                return
        except ConfigError:
            assert time.monotonic() < limit, f"no broker at {url}"
            threading.Event().wait(0.02)


@pytest.fixture
def fake_model(tmp_path, monkeypatch):
    """Settings of a stack with the model of serve_fake_model.py, which child processes can import too."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path / "runs"))
    path = tmp_path / "fake.model"
    path.write_text("good")
    return {"model_path": str(path), "model": "serve_fake_model:make"}


class Client:
    """Calls an ASGI application as a web server would, without sockets."""

    def __init__(self, app):
        self.app = app

    async def request(
        self, method, target, body=b"", kind="application/octet-stream", headers=(), chunks=None
    ):
        path, _, query = target.partition("?")
        pieces = list(chunks or [body])
        sent = [(b"content-type", kind.encode())] if kind else []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
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

    async def json(self, *args, **options):
        status, headers, body = await self.request(*args, **options)
        return status, headers, json.loads(body)


@pytest.fixture
def client():
    return Client


@pytest.fixture
def run():
    """Run a coroutine to its end, with a limit."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 20))
