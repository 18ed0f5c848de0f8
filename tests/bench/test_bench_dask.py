"""Points on a Dask cluster: a scheduler and workers, each a process of its own; some are killed.

One test runs real notebooks through `run_suite`. In the others the workers only pretend to run a notebook
(`dask_pretend`), so that a point begins, waits and dies exactly when the test wants it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from dask_cluster import Cluster, run_cluster, wait_for

from scalelab.bench import load_suite, remote, run_suite
from scalelab.bench.executors import ATTEMPTS, open_executor
from scalelab.bench.point import PointResult, Task
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.processes import is_alive
from scalelab.core.records import RecordStore, RunRecord

pytest.importorskip("distributed")
PRETEND = Path(__file__).with_name("dask_pretend.py")
OURS, OTHER = "c" * 64, "f" * 64
slow = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    with run_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def pretending(cluster, monkeypatch) -> Cluster:
    """The cluster of workers that only pretend; they and we have the code `OURS`."""
    monkeypatch.setattr("scalelab.bench.executors.code_hash", lambda: OURS)
    monkeypatch.setenv("PRETEND_CODE", OURS)
    return cluster


def task(folder: Path, name: str = "p", **parameters) -> Task:
    """A point whose notebook is never opened."""
    (folder / "n.ipynb").write_text("{}")
    return Task(
        subject=f"s/{name}",
        title=name,
        notebook=str(folder / "n.ipynb"),
        parameters=parameters,
        timeout_s=60,
        memory_bytes=None,
        artifacts=str(folder / "artifacts"),
        folder=str(folder),
        stem=name,
        produces=[],
        run={"id": "i", "round": 0, "place": 0, "pair": "", "key": "k", "code": OURS},
    )


def record_of(result: PointResult) -> RunRecord:
    [line] = result.records
    return RunRecord.from_json(line)


def on(ended) -> str:
    """Name of the worker that ran a point."""
    return record_of(ended.result(60)).run["worker"]


# --- a real suite ---

PARAMETERS = 'name: str = ""\nmarks: str = ""\nartifacts: str = ""\nrecord_path: str = ""'
BODY = """
import os, time
from pathlib import Path
from scalelab.bench import write_record
from scalelab.core.records import metric
import beside
began_s = time.time()
(Path(marks) / f"{name}.{os.getpid()}").touch()
made = Path(artifacts) / "made.txt"
if name == "first":
    made.write_text(beside.TEXT)
while name != "first" and not (Path(marks) / "go").exists():
    time.sleep(0.05)
