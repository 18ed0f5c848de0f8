"""A suite of tiny notebooks, really run by papermill in child processes."""

import datetime
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from scalelab.bench import load_suite, run_suite
from scalelab.bench.parameters import check_parameters
from scalelab.cli import main
from scalelab.core.errors import ConfigError, MissingDependency
from scalelab.core.locks import hold_lock
from scalelab.core.processes import is_alive
from scalelab.core.records import RecordStore

pytestmark = pytest.mark.filterwarnings("default")  # papermill and nbformat warn about their own future

PARAMETERS = 'x: int = 1  # a number\nfail: bool = False\nartifacts: str = ""\nrecord_path: str = ""'
BODY = """
from pathlib import Path
from scalelab.bench import write_record
from scalelab.core.records import metric
if fail:
    raise RuntimeError("broken on purpose\\n  hint: mend it")
if artifacts:
    (Path(artifacts) / f"made-{x}.txt").write_text(str(x))
write_record(record_path, "tiny", parameters={"x": x}, metrics=[metric("double", "1", 2 * x)])
"""
SUITE = """
name = "s"
[[point]]
name = "first"
notebook = "n.ipynb"
produces = ["made-3.txt"]
timeout_s = 60
[point.parameters]
x = 3
[[point]]
name = "broken"
notebook = "n.ipynb"
[point.parameters]
fail = true
[[point]]
name = "after-broken"
notebook = "n.ipynb"
needs = ["broken"]
[[point]]
name = "last"
notebook = "n.ipynb"
needs = ["first"]
"""


class Watcher:
    def __init__(self):
        self.ticks = 0
        self.details = {}

    def started(self, point, number, total, remaining=None):
        pass

    def tick(self):
        self.ticks += 1

    def ended(self, point, status, seconds, detail):
        self.details[point.name] = detail


def until(condition, limit_s=60.0):
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        threading.Event().wait(0.02)


@pytest.fixture
def folder(tmp_path):
    cells = [nbformat.v4.new_code_cell(PARAMETERS), nbformat.v4.new_code_cell(BODY)]
    cells[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=spec)
    nbformat.write(notebook, tmp_path / "n.ipynb")
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


@pytest.mark.slow
def test_a_broken_point_is_recorded_and_a_second_run_repeats_only_what_is_not_done(folder, monkeypatch):
    monkeypatch.setattr("scalelab.bench.runner.code_hash", lambda: "as it stands")  # edits count
    out, watcher = folder / "out", Watcher()
    first = run_suite(load_suite(folder / "suite.toml"), out, watcher=watcher)
    assert first.statuses == {"first": "done", "broken": "failed", "after-broken": "skipped", "last": "done"}
    assert not first.is_complete
    records = {record.subject: record for record in RecordStore(out / "records.jsonl").read()}
    assert records["s/first"].metric("double").values == (6.0,)
    assert records["s/first"].metric("point_memory").values[0] > 0
    error = records["s/broken"].notes["error"]
    assert error.endswith("RuntimeError: broken on purpose\n  hint: mend it"), "all lines of it"
    assert records["s/after-broken"].notes["reason"] == "needs broken, which did not succeed"
    assert (out / "notebooks" / "broken.ipynb").exists()
    assert watcher.ticks > 0

    again = run_suite(load_suite(folder / "suite.toml"), out, watcher=Watcher())
    assert again.statuses == {"first": "kept", "broken": "failed", "after-broken": "skipped", "last": "kept"}

    (out / "artifacts" / "made-3.txt").unlink()
    third = run_suite(load_suite(folder / "suite.toml"), out, watcher=Watcher())
    assert third.statuses["first"] == "done", "its file is gone"
    assert third.statuses["last"] == "kept", "what it needs left the same file as before"


