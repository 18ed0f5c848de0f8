"""The Parquet table: DuckDB and pandas read the same rows from it, and they are the records' values."""

import errno

import duckdb
import pandas
import pytest
from click.testing import CliRunner

import scalelab.cli
from scalelab.bench.export import to_parquet
from scalelab.bench.results import Results
from scalelab.core.machine import machine_key
from scalelab.core.records import RecordStore, RunRecord, metric

MACHINE = {"cpu": "x", "cores": 2}
COLUMNS = [
    "record_id", "schema", "subject", "suite", "point", "round", "status", "when", "git", "seed",
    "machine_key", "cpu", "cores", "worker", "tier", "key", "parameters", "metric", "unit", "position",
    "value", "reference_s",
]  # fmt: skip


def record(point, *metrics, status="done", reference_s=(0.2, 0.4), **run):
    return RunRecord(
        f"suite/{point}", {"batch": 8, "model": "größe"}, metrics, status=status, machine=MACHINE, git="abc",
        seed=7, reference_s=reference_s, run=run,
    )  # fmt: skip


@pytest.fixture
def records():
    run = {"round": 1, "worker": "w", "tier": "ci", "key": "k"}
    return (
        record("p[batch=8]", metric("latency", "s", [0.5, 0.25]), metric("rate", "1/s", 4), **run),
        record("p/q", status="failed", reference_s=()),
        record("empty", metric("latency", "s", [])),
    )


@pytest.fixture
def file(tmp_path, records):
    path = tmp_path / "new" / "records.parquet"
    assert to_parquet(Results(tmp_path, records), path) == 5
    return path


def as_duckdb(file):
    with duckdb.connect() as base:
        found = base.sql(f"select * from '{file}'")
        return found.columns, found.fetchall()


def as_pandas(file):
    table = pandas.read_parquet(file)
    rows = table.astype(object).where(table.notna(), None).itertuples(index=False, name=None)
    return list(table.columns), list(rows)


@pytest.mark.parametrize("read", [as_duckdb, as_pandas], ids=lambda read: read.__name__)
def test_each_reader_finds_a_row_a_value_and_one_for_a_record_without(file, records, read):
    columns, rows = read(file)
    assert columns == COLUMNS
    shared = {
        "schema": 2, "status": "done", "git": "abc", "seed": 7, "cpu": "x", "cores": 2, "suite": "suite",
        "machine_key": machine_key(MACHINE), "parameters": '{"batch": 8, "model": "größe"}',
    }  # fmt: skip
    first = shared | {
        "record_id": records[0].id, "when": records[0].when, "subject": "suite/p[batch=8]",
        "point": "p[batch=8]", "round": 1, "worker": "w", "tier": "ci", "key": "k",
        "reference_s": pytest.approx(0.3),
    }  # fmt: skip
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    values = [("latency", "s", 0, 0.5), ("latency", "s", 1, 0.25), ("rate", "1/s", 0, 4.0)]
    names = ("metric", "unit", "position", "value")
    assert found[:3] == [first | dict(zip(names, each, strict=True)) for each in values]
    nothing = dict.fromkeys([*names, "round", "worker", "tier", "key"])
    for row, one, reference in ((found[3], records[1], None), (found[4], records[2], pytest.approx(0.3))):
        own = {"record_id": one.id, "when": one.when, "subject": one.subject, "status": one.status}
        own |= {"point": one.subject.removeprefix("suite/"), "reference_s": reference}
        assert row == shared | nothing | own


def test_duckdb_and_pandas_compute_the_same_medians(tmp_path):
    many = tuple(record(f"p{n % 3}", metric("latency", "s", [n / 7, n / 9]), round=n) for n in range(90))
    file = tmp_path / "records.parquet"
    to_parquet(Results(tmp_path, many), file)
    with duckdb.connect() as base:
        found = dict(base.sql(f"select point, median(value) from '{file}' group by all").fetchall())
    table = pandas.read_parquet(file).groupby("point")["value"].median().to_dict()
    assert len(table) == 3
    assert found == pytest.approx(table)


def test_a_table_without_any_value_keeps_its_types(tmp_path):
    file = tmp_path / "records.parquet"
    assert to_parquet(Results(tmp_path, (record("p", status="skipped"),)), file) == 1
    with duckdb.connect() as base:
        described = base.sql(f"describe select * from '{file}'").fetchall()
    types = {name: str(kind) for name, kind, *_ in described}
    assert {types["value"], types["reference_s"]} == {"DOUBLE"}
    assert {types["position"], types["round"], types["seed"]} == {"BIGINT"}
    assert types["metric"] == "VARCHAR"


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_half(tmp_path, file, monkeypatch):
    before = file.read_bytes()
    import pyarrow.parquet

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        to_parquet(Results(tmp_path, (record("p"),)), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_many_rows_are_written_in_parts_and_none_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.bench.export._ROWS_AT_ONCE", 10)
    many = tuple(record("p", metric("latency", "s", [float(n)] * 7), round=n) for n in range(9))
    file = tmp_path / "records.parquet"
    assert to_parquet(Results(tmp_path, many), file) == 63
    assert pandas.read_parquet(file).groupby("round")["value"].sum().tolist() == [7.0 * n for n in range(9)]


def test_the_command_says_what_it_wrote_and_what_it_left_out(tmp_path, records):
    store = RecordStore(tmp_path / "records.jsonl")
    store.append(records[0])
    with store.path.open("a") as text:
        text.write("torn\n")
    store.append(records[1])
    result = CliRunner().invoke(scalelab.cli.main, ["bench", "export", str(tmp_path)])
    assert result.exit_code == 0
    assert "line 2 is left out: not a record: 'torn'" in result.output
    assert "records.parquet: 4 values of 2 records" in result.output
    assert len(pandas.read_parquet(tmp_path / "records.parquet")) == 4
