"""The documented face is loaded when somebody looks at it, and not before."""

import asyncio
import subprocess
import sys

import pytest
from serve_gateway_fakes import AsgiClient, DictBroker

from scalelab.serve.door import Door
from scalelab.serve.gateway import Gateway
from scalelab.serve.settings import StackSettings


@pytest.fixture
def door():
    return Door(Gateway(DictBroker(), StackSettings(model_path=""), name="g"))


def test_health_needs_no_face_and_the_rest_loads_it_once(door, run, monkeypatch):
    loads = []
    load = door._load
    monkeypatch.setattr(door, "_load", lambda: loads.append(1) or load())

    async def look():
        client = AsgiClient(door)
        assert (await client.json("GET", "/healthz"))[::2] == (200, {"alive": True})
        assert loads == []
        found = await asyncio.gather(*[client.json("GET", "/v1/stats") for _ in range(3)])
        assert [status for status, _, _ in found] == [200] * 3
        assert (await client.json("GET", "/nothing"))[0] == 404

    run(look())
    assert loads == [1]


def test_the_gateway_lives_as_long_as_its_server(door, run):
    calls, said = [], []
    door._gateway.start = lambda: note("start")
    door._gateway.stop = lambda: note("stop")

    async def note(what):
        calls.append(what)

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        said.append(message["type"].removeprefix("lifespan."))

    run(door({"type": "lifespan"}, receive, send))
    assert (calls, said) == (["start", "stop"], ["startup.complete", "shutdown.complete"])


def test_a_gateway_that_cannot_start_says_so_to_its_server(door, run):
    said = []

    async def fail():
        raise OSError("port in use")

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        said.append(message)

    door._gateway.start = fail
    with pytest.raises(OSError, match="port in use"):
        run(door({"type": "lifespan"}, receive, send))
    assert said == [{"type": "lifespan.startup.failed", "message": "port in use"}]


@pytest.mark.slow
def test_a_gateway_starts_without_fastapi():
    code = "import sys, scalelab.serve.server, scalelab.serve.local.gateway_side, scalelab.serve.pins\n"
    code += "print(sorted({'fastapi', 'pydantic', 'starlette', 'redis', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
