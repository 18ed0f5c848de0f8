"""What a second run repeats, and in which order points run: with an executor that only pretends."""

import errno
import hashlib
import json
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import nbformat
import pytest

from scalelab.bench import load_suite, run_suite
from scalelab.bench.point import PointResult, run_block
from scalelab.core.errors import ResourceError, RunFailed
from scalelab.core.records import RecordStore, RunRecord

pytestmark = pytest.mark.filterwarnings("default")  # papermill and nbformat warn about their own future

SUITE = """
name = "s"
[[point]]
name = "train"
notebook = "n.ipynb"
produces = ["model"]
[[point]]
name = "use"
notebook = "n.ipynb"
needs = ["train"]
[[point]]
name = "x"
notebook = "n.ipynb"
[[point]]
name = "y"
notebook = "n.ipynb"
[[pair]]
a = "x"
b = "y"
rounds = 2
"""
ALL = ["train", "use", "x", "y", "y.r1", "x.r1"]


class Killed(BaseException):
    """As if the process ended here."""


class Pretend:
    """Writes what points produce, and so many records; `hold` keeps futures open for a test."""

    def __init__(self, slots=1, content="1", fails=(), dies_at="", writes=1, hold=False):
        self.slots, self.content, self.fails, self.dies_at = slots, content, fails, dies_at
        self.writes, self.hold = writes, hold
        self.ran, self.tasks, self.groups, self.open = [], [], {}, []

    def submit(self, task, *, group=""):
        self.ran.append(task.stem)
        self.tasks.append(task)
        self.groups[task.stem] = group
        future = Future()
        if task.stem == self.dies_at:
            for name in task.produces:
                (Path(task.artifacts) / name).write_text("to")  # it was writing
            raise Killed
        if self.hold:
            self.open.append((future, task))
        else:
            future.set_result(self.result(task))
        return future

    def result(self, task):
        name = task.subject.partition("/")[2]
        produced = {}
        for file in task.produces:
            (Path(task.artifacts) / file).write_text(self.content)
            produced[file] = hashlib.sha256(self.content.encode()).hexdigest()
        status = "failed" if name in self.fails else "done"
        block = run_block(task.run, artifacts=produced, records=self.writes)
        record = RunRecord(
            task.subject, task.parameters, (), {}, status=status, machine={}, git="", run=block
        )
        error = "broken" if status == "failed" else ""
        return PointResult([record.to_json()] * self.writes, "", produced, 1.0, error)


class Watcher:
    def __init__(self, on_tick=lambda: None):
        self.seen, self.left, self.tick = [], [], on_tick

    def started(self, point, number, total, remaining=None):
        self.left.append(remaining)

    def ended(self, point, status, seconds, detail):
        self.seen.append((point.name, status))


@pytest.fixture
def again(tmp_path, monkeypatch):
    """Run the suite with an executor; return how each point ended."""
    monkeypatch.setattr("scalelab.bench.runner.code_hash", lambda: "as it stands")  # edits meanwhile count
    cell = nbformat.v4.new_code_cell('x: int = 1\nartifacts: str = ""')
    cell.metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=spec), tmp_path / "n.ipynb")
    (tmp_path / "s.toml").write_text(SUITE)

    def again(executor, *, fresh=False, watcher=None):
        suite = load_suite(tmp_path / "s.toml")
        result = run_suite(
            suite, tmp_path / "out", watcher=watcher or Watcher(), fresh=fresh, executor=executor
        )
        return dict(result.statuses)

    return again


def records(tmp_path):
    return RecordStore(tmp_path / "out" / "records.jsonl").read()


def test_points_run_in_the_order_of_the_schedule_and_a_second_run_has_nothing_to_do(again, tmp_path):
    first, second = Pretend(), Pretend()
    assert set(again(first).values()) == {"done"}
    assert first.ran == ALL
    assert set(again(second).values()) == {"kept"}
    assert second.ran == []
    assert [record.run["place"] for record in records(tmp_path)] == list(range(len(ALL)))
    assert {record.subject: record.run["pair"] for record in records(tmp_path)} == {
        "s/train": "", "s/use": "", "s/x": "y", "s/y": "x",
    }  # fmt: skip


@pytest.mark.parametrize("dies_at", ALL)
def test_after_a_kill_only_what_did_not_finish_runs_again(again, dies_at):
    first, second = Pretend(dies_at=dies_at), Pretend()
    with pytest.raises(Killed):
        again(first)
    again(second)
    assert first.ran[:-1] + second.ran == ALL
    assert second.ran[0] == dies_at


def test_a_file_that_a_kill_left_torn_is_made_again(again):
    again(Pretend())
    with pytest.raises(Killed):
        again(Pretend(dies_at="train"), fresh=True)
    second = Pretend()
    assert again(second)["use"] == "kept", "it gets the very file that it had"
    assert second.ran == ["train"]


def test_what_needs_a_point_runs_again_only_if_the_point_left_another_file(again, tmp_path):
    again(Pretend(content="1"))
    (tmp_path / "out" / "artifacts" / "model").unlink()
    second = Pretend(content="2")
    again(second)
    assert second.ran == ["train", "use"]


def test_an_edited_notebook_or_module_beside_it_runs_again_what_has_it(again, tmp_path):
    (tmp_path / "mine.py").write_text("a = 1")
    again(Pretend())
    (tmp_path / "mine.py").write_text("a = 2")
    unused = Pretend()
    again(unused)
    assert unused.ran == [], "the notebook does not name it"
    text = (tmp_path / "n.ipynb").read_text()
    (tmp_path / "n.ipynb").write_text(text.replace("x: int = 1", "x: int = 1  # mine"))
    again(Pretend())
    (tmp_path / "mine.py").write_text("a = 3")
    used = Pretend()
    again(used)
    assert used.ran == ALL


