"""``scalelab bench compare``: the table, the gate's exit codes, and stores that are not whole."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import scalelab.cli
from scalelab.core.records import RecordStore, RunRecord, metric

NOISE = (1.0, 1.02, 0.985, 1.01, 0.99, 1.005, 0.995, 1.015)


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a folder of results: latencies as factors of 10 ms, a point each."""

    def write(name, points, n=8):
        store = RecordStore(tmp_path / name / "records.jsonl")
        for point, factor in points.items():
            for number in range(n if factor else 1):
                value = 0.01 * (factor or 1) * NOISE[(number + len(name)) % 8]
                store.append(
                    RunRecord(
                        f"s/{point}", {}, (metric("latency_p95", "s", value), metric("ours_n", "1", 1.0)),
                        {} if factor else {"error": "MemoryError"}, status="done" if factor else "failed",
                        machine={"cpu": "x"}, git="", run={"key": name, "round": number},
                    )
                )  # fmt: skip
        return str(tmp_path / name)

    return write


def bench_compare(*arguments):
    return CliRunner().invoke(scalelab.cli.main, ["bench", "compare", *arguments])


@pytest.mark.parametrize(
    ("points", "options", "code", "said"),
    [
        ({"p": 1.3}, [], 0, "1 worse"),
        ({"p": 1.3}, ["--fail-over", "10%"], 5, "FAIL: 1 worse by more than 10 %: s/p latency_p95"),
        ({"p": 1.3}, ["--fail-over", "50%"], 0, "PASS: none of 1 judged metrics is worse by more than 50 %"),
        ({"p": 0.8}, ["--fail-over", "0%"], 0, "none of 1"),
        ({"p": 1.1}, ["--fail-over", "10%"], 0, "warning: 1 could not be told: s/p latency_p95"),
        ({"p": 1.1}, ["--fail-over", "10%", "--strict"], 6, "1 could not be told"),
        ({"p": 1.0}, ["--fail-over", "10%", "--strict"], 0, "none of 1"),
    ],
)
def test_the_exit_code_is_the_verdict(folder, points, options, code, said):
    result = bench_compare(folder("a", {"p": 1.0}), folder("bb", points), *options)
    assert (result.exit_code, said in result.output) == (code, True), result.output


def test_a_point_that_broke_in_b_does_not_pass_the_gate(folder):
    a, b = folder("a", {"p": 1.0, "q": 1.0}), folder("bb", {"p": 1.0, "q": None})
    result = bench_compare(a, b, "--fail-over", "10%")
    assert result.exit_code == 4
    assert "1 did not finish in B: s/q" in result.output
    assert "s/q failed in B: MemoryError" in result.output


def test_a_point_that_b_lacks_is_a_warning(folder):
    a, b = folder("a", {"p": 1.0, "old": 1.0}), folder("bb", {"p": 1.0})
    result = bench_compare(a, b, "--fail-over", "10%")
    assert result.exit_code == 0
    assert "warning: none of 1 judged metrics is worse by more than 10 %; 1 not in B: s/old" in result.output


def test_few_rounds_are_a_warning_that_counts_and_names(folder):
    points = dict.fromkeys("pqrstuv", 1.0)
    result = bench_compare(folder("a", points, n=1), folder("bb", points, n=1), "--fail-over", "10%")
    assert result.exit_code == 0
    assert "7 could not be told: s/p latency_p95" in result.output
    assert "and 2 more" in result.output
    assert "inconclusive: needs 6 rounds, has 1" in result.output


def test_a_record_torn_in_the_middle_is_said_once_and_the_rest_compared(folder):
    a, b = folder("a", {"p": 1.0}), folder("bb", {"p": 1.3})
    store = Path(a) / "records.jsonl"
    lines = store.read_text().splitlines()
    lines[3] = lines[3][:40]
    lines[5] = lines[5].replace('"schema":2', '"schema":9')
    store.write_text("\n".join(lines) + "\n")
    result = bench_compare(a, b, "--fail-over", "10%")
    assert result.exit_code == 5
    assert result.output.count("line 4 is left out") == 1
    assert "line 6 is left out: a record has schema 9, this version reads 1 to 2" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail-over", "ten"], "--fail-over 'ten' is no share"),
        (["--metric", "latency_p59"], "did you mean 'latency_p95'?"),
        (["--fail-over", "10%", "--metric", "ours_n"], "which side of 'ours_n' is better"),
    ],
)
def test_wrong_options_are_named(folder, options, said):
    result = bench_compare(folder("a", {"p": 1.0}), folder("bb", {"p": 1.0}), *options)
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_a_baseline_that_is_not_there_is_named(folder):
    result = bench_compare("nowhere", folder("bb", {"p": 1.0}))
    assert (result.exit_code, "nowhere has no records" in result.output) == (2, True)


def test_suites_without_a_common_point_name_theirs(folder):
    result = bench_compare(folder("a", {"p": 1.0}), folder("bb", {"q": 1.0}))
    assert (result.exit_code, "s/p; and s/q" in result.output) == (2, True)


def test_json_and_markdown_hold_the_gate(folder, tmp_path):
    text = tmp_path / "new" / "comment.md"
    options = ["--fail-over", "10%", "--json", "--markdown", str(text)]
    result = CliRunner().invoke(
        scalelab.cli.main, ["bench", "compare", folder("a", {"p": 1.0}), folder("bb", {"p": 1.3}), *options]
    )
    found = json.loads(result.stdout)
    assert found["gate"]["verdict"] == "FAIL"
    assert found["gate"]["rows"] == [{"subject": "s/p", "metric": "latency_p95", "verdict": "FAIL"}]
    assert "**1 worse by more than 10 %: s/p latency_p95**" in text.read_text()
    assert "| s/p | latency p95 |" in text.read_text()


def test_only_the_named_metric_is_shown(folder):
    a, b = folder("a", {"p": 1.0}), folder("bb", {"p": 1.3})
    assert "ours n" in bench_compare(a, b).output
    assert "ours n" not in bench_compare(a, b, "--metric", "latency_p95").output