@pytest.mark.slow
def test_a_point_over_its_time_is_a_failed_record(folder):
    source = json.loads((folder / "n.ipynb").read_text())
    source["cells"][1]["source"] = (
        "import pathlib, tempfile, threading\n"
        f"pathlib.Path({str(folder / 'made')!r}).write_text(tempfile.mkdtemp())\n"
        "threading.Event().wait()"
    )
    (folder / "n.ipynb").write_text(json.dumps(source))
    text = '[[point]]\nname = "endless"\nnotebook = "n.ipynb"\ntimeout_s = 30\n'
    (folder / "suite.toml").write_text(text)
    watcher = Watcher()
    result = run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=watcher)
    assert result.statuses == {"endless": "failed"}
    assert "did not finish in 30.0 s" in watcher.details["endless"]
    assert not Path((folder / "made").read_text()).exists(), "what it left in the folder for temporary files"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_is_ended_takes_its_kernel_with_it_and_leaves_the_folder_free(folder, sent, code):
    source = json.loads((folder / "n.ipynb").read_text())
    source["cells"][1]["source"] = (
        "import os, pathlib, threading\n"
        f"part = pathlib.Path({str(folder / 'part')!r})\n"
        "part.write_text(str(os.getpid()))\n"
        "part.rename(part.with_name('pid'))\n"
        "threading.Event().wait()"
    )
    (folder / "n.ipynb").write_text(json.dumps(source))
    (folder / "suite.toml").write_text('[[point]]\nname = "endless"\nnotebook = "n.ipynb"\n')
    command = [sys.executable, "-m", "scalelab", "bench", "run", "suite.toml", "--out", "out"]
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a run in the background has SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        until(lambda: (folder / "pid").exists())
        child.send_signal(sent)
        said, _ = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == code, said
    assert "Traceback" not in said
    until(lambda: not is_alive(int((folder / "pid").read_text())))
    with hold_lock(folder / "out" / ".lock", doing="the next run"):
        assert RecordStore(folder / "out" / "records.jsonl").read() == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="only on POSIX: sends SIGKILL")
def test_after_kill_9_in_the_third_of_four_points_the_same_command_runs_two(folder):
    body = f"""
import pathlib, threading
from scalelab.bench import write_record
with open({str(folder / "began")!r}, "a") as began:
    began.write(f"{{x}} ")
if x == 3 and not pathlib.Path({str(folder / "go")!r}).exists():
    threading.Event().wait()
write_record(record_path, "tiny", parameters={{"x": x}}, metrics=[])
"""
    source = json.loads((folder / "n.ipynb").read_text())
    source["cells"][1]["source"] = body
    (folder / "n.ipynb").write_text(json.dumps(source))
    (folder / "suite.toml").write_text(
        '[[point]]\nname = "p"\nnotebook = "n.ipynb"\nmatrix = { x = [1, 2, 3, 4] }\n'
    )
    command = [sys.executable, "-m", "scalelab", "bench", "run", "suite.toml", "--out", "out"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        until(lambda: (folder / "began").exists() and "3" in (folder / "began").read_text(), limit_s=240)
    finally:
        child.kill()
        child.wait()
    (folder / "go").touch()
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert said.returncode == 0, said.stderr
    assert (folder / "began").read_text().split() == ["1", "2", "3", "3", "4"]
    records = RecordStore(folder / "out" / "records.jsonl").read()
    assert [(record.parameters["x"], record.status) for record in records] == [
        (n, "done") for n in (1, 2, 3, 4)
    ]
    assert said.stdout.count("kept from an earlier run") == 2


@pytest.mark.slow
def test_a_point_over_its_memory_is_a_failed_record_that_names_the_cell_and_keeps_the_notebook(folder):
    source = json.loads((folder / "n.ipynb").read_text())
    source["cells"][1]["source"] = (
        "print('before')\nhoard = bytearray(900 * 2**20)\nimport threading; threading.Event().wait()"
    )
    (folder / "n.ipynb").write_text(json.dumps(source))
    text = '[[point]]\nname = "greedy"\nnotebook = "n.ipynb"\nmemory_mib = 700\n'
    (folder / "suite.toml").write_text(text)
    watcher = Watcher()
    result = run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=watcher)
    assert result.statuses == {"greedy": "failed"}
    assert re.match(r"n\.ipynb used \S+ MiB of memory, its limit is 700 MiB", watcher.details["greedy"])
    assert watcher.details["greedy"].endswith("cell 3 was running: print('before')"), "after the injected one"
    [record] = RecordStore(folder / "out" / "records.jsonl").read()
    assert record.run["executed"] == "notebooks/greedy.ipynb"
    assert "before" in (folder / "out" / record.run["executed"]).read_text()
    assert len(record.reference_s) == 2


