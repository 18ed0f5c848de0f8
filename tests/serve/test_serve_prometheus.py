"""A real Prometheus scrapes a real stack, and an alert of ours fires."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import serve_fake_model
from test_serve_stack import call, image, until

from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree
from scalelab.serve import running_stack
from scalelab.serve.broker import Health
from scalelab.serve.metrics import GatewayMetrics, WorkerMetrics
from scalelab.serve.scrape import render_gateway

pytestmark = pytest.mark.slow
RULES = Path(__file__).resolve().parents[2] / "docker" / "prometheus"
CONFIG = """
global: {{scrape_interval: 300ms, scrape_timeout: 250ms, evaluation_interval: 300ms}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture
def prometheus(program, tmp_path):
    """Start a Prometheus that scrapes `target`; return a function that asks it."""
    servers = []

    def scraping(target):
        port, folder = free_port(), tmp_path / "prometheus"
        folder.mkdir()
        (folder / "prometheus.yml").write_text(CONFIG.format(rules=RULES / "rules.yml", target=target))
        address = f"127.0.0.1:{port}"
        command = [program("prometheus"), f"--config.file={folder}/prometheus.yml"]
        command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
        with (folder / "log").open("wb") as log:
            servers.append(start(command, output=log))

        def ask(path, **query):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}") as reply:
                    return json.load(reply)["data"]
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 503:  # it reads its journal
                        return {}
                    raise AssertionError(f"{query}: {error.read().decode()}") from None
            except OSError:  # not listening yet
                assert servers[0].poll() is None, (folder / "log").read_text()
                return {}

        return ask

    yield scraping
    for server in servers:
        stop_tree(server.pid)
        server.wait()


def values(ask, query):
    """Return what a query gives now: labels without the target's, and the value."""
    found = ask("query", query=query).get("result", [])
    return {
        tuple(v for k, v in sorted(row["metric"].items()) if k not in ("__name__", "instance", "job")): float(
            row["value"][1]
        )
        for row in found
    }


def test_prometheus_sees_all_tasks_of_two_workers_one_of_which_was_killed(fake_model, prometheus):
    with running_stack(**fake_model, workers=2) as stack:
        ask = prometheus(stack.url.removeprefix("http://"))
        posted = [call(f"{stack.url}/v1/pins?wait_s=20", image(1, number))[0] for number in range(20)]
        total = "sum(scalelab_tasks_finished_total)"
        until(lambda: values(ask, total) == {(): 20})
        stack.kill_worker(0)
        posted += [call(f"{stack.url}/v1/pins?wait_s=20", image(1, number))[0] for number in range(20, 30)]
        assert posted == [200] * 30
        call(f"{stack.url}/v1/pins?wait_s=20", image(serve_fake_model.POISON))

        until(lambda: values(ask, total) == {(): 31})
        until(lambda: values(ask, "scalelab_workers") == {(): 2})
        until(lambda: values(ask, "count(scalelab_model_info)") == {(): 2})
        by_status = values(ask, "sum by (status) (scalelab_tasks_finished_total) > 0")
        assert by_status == {("done",): 30, ("failed",): 1}
        assert set(values(ask, "scalelab_tasks_running")) == {("worker-1",), ("worker-2",)}
        assert values(ask, "scalelab_answer_wait_seconds_count") == {(): 31}
        stages = values(ask, "sum by (stage) (scalelab_task_duration_seconds_count)")
        assert stages[("queue",)] == stages[("total",)] == 31
        assert stages[("model",)] >= 31  # a batch with a bad input is run again in halves
        assert values(ask, "scalelab_queue_depth_tasks") == values(ask, "scalelab_tasks_in_flight") == {(): 0}
        for name in ("tasks_finished_total", "task_duration_seconds_bucket", "batch_size_tasks_sum"):
            assert values(ask, f"sum(resets(scalelab_{name}[5m]))") == {(): 0}, f"{name} went backwards"

        (alert,) = until(lambda: ask("alerts").get("alerts"))
        assert (alert["labels"]["alertname"], alert["state"]) == ("DeadLetters", "firing")


def test_promtool_finds_nothing_to_say_about_our_names(program, tmp_path):
    WorkerMetrics(tmp_path / "worker-1-1-1.cells", {"model": "m"}).ran(2, 0.1)
    text, _ = render_gateway(
        GatewayMetrics(), Health(1, 1, 0), folder=tmp_path, facts={"version": "1"}, accept=""
    )
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("check", [["check", "config"], ["check", "rules"], ["test", "rules"]], ids=" ".join)
def test_the_rules_are_valid_and_fire_when_they_should(program, check):
    file = {"check config": "prometheus.yml", "check rules": "rules.yml", "test rules": "rules_test.yml"}
    command = [program("promtool"), *check, file[" ".join(check)]]
    done = subprocess.run(command, cwd=RULES, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