notes = {"found": made.read_text()}
spent = metric("from_to", "s", [began_s, time.time()])
write_record(record_path, "x", parameters={}, metrics=[spent], notes=notes)
"""
POINT = """
[[point]]
name = "{name}"
notebook = "n.ipynb"
{more}
[point.parameters]
name = "{name}"
marks = {marks}
"""
PAIR = """
[[pair]]
a = "a"
b = "b"
rounds = 2
"""


def make_suite(folder: Path, names: list[str]):
    (folder / "suite").mkdir()
    (folder / "marks").mkdir()
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(BODY)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "suite" / "n.ipynb")
    (folder / "suite" / "beside.py").write_text("TEXT = 'from beside'\n")
    lines = ['name = "s"\n']
    for name in names:
        more = 'produces = ["made.txt"]' if name == "first" else 'needs = ["first"]'
        lines.append(POINT.format(name=name, more=more, marks=json.dumps(str(folder / "marks"))))
    (folder / "suite" / "s.toml").write_text("".join(lines))
    return load_suite(folder / "suite" / "s.toml")


class Silent:
    def __getattr__(self, name):
        return lambda *_, **__: None


@slow
@pytest.mark.filterwarnings("default")  # papermill and nbformat warn about their own future
def test_each_point_of_a_suite_is_recorded_once_though_a_worker_is_killed_midway(cluster, tmp_path):
    names = ["first", "a", "b", "c"]
    suite, marks = make_suite(tmp_path, names), tmp_path / "marks"
    cluster.add_worker("left").add_worker("right").wait_for_workers(2)
    killed, orphans = [], []

    def kill_one() -> None:
        begun = wait_for(lambda: [mark for mark in marks.iterdir() if mark.stem in set(names) - {"first"}])
        pid = int(begun[0].suffix[1:])
        above = {parent.pid for parent in psutil.Process(pid).parents()}
        [name] = [name for name, worker in cluster.workers.items() if worker.pid in above]
        tree = psutil.Process(cluster.workers[name].pid).children(recursive=True)
        cluster.workers[name].send_signal(signal.SIGKILL)
        killed.append((name, begun[0].stem))
        orphans.extend(process.pid for process in tree)
        (marks / "go").touch()

    killer = threading.Thread(target=kill_one)
    killer.start()
    with open_executor(cluster.address) as executor:
        result = run_suite(suite, tmp_path / "out", watcher=Silent(), executor=executor)
    killer.join()
    [(victim, interrupted)] = killed
    assert result.is_complete
    records = RecordStore(tmp_path / "out" / "records.jsonl").read()
    assert Counter(record.subject for record in records) == {f"s/{name}": 1 for name in names}
    by_name = {record.subject[2:]: record for record in records}
    assert len(list(marks.glob(f"{interrupted}.*"))) == 2  # it began twice
    assert by_name[interrupted].run["worker"] == ({"left", "right"} - {victim}).pop()
    for record in records:
        assert record.status == "done"
        assert record.notes["found"] == "from beside"  # module and artifact travelled
        assert record.machine["cores"] > 0
        assert (tmp_path / "out" / record.run["executed"]).is_file()
    assert (tmp_path / "out" / "artifacts" / "made.txt").read_text() == "from beside"
    assert orphans
    wait_for(lambda: not any(map(is_alive, orphans)))
    kept = run_suite(suite, tmp_path / "out", watcher=Silent())  # here, from what came from there
    assert set(kept.statuses.values()) == {"kept"}


# --- where points run ---


def begun_and_ended(futures) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for ended in futures:
        record = record_of(ended.result(60))
        found.setdefault(record.run["worker"], []).append(tuple(record.metric("from_to").values))
    return {worker: sorted(times) for worker, times in found.items()}


@slow
def test_workers_run_one_point_at_a_time_and_all_of_them_at_once(pretending, tmp_path):
    pretending.add_worker("left", threads=3, preload=PRETEND).add_worker("right", threads=3, preload=PRETEND)
    pretending.wait_for_workers(2)
    go = tmp_path / "go"
    with open_executor(pretending.address) as executor, open_executor(pretending.address) as other:
        assert executor.slots == 2
        futures = [
            each.submit(task(tmp_path, f"p{n}", wait=str(go), touch=str(tmp_path / f"mark{n}")))
            for n, each in enumerate([executor, other] * 3)
        ]
        wait_for(lambda: len(list(tmp_path.glob("mark*"))) == 2)  # both at once
        go.touch()
        times = begun_and_ended(futures)
    assert set(times) == {"left", "right"}
    for spans in times.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


@slow
def test_a_group_stays_on_one_worker_in_order_and_moves_together_when_it_is_lost(pretending, tmp_path):
    for name in ("a", "b", "c"):
        pretending.add_worker(name, preload=PRETEND)
    pretending.wait_for_workers(3)
    go = tmp_path / "go"
    with open_executor(pretending.address) as executor:
        before = [executor.submit(task(tmp_path, f"x{n}"), group="pair") for n in range(4)]
        home = {on(ended) for ended in before}
        assert len(home) == 1
        after = [
            executor.submit(
                task(tmp_path, f"y{n}", wait=str(go), touch=str(tmp_path / f"y{n}")), group="pair"
            )
            for n in range(4)
        ]
        alone = [executor.submit(task(tmp_path, f"z{n}")) for n in range(4)]
        assert all(on(ended) for ended in alone)  # the others go on meanwhile
        wait_for((tmp_path / "y0").exists)
        pretending.workers[home.pop()].send_signal(signal.SIGKILL)
        go.touch()
        assert len({on(ended) for ended in after}) == 1
        spans = [record_of(ended.result()).metric("from_to").values for ended in after]
    assert spans == sorted(spans)


@slow
def test_a_pair_of_a_suite_takes_turns_on_one_worker(pretending, tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.bench.runner.code_hash", lambda: OURS)
    make_suite(tmp_path, ["first", "a", "b", "c", "d"])
    toml = tmp_path / "suite" / "s.toml"
    toml.write_text(toml.read_text().replace('produces = ["made.txt"]', "") + PAIR)
    pretending.add_worker("left", preload=PRETEND).add_worker("right", preload=PRETEND).wait_for_workers(2)
    with open_executor(pretending.address) as executor:
        assert run_suite(load_suite(toml), tmp_path / "out", watcher=Silent(), executor=executor).is_complete
    records = RecordStore(tmp_path / "out" / "records.jsonl").read()
    ran = Counter((record.subject, record.run["round"]) for record in records)
    assert ran == Counter(
        [(f"s/{n}", r) for n in "ab" for r in (0, 1)] + [(f"s/{n}", 0) for n in ("first", *"cd")]
    )
    pair = sorted(
        (record for record in records if record.run["pair"]), key=lambda r: r.metric("from_to").values
    )
    assert [record.subject for record in pair] == ["s/a", "s/b", "s/b", "s/a"]
    assert len({record.run["worker"] for record in pair}) == 1


# --- workers that are lost, or do not fit ---


@slow
def test_a_point_that_ends_every_worker_has_failed_and_the_others_go_on(pretending, tmp_path):
    pretending.add_worker("phoenix", nanny=True, preload=PRETEND).wait_for_workers(1)
    with open_executor(pretending.address) as executor:
        deadly = executor.submit(task(tmp_path, "deadly", die=True))
        harmless = executor.submit(task(tmp_path, "harmless"))
        failed = record_of(deadly.result(120))
        assert on(harmless) == "phoenix"
    assert failed.status == "failed"
    assert f"{ATTEMPTS} workers were lost" in failed.notes["error"]
    assert failed.notes["error"].count("phoenix") == ATTEMPTS
    assert failed.machine["cores"] > 0
    assert deadly.result().error == failed.notes["error"]


@slow
def test_a_worker_that_cannot_run_points_gets_no_more_of_them(pretending, tmp_path, monkeypatch):
    monkeypatch.setenv("PRETEND_FULL_DISK", "1")
    pretending.add_worker("full", preload=PRETEND).wait_for_workers(1)
    monkeypatch.delenv("PRETEND_FULL_DISK")
    with open_executor(pretending.address) as executor:
        futures = [executor.submit(task(tmp_path, f"p{n}")) for n in range(3)]
        assert "No space left" in wait_for(executor.refused)["full"]
        pretending.add_worker("fit", preload=PRETEND)
        assert {on(ended) for ended in futures} == {"fit"}


@slow
def test_a_worker_of_other_code_is_refused_with_both_hashes(pretending, tmp_path, monkeypatch):
    monkeypatch.setenv("PRETEND_CODE", OTHER)
    pretending.add_worker("old", preload=PRETEND).wait_for_workers(1)
    with pytest.raises(ConfigError) as refused, open_executor(pretending.address):
        pass
    assert "worker old" in refused.value.message
    assert f"its code is {OTHER[:12]}, the runner's {OURS[:12]}" in refused.value.message


@slow
def test_a_worker_that_comes_later_is_used_unless_its_code_differs(pretending, tmp_path, monkeypatch, caplog):
    pretending.add_worker("one", preload=PRETEND).wait_for_workers(1)
    go = tmp_path / "go"
    with open_executor(pretending.address) as executor:
        busy = executor.submit(task(tmp_path, "busy", wait=str(go)))
        monkeypatch.setenv("PRETEND_CODE", OTHER)
        pretending.add_worker("old", preload=PRETEND)
        wait_for(executor.refused)
        monkeypatch.setenv("PRETEND_CODE", OURS)
        pretending.add_worker("two", preload=PRETEND)
        assert on(executor.submit(task(tmp_path, "next"))) == "two"
        assert list(executor.refused()) == ["old"]
        assert "worker old gets no points: its code is ffff" in caplog.text
        go.touch()
        assert on(busy) == "one"


# --- the end of the run ---


@slow
def test_the_end_of_the_scheduler_ends_the_run_and_says_so(pretending, tmp_path):
    pretending.add_worker("w", preload=PRETEND).wait_for_workers(1)
    with open_executor(pretending.address) as executor:
        futures = [executor.submit(task(tmp_path, f"p{n}", wait=str(tmp_path / "never"))) for n in range(2)]
        pretending.scheduler.send_signal(signal.SIGKILL)
        for ended in futures:
            with pytest.raises(RunFailed, match=r"scheduler at .* is gone"):
                ended.result(90)
        with pytest.raises(RunFailed, match="is gone"):
            executor.submit(task(tmp_path, "late")).result(1)


@slow
def test_points_wait_for_a_worker_but_not_for_ever(pretending, tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.bench.executors._PATIENCE_S", 3.0)
    pretending.add_worker("w", preload=PRETEND).wait_for_workers(1)
    with open_executor(pretending.address) as executor:
        waiting = executor.submit(task(tmp_path, "p", wait=str(tmp_path / "never")))
        pretending.workers["w"].send_signal(signal.SIGKILL)
        with pytest.raises(RunFailed, match="no worker is left") as failure:
            waiting.result(60)
    assert "the same command goes on" in failure.value.hint


LEAVE = """
import time
from scalelab.bench import executors
from scalelab.bench.point import Task
executors.code_hash = lambda: {code!r}
with executors.open_executor({address!r}) as executor:
    executor.submit(Task(**{plain!r}))
    time.sleep(600)
