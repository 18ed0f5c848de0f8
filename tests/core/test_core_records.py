from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.core.errors import DataError
from scalelab.core.records import Damage, Metric, RecordStore, RunRecord, TornRecordWarning, metric

OLD_RECORDS = Path(__file__).with_name("old_records")


def record(subject="lab/point", **changes):
    """A record that costs no look at the machine."""
    fields = {"parameters": {"batch": 8}, "metrics": (metric("latency", "s", [0.002, 0.0021]),)}
    return RunRecord(subject, **{**fields, "machine": {"cores": 2}, "git": "abc", **changes})


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "new" / "records.jsonl")


def test_what_is_appended_is_read_back_equal_and_in_order(store):
    written = [
        record("a", notes={"verdict": "PASS", "name": "बेंगलुरु\n₹"}),
        record("b", seed=7, status="failed"),
        record("c", reference_s=(0.2, 0.21), run={"round": 1, "artifacts": {"m.onnx": "ab"}}),
    ]
    for each in written:
        store.append(each)
    assert store.read() == written


def test_a_store_that_does_not_exist_is_empty(store):
    assert store.read() == []


def test_a_record_describes_its_machine_time_and_itself():
    first, second = (RunRecord("lab", {}, ()) for _ in range(2))
    assert first.machine["cores"] >= 1
    assert first.when.endswith("+00:00")
    assert first.id != second.id


def test_a_metric_is_found_by_its_name_or_the_others_are_named():
    assert record().metric("latency") == Metric("latency", "s", (0.002, 0.0021))
    assert record().metric("latency").n == 2
    assert metric("size", "bytes", 3).values == (3.0,)
    with pytest.raises(DataError, match="no metric 'latncy'") as caught:
        record().metric("latncy")
    assert "latency" in caught.value.hint


def append_many(path, name, count):
    store = RecordStore(path)
    for number in range(count):
        store.append(record(f"{name}/{number}", notes={"padding": "x" * 20_000}))


@pytest.mark.slow
def test_appends_from_several_processes_lose_none_and_mix_none(store):
    context = multiprocessing.get_context("spawn")
    names = ["p", "q", "r"]
    writers = [context.Process(target=append_many, args=(store.path, name, 20)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    subjects = [each.subject for each in store.read()]
    assert sorted(subjects) == sorted(f"{name}/{number}" for name in names for number in range(20))
    for name in names:
        own = [subject for subject in subjects if subject.startswith(name)]
        assert own == [f"{name}/{number}" for number in range(20)]


def test_half_a_last_line_is_moved_aside_and_said_and_no_record_is_lost(store):
    store.append(record("whole"))
    with store.path.open("ab") as file:
        file.write(b'{"subject":"torn')
    with pytest.warns(TornRecordWarning, match=r"half a line .* moved to records\.jsonl\.torn"):
        store.append(record("next"))
    assert [each.subject for each in store.read()] == ["whole", "next"]
    assert store.path.with_name("records.jsonl.torn").read_bytes() == b'{"subject":"torn\n'


def test_a_store_of_half_a_line_alone_is_mended_too(store):
    store.path.parent.mkdir()
    store.path.write_bytes(b"{")
    with pytest.warns(TornRecordWarning, match="moved"):
        store.append(record("first"))
    assert [each.subject for each in store.read()] == ["first"]


def test_half_a_last_line_is_left_out_of_reading_and_said(store):
    store.append(record("whole"))
    with store.path.open("ab") as file:
        file.write(b"{")
    with pytest.warns(TornRecordWarning, match="half a line of 1 bytes"):
        assert [each.subject for each in store.read()] == ["whole"]


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"not json", b'{"schema":1}', b'{"schema":1,"notes":3}', b"\xff\xfe", b""]
)
def test_a_line_in_the_middle_that_is_no_record_is_named_by_its_number(store, line):
    store.append(record())
    with store.path.open("ab") as file:
        file.write(line + b"\n")
    store.append(record())
    with pytest.raises(DataError, match="line 2"):
        store.read()


