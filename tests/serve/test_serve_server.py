"""A gateway as a process: what its document promises, how it ends, how many it bears."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from serve_gateway_fakes import IMAGE, connected, request_bytes
from serve_gateway_process import HELD_DEADLINE_S

from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree
from scalelab.serve.fetch import fetch_json

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
KEY = "a-key-for-schemathesis"


@contextmanager
def gateway_process(folder, **settings):
    port = free_port()
    command = [sys.executable, str(HERE / "serve_gateway_process.py"), str(port), json.dumps(settings)]
    with (folder / "log").open("wb") as output:
        process = start(command, output=output)
    try:
        limit_s = time.monotonic() + 60
        while True:
            try:
                fetch_json(f"http://127.0.0.1:{port}/healthz")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < limit_s, "no gateway"
                time.sleep(0.05)
        yield process, port
    finally:
        stop_tree(process.pid)
        process.wait()


@pytest.mark.parametrize(
    ("contract", "arguments"),
    [
        # every check; except that a task that was cancelled is still there, and says so
        ("tokens", ["--exclude-checks", "use_after_free"]),
        # no schema says what a PNG is: a body may fit the schema and be refused
        (
            "pins",
            ["--exclude-checks", "use_after_free,positive_data_acceptance", "--phases", "examples,coverage"],
        ),
    ],
)
def test_schemathesis_finds_nothing(tmp_path, contract, arguments):
    (tmp_path / "keys").write_text(KEY)
    config = tmp_path / "schemathesis.toml"
    config.write_text("[generation]\nallow-extra-parameters = false\n")  # an unknown header must be let pass
    settings = {"contract": f"scalelab.serve.{contract}:CONTRACT", "api_key_file": str(tmp_path / "keys")}
    with gateway_process(tmp_path, **settings) as (_, port):
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
        command += [f"http://127.0.0.1:{port}/openapi.json", "-H", f"Authorization: Bearer {KEY}"]
        command += [
            "--checks",
            "all",
            "--generation-deterministic",
            "--max-examples",
            "5",
            "--warnings",
            "off",
            "--no-color",
        ]
        env = {**os.environ, "PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=200
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout
    assert KEY not in (tmp_path / "log").read_text()


def test_who_waits_is_answered_when_the_process_is_asked_to_end(tmp_path, run):
    held = f"/v1/pins?deadline_s={HELD_DEADLINE_S}"

    async def work(process, connect):
        async with connect() as waiting, connect() as listening, connect() as idle, connect() as slow:
            idle.send(request_bytes("POST", held, IMAGE))
            location = (await idle.reply())[1]["location"]
            listening.send(request_bytes("GET", location + "/events", kind=""))
            await listening.reader.readuntil(b"event: queued")
            waiting.send(request_bytes("POST", held + "&wait_s=30", IMAGE))
            idle.send(request_bytes("GET", "/v1/stats", kind=""))
            while json.loads((await idle.reply())[2])["waiting"] < 2:
                idle.send(request_bytes("GET", "/v1/stats", kind=""))
            slow.send(request_bytes("POST", held, IMAGE)[:-1])
            process.send_signal(signal.SIGTERM)
            assert await idle.is_closed()
            status, headers, _ = await waiting.reply()
            assert (status, headers["connection"]) == (200, "close")
            assert (await slow.reply())[0] == 408
            assert (await listening.reader.read()).endswith(b"0\r\n\r\n")

    with gateway_process(tmp_path, upload_timeout_s=1.0) as (process, port):
        run(work(process, lambda: connected(port)))
        process.wait(timeout=30)
        assert (tmp_path / "log").read_text() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="its loop bears no 10,000 sockets in one process")
def test_ten_thousand_idle_connections_do_not_stop_the_service(tmp_path, run):
    import resource

    count = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)

    async def work(port):
        async with connected(port) as busy:
            busy.send(request_bytes("POST", "/v1/pins?wait_s=20", IMAGE))
            assert (await busy.reply())[0] == 200

    with gateway_process(tmp_path, max_connections=count // 2) as (_, port), ExitStack() as idle:
        for _ in range(count):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        for _ in range(3):
            run(work(port))
