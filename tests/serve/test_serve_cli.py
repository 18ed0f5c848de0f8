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
from scalelab.serve.settings import StackSettings
from scalelab.serve.state import READY, Child, StackState, take_lock

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


def test_swap_without_a_stack_and_of_the_naive_app_is_an_error(fake_model, tmp_path):
    result = invoke("swap", fake_model["model_path"])
    assert (result.exit_code, "no stack runs" in result.output) == (4, True)
    folder = tmp_path / "runs" / "serve"
    with take_lock(folder):
        StackSettings(**fake_model, naive=True).write(folder / "settings.json")
        StackState(READY, Child.of(os.getpid()), "http://127.0.0.1:1").write(folder)
        result = invoke("swap", fake_model["model_path"])
    assert (result.exit_code, "no workers to swap" in result.output) == (2, True)


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
    result = invoke(*up, "--broker", "embedded:")
    assert result.exit_code == 2
    assert f"'{package}' is not installed" in result.output
    assert "serve" in result.output.partition("hint: ")[2]


@pytest.fixture
def running_stack(fake_model, tmp_path):
    """A stack as its files tell of it: two workers at port 4711, on a broker of ours."""
    folder = tmp_path / "runs" / "serve"
    with take_lock(folder):
        StackSettings(**fake_model, workers=2).write(folder / "settings.json")
        me = Child.of(os.getpid())
        broker = "local://:***@127.0.0.1:1/queue"
        state = StackState(READY, me, "http://127.0.0.1:4711", broker, {"gateway": me})
        state.write(folder)
        yield folder


@pytest.mark.parametrize("words", [[], ["--port", "4711"], ["--max-batch", "16"]])
def test_the_same_settings_again_are_no_error(up, running_stack, words):
    result = invoke(*up, "--workers", "2", *words)
    assert result.exit_code == 0, result.output
    assert "it runs already" in result.output


def test_without_a_model_path_the_running_one_is_meant(fake_model, running_stack):
    result = invoke("up", "--model", fake_model["model"], "--workers", "2")
    assert (result.exit_code, "it runs already" in result.output) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "3"], "--workers 2 (asked: 3)"),
        (["--port", "4712"], "--port 4711 (asked: 4712)"),
        (["--max-batch", "4"], "--max-batch 16 (asked: 4)"),
        (["--max-depth", "9"], "--max-depth 20000 (asked: 9)"),
        (["--naive"], "--naive False (asked: True)"),
        (["--broker", "redis://me:secret@far/0"], "--broker local://:***@127.0.0.1:1/queue (asked: redis://me:***@far/0)"),
        (["--model", "other:make"], "--model serve_fake_model:make (asked: other:make)"),
    ],
)  # fmt: skip
def test_other_settings_than_the_running_ones_are_an_error_that_names_both(up, running_stack, words, said):
    result = invoke(*up, "--workers", "2", *words)
    assert result.exit_code == 2
    assert f"http://127.0.0.1:4711 and serves fake.model, with other settings: {said}\n" in result.output
    assert "scalelab serve down" in result.output
    assert "secret" not in result.output


def test_a_stack_whose_settings_are_lost_is_not_taken_for_the_same(up, running_stack):
    (running_stack / "settings.json").unlink()
    result = invoke(*up)
    assert (result.exit_code, "settings.json is lost" in result.output) == (2, True)


@pytest.fixture
def started(fake_model, monkeypatch):
    """Start nothing, and keep what would have been started."""
    kept = []
    monkeypatch.setattr("scalelab.cli.serve._run_here", lambda settings, *_: kept.append(settings))
    return kept


@pytest.mark.parametrize("made", [["reader.onnx"], ["reader.onnx", "reader-int8.onnx"]])
def test_without_a_model_path_the_demos_is_served_and_named(started, tmp_path, made):
    folder = tmp_path / "runs" / "demo" / "artifacts"
    folder.mkdir(parents=True)
    for name in made:
        (folder / name).write_text("")
    result = invoke("up")
    assert result.exit_code == 0, result.output
    assert started[0].model_path == str(folder / made[-1])
    assert str(folder / made[-1]) in result.output


def test_without_any_model_the_ways_to_one_are_named(started):
    result = invoke("up")
    assert result.exit_code == 2
    assert "there is no model to serve" in result.output
    assert "scalelab demo" in result.output
    assert "scalelab train" in result.output
    assert started == []


def test_a_factory_without_a_file_is_refused(started):
    result = invoke("up", "--model", "mine:make")
    assert (result.exit_code, "add --model-path FILE" in result.output) == (2, True)


@pytest.mark.slow
def test_a_port_in_use_is_an_error_with_its_number(up):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*SERVE, *up, "--port", port], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_up_status_swap_and_down(up, serve, tmp_path):
    first = serve(*up, "--detach", "--workers", "2")
    assert first.returncode == 0, first.stderr
    assert len(pids(first.stdout)) == 4
    url = re.search(r"http://[\d.:]+", first.stdout)[0]
    assert 'try it: scalelab data image --out image.png && curl --data-binary "@image.png"' in first.stdout
    assert f'"{url}/v1/pins?wait_s=5"' in first.stdout
    again = serve(*up, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert "runs already" in again.stdout
    assert pids(again.stdout) == pids(first.stdout)
    status = serve("status")
    assert status.returncode == 0
    assert "MiB" in status.stdout
    assert "accepted 0" in status.stdout
    starts = r"ready     after [\d.]+ s: [\d.]+ s gateway, [\d.]+ s worker-1, [\d.]+ s worker-2"
    assert re.search(starts, status.stdout)
    other = tmp_path / "other.model"
    other.write_text("better")
    swapped = serve("swap", str(other))
    assert swapped.returncode == 0, swapped.stderr
    version = re.search(r"is served: worker-1 (\w{12}), worker-2 \1$", swapped.stdout)[1]
    status = serve("status")
    assert f"other.model  (version {version})" in status.stdout
    other.write_text("broken")
    refused = serve("swap", str(other))
    assert (refused.returncode, "the model file is torn" in refused.stderr) == (4, True)
    assert "the old model goes on" in refused.stderr
    down = serve("down")
    assert "ended the stack" in down.stdout
    assert not any(is_alive(pid) for pid in pids(first.stdout + status.stdout))
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
