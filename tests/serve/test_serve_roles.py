"""One process by itself, as it runs in a container: signals, exit codes, what it says of its end."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner
from test_serve_stack import call, image, until

from scalelab.cli import main
from scalelab.core.machine import free_port
from scalelab.serve import roles
from scalelab.serve.metrics import WorkerMetrics
from scalelab.serve.scrape import serve_worker_metrics


@pytest.fixture
def role(fake_model):
    """Start ``scalelab serve ROLE``; return the process."""
    started = []

    def start(name, *options):
        command = [sys.executable, "-m", "scalelab", "serve", name, *map(str, options)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def child_of(process):
    return until(lambda: psutil.Process(process.pid).children())[0]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="only on systems with signals")
@pytest.mark.parametrize("broker_url", ["embedded"], indirect=True)
def test_gateway_and_worker_by_themselves_serve_and_end_in_order(role, fake_model, broker_url):
    port, metrics_port, queue = free_port(), free_port(), os.urandom(4).hex()
    shared = ("--broker", broker_url, "--queue", queue)
    gateway = role("gateway", *shared, "--port", port)
    worker = role("worker", *shared, "--metrics-port", metrics_port, "--model", fake_model["model"],
                  "--model-path", fake_model["model_path"])  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    until(lambda: roles.check_alive("gateway", port) == "")
    until(lambda: call(url + "/v1/stats")[1]["workers"] == 1)
    assert call(url + "/v1/pins?wait_s=20", image(1))[0] == 200
    assert roles.check_alive("worker", metrics_port) == ""
    for process in (worker, gateway):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "does not answer" in roles.check_alive("worker", metrics_port)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="only on systems with signals")
def test_a_worker_that_is_killed_is_said_to_be(role, fake_model):
    worker = role("worker", "--broker", "redis://127.0.0.1:1/0", "--model", fake_model["model"],
                  "--model-path", fake_model["model_path"])  # fmt: skip
    child_of(worker).kill()
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == roles.KILLED
    assert "the worker was ended by SIGKILL" in said


def test_a_worker_that_has_not_looked_for_tasks_for_long_is_not_alive():
    metrics = WorkerMetrics()
    server = serve_worker_metrics(metrics, name="w", host="127.0.0.1", port=0)
    try:
        metrics.looked()
        fresh = roles.check_alive("worker", server.server_port)
        metrics.tally.gauge("last_step_timestamp_seconds")(time.time() - 100)
        stale = roles.check_alive("worker", server.server_port)
    finally:
        server.shutdown()
        server.server_close()
    assert fresh == ""
    assert re.fullmatch(r"the worker has not looked for tasks for 10\d s", stale)


def test_a_role_without_a_broker_says_what_to_set():
    result = CliRunner().invoke(main, ["serve", "gateway"], env={"SCALELAB_BROKER": ""})
    assert result.exit_code == 2
    assert "set SCALELAB_BROKER" in result.output


def test_a_worker_without_its_model_says_so_before_anything_is_started(tmp_path):
    options = ["--broker", "redis://127.0.0.1:1/0", "--model-path", str(tmp_path / "none.onnx")]
    result = CliRunner().invoke(main, ["serve", "worker", *options])
    assert result.exit_code == 2
    assert "there is no model file" in result.output


@pytest.mark.parametrize(
    ("files", "limit_bytes", "kills"),
    [
        (
            {"memory.max": "67108864\n", "memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n"},
            1 << 26,
            1,
        ),
        ({"memory.max": "max\n", "memory.events": "oom 0\noom_kill 0\noom_group_kill 0\n"}, 0, 0),
        (
            {
                "memory/memory.limit_in_bytes": "67108864\n",
                "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            },
            1 << 26,
            2,
        ),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0, 0),
        ({}, 0, 0),
    ],
    ids=["v2", "v2 without limit", "v1", "v1 without limit", "none"],
)
def test_limit_and_kills_are_read_from_both_versions_of_control_groups(
    tmp_path, monkeypatch, files, limit_bytes, kills
):
    monkeypatch.setattr(roles, "_CGROUP", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert (roles.memory_limit_bytes(), roles.oom_kills()) == (limit_bytes, kills)
