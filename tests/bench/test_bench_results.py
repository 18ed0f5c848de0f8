"""Which records of a store count: of one origin, one a round."""

import pytest

from scalelab.bench.results import newest_of, read_results, rounds_of
from scalelab.core.errors import DataError
from scalelab.core.records import RecordStore, RunRecord, metric


def record(subject="s/p", value=1.0, status="done", parameters=None, **run):
    metrics = (metric("latency", "s", value),)
    return RunRecord(subject, parameters or {}, metrics, status=status, machine={}, git="", run=run)


def values(records):
    return {
        name: [r.metric("latency").values[0] for r in found] for name, found in rounds_of(records).items()
    }


def test_rounds_are_those_of_the_newest_key_in_their_order():
    records = [
        record(value=9.0, key="old", round=0),
        record(value=2.0, key="new", round=1),
        record(value=1.0, key="new", round=0),
        record("s/q", value=5.0, key="q", round=0),
    ]
    assert values(records) == {"s/p": [1.0, 2.0], "s/q": [5.0]}


def test_a_round_that_was_run_again_counts_once_and_by_its_newest_record():
    records = [record(value=value, key="k", round=number) for value, number in ((1.0, 0), (2.0, 1), (3.0, 0))]
    assert values(records) == {"s/p": [3.0, 2.0]}


def test_a_failed_round_neither_counts_nor_hides_those_that_succeeded():
    records = [record(value=1.0, key="a", round=0), record(status="failed", key="b", round=1)]
    assert values(records) == {"s/p": [1.0]}
    assert newest_of(records)["s/p"].status == "failed"


def test_records_without_a_key_belong_together_if_their_parameters_are_equal():
    records = [record(value=rate, parameters={"rate": rate}) for rate in (1.0, 2.0, 1.0)]
    assert values([*records, record(value=1.0, parameters={"rate": 1.0})]) == {"s/p": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize("name", ["", "records.jsonl"])
def test_a_folder_and_its_store_read_the_same_and_name_the_damaged_line(tmp_path, name):
    store = RecordStore(tmp_path / "records.jsonl")
    store.append(record("a"))
    with store.path.open("ab") as file:
        file.write(b'{"subject":"to\n')
    store.append(record("b"))
    found = read_results(tmp_path / name)
    assert [each.subject for each in found.records] == ["a", "b"]
    assert [each.line for each in found.damaged] == [2]
    assert found.path == store.path


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere has no records"):
        read_results(tmp_path / "nowhere")


def test_a_store_of_damaged_lines_alone_says_the_first(tmp_path):
    (tmp_path / "records.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="has no records: line 1: not a record"):
        read_results(tmp_path)