def test_a_point_of_which_not_all_records_were_written_runs_again(again, tmp_path):
    again(Pretend(writes=2))
    store = tmp_path / "out" / "records.jsonl"
    *lines, _ = store.read_text().splitlines(keepends=True)
    store.write_text("".join(lines))
    second = Pretend(writes=2)
    again(second)
    assert second.ran == [ALL[-1]]


def test_a_damaged_line_is_told_kept_and_only_its_point_runs_again(again, tmp_path):
    again(Pretend())
    store = tmp_path / "out" / "records.jsonl"
    lines = store.read_text().splitlines(keepends=True)
    lines[1] = lines[1][:40] + "\n"
    store.write_text("".join(lines))
    second = Pretend()
    found = run_suite(load_suite(tmp_path / "s.toml"), tmp_path / "out", watcher=Watcher(), executor=second)
    assert [damage.line for damage in found.damaged] == [2]
    assert second.ran == ["use"]
    assert store.read_text().splitlines(keepends=True)[: len(lines)] == lines


def test_more_rounds_add_only_what_is_new(again, tmp_path):
    again(Pretend())
    (tmp_path / "s.toml").write_text(SUITE.replace("rounds = 2", "rounds = 4"))
    second = Pretend()
    again(second)
    assert second.ran == ["x.r2", "y.r2", "y.r3", "x.r3"]


def test_a_failed_need_skips_what_needs_it_and_nothing_else(again, tmp_path):
    assert again(Pretend(fails=["train"])) == {"train": "failed", "use": "skipped", "x": "done", "y": "done"}
    assert Counter(record.status for record in records(tmp_path)) == {"failed": 1, "skipped": 1, "done": 4}


def test_with_many_slots_needs_and_turns_are_waited_for(again):
    executor = Pretend(slots=9, hold=True)
    batches = []

    def on_tick():
        batches.append(sorted(task.stem for _, task in executor.open))
        for future, task in executor.open:
            future.set_result(executor.result(task))
        executor.open.clear()

    assert set(again(executor, watcher=Watcher(on_tick)).values()) == {"done"}
    assert [batch for batch in batches if batch] == [["train", "x"], ["use", "y"], ["y.r1"], ["x.r1"]]
    assert executor.groups == {name: "x | y" if name[0] in "xy" else "" for name in ALL}


@pytest.mark.parametrize("lost", [0, 1])
def test_what_was_done_as_the_executor_failed_is_recorded(again, tmp_path, lost):
    executor = Pretend(slots=9, hold=True)

    def on_tick():
        for number, (future, task) in enumerate(executor.open):
            if number == lost:
                future.set_exception(RunFailed("the scheduler is gone", hint="start it again"))
            else:
                future.set_result(executor.result(task))
        executor.open.clear()

    with pytest.raises(RunFailed):
        again(executor, watcher=Watcher(on_tick))
    assert len(records(tmp_path)) == 1


def test_a_point_gets_the_files_of_all_that_goes_before(again):
    executor = Pretend()
    again(executor)
    assert {task.stem: task.inputs for task in executor.tasks}["use"] == ["model"]
    assert {task.stem: task.inputs for task in executor.tasks}["x"] == []


def test_the_remaining_time_counts_what_will_run_and_no_more(again, tmp_path):
    first = Watcher()
    again(Pretend(), watcher=first)
    assert [remaining.unknown for remaining in first.left] == [6, 5, 4, 2, 0, 0], "second rounds are timed"
    kept = Watcher()
    again(Pretend(), watcher=kept)
    assert {remaining.high_s for remaining in kept.left} == {0.0}


def test_the_suite_is_kept_as_it_was_run(again, tmp_path):
    again(Pretend())
    assert (tmp_path / "out" / "suite.toml").read_text() == SUITE
    assert {record.run["suite"] for record in records(tmp_path)} == {
        hashlib.sha256(SUITE.encode()).hexdigest()
    }


def test_a_full_disk_ends_the_run_with_a_sentence_and_loses_nothing(again, tmp_path, monkeypatch):
    class Full(Pretend):
        def result(self, task):
            if task.stem == "x":
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().result(task)

    with pytest.raises(ResourceError, match=r"disk of .* is full") as error:
        again(Full())
    assert "the same command goes on from there" in str(error.value)
    assert [record.subject for record in records(tmp_path)] == ["s/train", "s/use"]
    second = Pretend()
    again(second)
    assert second.ran == ALL[2:]


def test_no_point_begins_on_a_disk_that_is_nearly_full(again, monkeypatch):
    monkeypatch.setattr("scalelab.bench.runner._ROOM_BYTES", 2**60)
    executor = Pretend()
    with pytest.raises(ResourceError, match="free, this needs"):
        again(executor)
    assert executor.ran == []


def test_a_record_has_every_key_of_its_run_block(again, tmp_path):
    again(Pretend(fails=["train"]))
    given = {"id", "round", "place", "pair", "key", "code", "tier", "suite"}
    found = {"worker", "artifacts", "reference", "executed", "records"}
    assert {frozenset(json.loads(record.to_json())["run"]) for record in records(tmp_path)} == {
        frozenset(given | found)
    }