@pytest.mark.slow
def test_a_point_that_does_not_leave_its_file_has_failed_and_an_old_notebook_is_not_shown_as_its_own(folder):
    (folder / "suite.toml").write_text(
        SUITE.partition('[[point]]\nname = "broken"')[0].replace("made-3", "gone")
    )
    suite, watcher = load_suite(folder / "suite.toml"), Watcher()
    assert run_suite(suite, folder / "out", watcher=watcher).statuses == {"first": "failed"}
    assert watcher.details["first"] == "n.ipynb left no gone.txt"
    slow = (folder / "suite.toml").read_text().replace("timeout_s = 60", "timeout_s = 0.05")
    (folder / "suite.toml").write_text(slow)  # ends before papermill has written anything
    (folder / "out" / "notebooks" / "first.ipynb").write_text("{}")
    run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=watcher)
    assert [record.run["executed"] for record in RecordStore(folder / "out" / "records.jsonl").read()] == [
        "notebooks/first.ipynb",
        "",
    ]


def test_an_unknown_parameter_stops_the_suite_before_the_first_point(folder):
    (folder / "suite.toml").write_text(SUITE.replace("x = 3", "xx = 3"))
    with pytest.raises(ConfigError, match="no parameter 'xx'"):
        run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=Watcher())
    assert not (folder / "out").exists()


@pytest.mark.parametrize(("value", "ok"), [(3, True), (True, False), ("3", False), (3.5, False)])
def test_a_value_must_have_the_declared_type(folder, value, ok):
    if ok:
        assert check_parameters(folder / "n.ipynb", {"x": value})["x"].help == "a number"
    else:
        with pytest.raises(ConfigError, match=r"n\.ipynb: x = .* is no int"):
            check_parameters(folder / "n.ipynb", {"x": value})


@pytest.mark.parametrize("value", [float("nan"), datetime.date(2026, 1, 1), {"a": float("inf")}], ids=str)
def test_a_value_that_a_record_cannot_hold_is_refused_before_the_run(folder, value):
    with pytest.raises(ConfigError, match=r"artifacts = .* cannot be handed on"):
        check_parameters(folder / "n.ipynb", {"artifacts": value})


def test_what_is_no_notebook_is_refused_by_its_name(folder):
    with pytest.raises(ConfigError, match=r"suite\.toml is not a notebook"):
        check_parameters(folder / "suite.toml", {})


def test_a_folder_for_results_that_is_a_file_is_refused_before_the_first_point(folder):
    (folder / "out").write_text("")
    with pytest.raises(ConfigError, match="nothing can be written"):
        run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=Watcher())


def test_a_missing_kernel_is_named_before_the_first_point(folder, monkeypatch):
    monkeypatch.setattr("scalelab.core.lazy.is_installed", lambda module: module != "ipykernel")
    with pytest.raises(MissingDependency, match="'ipykernel' is not installed"):
        run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=Watcher())


def test_a_notebook_without_parameter_cell_is_refused(folder):
    nbformat.write(nbformat.v4.new_notebook(), folder / "bare.ipynb")
    with pytest.raises(ConfigError, match="no parameter cell"):
        check_parameters(folder / "bare.ipynb", {})


def test_a_folder_in_use_is_refused_with_the_pid_of_its_user(folder):
    with (
        hold_lock(folder / "out" / ".lock", doing="suite s"),
        pytest.raises(ConfigError, match=r"suite s \(pid \d+\)"),
    ):
        run_suite(load_suite(folder / "suite.toml"), folder / "out", watcher=Watcher())


@pytest.mark.parametrize("name", ["n.ipynb", "suite.toml"])
def test_only_a_source_is_built(folder, name):
    before = (folder / name).read_bytes()
    result = CliRunner().invoke(main, ["bench", "build", str(folder / name)])
    assert (result.exit_code, "is no source" in result.output) == (2, True)
    assert (folder / name).read_bytes() == before
    assert not (folder / "suite.ipynb").exists()
