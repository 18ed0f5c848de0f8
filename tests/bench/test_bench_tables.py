"""Tables as text, wherever they are shown."""

import csv
import io
import random

import pytest

from scalelab.bench.spread import spread_of
from scalelab.bench.tables import Table, report_tables
from scalelab.core.page import csv_text
from scalelab.core.records import RunRecord, metric

MACHINE = {"cpu": "c", "cores": 2}


def record(subject, *metrics, status="done", run=None, **notes):
    return RunRecord(
        subject, {}, tuple(metrics), notes, status=status, machine=MACHINE, git="", run=run or {}
    )


def named(tables):
    return {table.name: table for table in tables}


def test_markdown_has_a_line_a_row_whatever_is_in_its_cells():
    table = Table("t", "T", ("point", "why"), (("a|b", "two\nlines"), ("<b>", "C:\\|")))
    assert table.markdown().splitlines() == [
        "| point | why |",
        "| --- | --- |",
        r"| a\|b | two lines |",
        r"| &lt;b> | C:\\\| |",
    ]


def test_csv_gives_back_the_cells_and_no_formula():
    rows = (("=1+1", "-3.5"), ("a,b\nc", '"'), (" @x", "–"))
    table = Table("t", "T", ("point", "₹"), rows)
    read = list(csv.reader(io.StringIO(table.csv())))
    assert read == [["point", "₹"], ["'=1+1", "-3.5"], ["a,b\nc", '"'], ["' @x", "–"]]


def test_a_column_that_no_point_fills_is_not_there():
    tables = named(report_tables([record("s/a", metric("throughput", "1/s", 5), throughput_of="requests")]))
    assert tables["s"].header == ("step", "throughput", "per second counts")
    assert tables["s"].rows == (("a", "5/s", "requests"),)


def test_a_suite_without_the_roads_metrics_has_its_own_table_only():
    tables = named(report_tables([record("peers/cnn", metric("closed_mosec", "1/s", [4, 5, 6]))]))
    assert list(tables) == ["peers-metrics"]
    (row,) = tables["peers-metrics"].rows
    assert row == ("cnn", "closed mosec", "5 [4, 6]/s", "3", "values", "5", "4", "6", "1/s")


def test_rounds_count_once_each_however_many_values_they_hold():
    rounds = [
        record("s/a", metric("latency", "s", [0.01 * n] * 50), run={"key": "k", "round": n})
        for n in (1, 2, 3)
    ]
    spread = spread_of([one.metric("latency") for one in rounds])
    assert (spread.n, spread.of, spread.median) == (3, "rounds", 0.02)
    assert spread.text == "20 [10, 30] ms (3)"


def test_rounds_of_older_code_are_left_out():
    rounds = [
        record("s/a", metric("throughput", "1/s", value), run={"key": key, "round": 0})
        for key, value in (("old", 1), ("new", 100))
    ]
    assert named(report_tables(rounds))["s"].rows == (("a", "100/s"),)


def test_a_point_that_broke_says_why():
    broken = record("s/b", status="failed", error="boom\nat line 3")
    tables = named(report_tables([record("s/a", metric("throughput", "1/s", 5)), broken]))
    assert tables["s"].rows[1] == ("b", "–", "failed: boom")


def test_a_table_that_a_notebook_wrote_is_read():
    text = "words before\n\n| system | rate |\n| --- | ---: |\n| **ours** | 5 |\n| a\\|b | 6 |\n"
    tables = named(report_tables([record("s/a", table=text, title="A")]))
    assert tables["s-a-table"] == Table("s-a-table", "A", ("system", "rate"), (("ours", "5"), ("a|b", "6")))


def test_a_broken_table_of_a_notebook_is_no_table():
    assert report_tables([record("s/a", table="| a | b |\n| --- |")]) == []


def test_every_name_is_one_of_its_own_and_fits_an_anchor():
    tables = report_tables(
        [record(f"S 1/p[k={k}]", metric("throughput", "1/s", k), table="|a|\n|-|\n|1|") for k in (1, 2)]
    )
    names = [table.name for table in tables]
    assert len(set(names)) == len(names) == 4
    assert all(name.replace("-", "").isalnum() for name in names)


@pytest.mark.parametrize("n", [6, 30, 31, 400])
def test_the_interval_covers_the_true_median_nearly_always(n):
    source = random.Random(7)
    held = 0
    for _ in range(200):
        values = [source.expovariate(1.0) for _ in range(n)]
        spread = spread_of([metric("m", "1", values)])
        held += spread.low <= 0.6931 <= spread.high
    assert held >= 200 * 0.88  # 95 % of them, less the luck of 200 and the bootstrap's own at small n


def test_the_same_records_give_the_same_tables():
    source = random.Random(1)
    records = [
        record("s/a", metric("throughput", "1/s", source.random()), run={"round": n}) for n in range(9)
    ]
    assert report_tables(records) == report_tables(list(records))


@pytest.mark.parametrize("cell", ["=1+1", " =1", "\u200b=1", "\t@x", "＝1", "-a"])
def test_a_csv_holds_no_formula_however_it_is_hidden(cell):
    assert csv_text(("a",), [(cell,)]).splitlines()[1].lstrip('"').startswith("'")


@pytest.mark.parametrize("cell", ["-1.5", "+2", "1e3", "3 ms"])
def test_numbers_of_a_csv_stay_numbers(cell):
    assert csv_text(("a",), [(cell,)]).splitlines()[1] == cell
