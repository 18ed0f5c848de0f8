"""`scalelab load` as a user and a script see it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree


@pytest.fixture
def run(tmp_path):
    env = {"COLUMNS": "120", "SCALELAB_RUNS": str(tmp_path)}
    return lambda *words: CliRunner().invoke(main, ["load", *words], env=env)


@pytest.fixture(scope="module")
def url():
    script = Path(__file__).with_name("loadtest_server.py")
    child = start([sys.executable, "-u", str(script), "--service-ms", "5"], output=subprocess.PIPE)
    yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    stop_tree(child.pid, grace_s=0)
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--url", "http://127.0.0.1:1", "--method", "GET", "--rate", "0"), 2, "a rate of 0.0"),
        (("run", "--url", "http://127.0.0.1:1", "--method", "GET", "--users", "0"), 2, "0 users"),
        (("run", "--url", "http://127.0.0.1:1", "--rate", "5", "--users", "5"), 2, "give one of them"),
        (("run", "--url", "127.0.0.1:80", "--method", "GET"), 2, "no address of a service"),
        (("run", "--url", "http://h", "--header", "X"), 2, "'X' is no header"),
        (("knee", "--url", "http://h", "--method", "GET", "--budget", "1"), 2, "budget of 1.0"),
        (("burst", "--url", "http://h", "--method", "GET", "--rate", "-1"), 2, "a rate of -1.0"),
        (("run",), 4, "scalelab serve up --detach; or name another: --url http://"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_call_ends_with_its_code_and_the_value(run, words, code, said):
    shown = run(*words)
    assert (shown.exit_code, said in shown.stderr) == (code, True), shown.output


def test_a_service_that_is_not_there_ends_with_4(run):
    shown = run("run", "--url", f"http://127.0.0.1:{free_port()}", "--method", "GET")
    assert shown.exit_code == 4
    assert "nothing answers at" in shown.stderr


@pytest.mark.slow
def test_a_missed_objective_ends_with_5(run, url):
    words = ("run", "--url", url, "--path", "/ok", "--method", "GET", "--rate", "60", "--duration", "1",
             "--warmup", "0.2", "--json")  # fmt: skip
    kept, missed = run(*words, "--slo-p95-ms", "5000"), run(*words, "--slo-p95-ms", "1")
    assert (kept.exit_code, missed.exit_code) == (0, 5)
    assert json.loads(kept.stdout)["latency"]["n"] == json.loads(kept.stdout)["ok"] > 20


@pytest.mark.slow
def test_the_table_shows_unit_and_n(run, url):
    shown = run("burst", "--url", url, "--path", "/tasks", "--rate", "50", "--duration", "1")
    assert shown.exit_code == 0
    assert "time to answer p50, ms (n = " in shown.stdout


@pytest.mark.slow
def test_a_lost_answer_ends_with_5(run, url):
    shown = run("burst", "--url", url, "--path", "/tasks/lost", "--rate", "20", "--duration", "1",
                "--collect-timeout", "0.3", "--json")  # fmt: skip
    assert shown.exit_code == 5
    assert json.loads(shown.stdout)["lost"] > 0


@pytest.mark.slow
def test_the_knee_of_a_five_millisecond_server_lies_below_its_capacity(run, url):
    shown = run(
        "knee", "--url", url, "--path", "/ok", "--method", "GET", "--budget", "13", "--window", "1", "--json"
    )
    found = json.loads(shown.stdout)
    assert shown.exit_code in (0, 5)
    assert 0 < found["rate_per_s"] < 200  # one request at a time, 5 ms each
    assert len(found["points"]) >= 2


@pytest.mark.slow
def test_the_wrong_path_is_said_before_a_search(run, url):
    shown = run("knee", "--url", url, "--path", "/status/404", "--method", "GET")
    assert shown.exit_code == 4
    assert "answers 404 to a single request" in shown.stderr