@pytest.mark.parametrize("line", [b"{}", b'{"subject":"torn{"subject"', b'{"schema":99}', b"\xff\xfe", b""])
def test_damaged_lines_are_named_and_the_records_around_them_are_read(store, line):
    store.append(record("before"))
    with store.path.open("ab") as file:
        file.write(line + b"\n" + line + b"\n")
    store.append(record("after"))
    whole = store.path.read_bytes()
    damaged: list[Damage] = []
    assert [each.subject for each in store.read(damaged=damaged)] == ["before", "after"]
    assert [each.line for each in damaged] == [2, 3]
    assert all(each.why for each in damaged)
    assert store.path.read_bytes() == whole


def test_a_record_of_a_later_schema_is_refused_with_both_numbers():
    line = json.dumps({**json.loads(record().to_json()), "schema": 99})
    with pytest.raises(DataError, match="schema 99, this version reads 1 to 2"):
        RunRecord.from_json(line)


def test_records_of_schema_1_are_read_whole_and_stay_as_they_are_on_the_disk():
    path = OLD_RECORDS / "schema1.jsonl"
    raws = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records = RecordStore(path).read()
    assert [raw["schema"] for raw in raws] == [1, 1, 1]
    for raw, read in zip(raws, records, strict=True):
        now = json.loads(read.to_json())
        assert (now.pop("schema"), now.pop("reference_s")) == (2, [])
        assert now.pop("run") == ({"key": raw["notes"]["key"]} if "key" in raw["notes"] else {})
        assert now == {name: value for name, value in raw.items() if name != "schema"}
    assert records[0].metric("latency").values == (0.0021, 0.002, 0.0022)


def test_an_old_record_that_is_written_again_is_of_the_new_schema(store):
    old = RecordStore(OLD_RECORDS / "schema1.jsonl").read()
    for each in old:
        store.append(each)
    assert store.read() == old


def test_a_reference_time_that_is_no_number_is_refused_and_nothing_is_written(store):
    with pytest.raises(DataError, match="'lab/point' cannot be written"):
        store.append(record(reference_s=(float("nan"),)))
    assert not store.path.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_no_number_is_refused_by_its_name_and_nothing_is_written(store, value):
    with pytest.raises(DataError, match=f"'p99' of 'lab/point' holds {value}"):
        store.append(record(metrics=(metric("p99", "s", [1.0, value]),)))
    assert not store.path.exists()


@pytest.mark.parametrize("notes", [{"path": object()}, {"share": float("nan")}])
def test_a_note_that_json_cannot_hold_is_refused(store, notes):
    with pytest.raises(DataError, match="'lab/point' cannot be written"):
        store.append(record(notes=notes))
    assert not store.path.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw.pop("machine"), "lacks machine"),
        (lambda raw: raw.update(run=[]), "run cannot be"),
        (lambda raw: raw["metrics"][0].update(values=[0.1, float("nan")]), "latency cannot be"),
        (lambda raw: raw.update(reference_s=[float("inf")]), "reference_s cannot be"),
    ],
)
def test_a_record_that_we_cannot_have_written_is_damaged_and_borrows_nothing(store, change, why):
    raw = json.loads(record().to_json())
    change(raw)
    store.append(record())
    with store.path.open("a") as file:
        file.write(json.dumps(raw) + "\n")
    damaged: list[Damage] = []
    assert store.read(damaged=damaged) == [store.read(damaged=[])[0]]
    assert [each.line for each in damaged] == [2]
    assert why in damaged[0].why


def test_a_store_that_is_a_folder_is_said(store):
    store.path.mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read"):
        store.read()


def test_a_value_that_is_no_number_is_refused_when_it_is_read(store):
    line = record(metrics=(metric("latency", "s", 1.0),)).to_json().replace("[1.0]", '["fast"]')
    store.path.parent.mkdir(parents=True)
    store.path.write_text(line + "\n")
    with pytest.raises(DataError, match="line 1: not a record") as caught:
        store.read()
    assert "hint" not in caught.value.message


FULL_DISK = """
import resource, sys
from pathlib import Path
from scalelab.core.jsonl import append_line
path = Path(sys.argv[1])
append_line(path, b"a" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))
try:
    append_line(path, b"b" * 100)
except OSError:
    sys.exit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands in for a full disk")
def test_where_the_disk_is_full_nothing_of_the_line_is_left(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert subprocess.run([sys.executable, "-c", FULL_DISK, str(path)]).returncode == 7
    assert path.read_bytes() == b"a" * 100 + b"\n"
