"""``scalelab serve`` as its user meets it."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.processes import is_alive
from scalelab.serve.state import StackState, take_lock

SERVE = [sys.executable, "-m", "scalelab", "serve"]


@pytest.fixture
def up(fake_model):
    return ["up", "--model-path", fake_model["model_path"], "--model", fake_model["model"]]


@pytest.fixture
def serve(fake_model):
    """Run `scalelab serve ...` to its end; whatever still runs after the test is ended."""

    def run(*words):
        return subprocess.run([*SERVE, *words], capture_output=True, text=True, timeout=60)

    yield run
    run("down")


def invoke(*words):
    return CliRunner().invoke(main, ["serve", *words])


def pids(text):
    return [int(pid) for pid in re.findall(r"(?:supervisor|broker|gateway|worker-\d) (\d+)", text)]


def test_help_fits_on_a_screen():
    for words in ([], ["up"], ["status"], ["down"]):
        result = invoke(*words, "--help")
        assert result.exit_code == 0
        assert result.output.count("\n") <= 30


def test_status_without_a_stack_says_so_and_is_1(fake_model):
    result = invoke("status")
    assert (result.exit_code, "nothing runs" in result.output) == (1, True)


def test_down_without_a_stack_is_no_error(fake_model):
    result = invoke("down")
    assert (result.exit_code, "nothing runs" in result.output) == (0, True)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model-path", "nix.onnx"], "nix.onnx"),
        (["--broker", "http://x"], "no broker URL"),
        (["--workers", "0"], "0 workers"),
        (["--port", "99999"], "99999"),
        (["--max-batch", "0"], "batch of 0"),
        (["--threads", "0"], "0 threads"),
        (["--max-depth", "0"], "queue of 0"),
        (["--broker", "redis://[::1/0"], "no broker URL"),
    ],
)
def test_what_cannot_work_is_refused_with_its_value_and_a_hint(up, words, named):
    result = invoke(*up, *words)
    assert result.exit_code == 2
    assert named in result.output
    assert "hint: " in result.output


def test_a_runs_folder_that_is_under_a_file_is_named(up, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path / "file" / "runs"))
    result = invoke(*up)
    assert result.exit_code == 2
    assert "nothing can be written to the folder" in result.output


def test_a_folder_that_another_process_holds_without_a_word_is_said(up, tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path))
    with take_lock(tmp_path / "serve"):
        result = invoke(*up)
    assert (result.exit_code, "another process uses" in result.output) == (4, True)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "httptools", "PIL", "redis"])
def test_a_missing_package_is_named_before_a_process_is_started(up, package, monkeypatch):
    monkeypatch.setattr("scalelab.core.lazy.is_installed", lambda module: module != package)
    result = invoke(*up)
    assert result.exit_code == 2
    assert f"'{package}' is not installed" in result.output
    assert "serve" in result.output.partition("hint: ")[2]


@pytest.mark.slow
def test_a_port_in_use_is_an_error_with_its_number(up):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*SERVE, *up, "--port", port], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_up_status_and_down(up, serve):
    first = serve(*up, "--detach", "--workers", "2")
    assert first.returncode == 0, first.stderr
    assert len(pids(first.stdout)) == 5
    again = serve(*up)
    assert again.returncode == 0
    assert "runs already" in again.stdout
    assert pids(again.stdout) == pids(first.stdout)
    status = serve("status")
    assert status.returncode == 0
    assert "MiB" in status.stdout
    assert "accepted 0" in status.stdout
    down = serve("down")
    assert "ended the stack" in down.stdout
    assert not any(is_alive(pid) for pid in pids(first.stdout))
    assert serve("status").returncode == 1


@pytest.mark.slow
def test_up_after_a_killed_run_says_what_it_cleaned(up, serve):
    first = serve(*up, "--detach")
    os.kill(pids(first.stdout)[0], signal.SIGKILL)
    again = serve(*up, "--detach")
    assert again.returncode == 0, again.stderr
    assert "a run was killed here" in again.stderr
    assert not any(is_alive(pid) for pid in pids(first.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_stack_in_the_foreground(up, number, tmp_path):
    child = subprocess.Popen([*SERVE, *up], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        url = re.search(r"http://\S+", child.stdout.readline())[0]
        assert urllib.request.urlopen(url + "/healthz", timeout=30).status == 200
        state = StackState.read(tmp_path / "runs" / "serve")
        child.send_signal(number)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "nothing is left running" in said
    assert not any(one.is_alive() for one in state.children.values())