"""


@slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
@pytest.mark.skipif(sys.platform == "win32", reason="only on systems with signals")
def test_a_worker_stops_a_point_when_its_runner_is_gone(pretending, tmp_path, how):
    pretending.add_worker("w", preload=PRETEND).wait_for_workers(1)
    point = task(tmp_path, "p", touch=str(tmp_path / "begun"), wait=str(tmp_path / "never"))
    script = LEAVE.format(address=pretending.address, plain=asdict(point), code=OURS)
    runner = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "begun").exists)
        runner.send_signal(getattr(signal, how))
        assert runner.wait(30) != 0
    finally:
        runner.kill()
        runner.wait()
    with open_executor(pretending.address) as executor:  # it gets the worker only when the first point let go
        assert on(executor.submit(task(tmp_path, "q"))) == "w"


# --- without a cluster ---


def test_what_the_nanny_set_for_dask_is_not_set_for_points(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")  # not the nanny's: somebody wanted it
    with remote._without_nannys_settings(SimpleNamespace(nanny="tcp://127.0.0.1:5")):
        assert "OMP_NUM_THREADS" not in os.environ
        assert os.environ["MKL_NUM_THREADS"] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "1"
    with remote._without_nannys_settings(SimpleNamespace(nanny=None)):
        assert os.environ["OMP_NUM_THREADS"] == "1"


def test_bytes_that_changed_on_their_way_are_not_taken(tmp_path):
    given = task(tmp_path)
    given.produces.append("made.txt")
    answer = {
        "result": {"records": [], "executed": "", "produced": {"made.txt": "0" * 64}, "wall_s": 1.0},
        "notebook": b"",
        "artifacts": {"made.txt": b"other"},
    }
    with pytest.raises(OSError, match=r"made\.txt"):
        remote.unpack(given, answer)
    assert not (tmp_path / "artifacts" / "made.txt").exists()
