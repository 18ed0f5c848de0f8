import asyncio
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from serve_brokers import Queue, Rabbit, among
from serve_local_broker import LocalBroker

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


@pytest.fixture
def client():
    from serve_gateway_fakes import AsgiClient

    return AsgiClient


@pytest.fixture
def run():
    """Run a coroutine to its end, with a limit."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 20))


@pytest.fixture(params=["asgi", "wire"])
def serve_both_ways(request, run):
    """Run a test's coroutine with a client and a broker around a started gateway."""
    from serve_gateway_fakes import gateway_over

    def go(work, **settings):
        async def main():
            async with gateway_over(request.param, **settings) as (client, broker):
                return await work(client, broker)

        return run(main())

    return go


@pytest.fixture
def broker(tmp_path):
    """A local broker, with both of its sides in this process."""
    broker = LocalBroker(tmp_path / "queue")
    yield broker
    broker.end()
