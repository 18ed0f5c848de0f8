"""A pair that the runner really ran in turn: compared in its folder, and as two folders by the command."""

from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

import scalelab.cli
from scalelab.bench import load_suite, run_suite
from scalelab.bench.compare import Change, compare_pairs
from scalelab.bench.results import read_results
from scalelab.core.records import RecordStore

PARAMETERS = 'steps: int = 1\nrecord_path: str = ""'
BODY = """
from scalelab.bench import write_record
from scalelab.core.records import metric
from scalelab.core.stats import measure

taken = measure(lambda: sum(range(steps)), warmup_s=0.1, min_duration_s=0.3)
metrics = [metric("latency", "s", taken[:50])]
write_record(record_path, "sum", parameters={"steps": steps}, metrics=metrics)
"""
SUITE = """
name = "sums"
[[point]]
name = "short"
notebook = "sum.ipynb"
[point.parameters]
steps = 10_000
[[point]]
name = "long"
notebook = "sum.ipynb"
[point.parameters]
steps = 40_000
[[pair]]
a = "short"
b = "long"
rounds = 6
"""


class Silent:
    """A watcher that says nothing."""

    def started(self, *_, **__):
        pass

    def tick(self, *_, **__):
        pass

    def ended(self, *_, **__):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    cells = [nbformat.v4.new_code_cell(PARAMETERS, id="one"), nbformat.v4.new_code_cell(BODY, id="two")]
    cells[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder / "sum.ipynb")
    (folder / "sums.toml").write_text(SUITE)
    result = run_suite(load_suite(folder / "sums.toml"), folder / "results", watcher=Silent())
    assert result.is_complete
    return folder / "results"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_times_the_work_is_worse_and_the_gate_exits_by_it(folder, tmp_path):
    results = read_results(folder)
    row = next(row for row in compare_pairs(results).rows if row.metric == "latency")
    assert (row.subject, row.pairs, row.change) == ("sums/long against short", 6, Change.WORSE)
    assert 2 < row.ratio.median < 8

    for name in ("short", "long"):  # the same real rounds as those of one point, before and after a change
        store = RecordStore(tmp_path / name / "records.jsonl")
        for record in results.records:
            if record.subject == f"sums/{name}":
                store.append(replace(record, subject="sums/p", parameters={}))
    codes = {
        (a, b): bench_compare(tmp_path / a, tmp_path / b, "--fail-over", "10%")
        for a, b in (("short", "long"), ("long", "short"), ("short", "short"))
    }
    assert codes == {("short", "long"): 5, ("long", "short"): 0, ("short", "short"): 0}


def bench_compare(a: Path, b: Path, *options: str) -> int:
    return (
        CliRunner()
        .invoke(scalelab.cli.main, ["bench", "compare", str(a), str(b), "--metric", "latency", *options])
        .exit_code
    )
