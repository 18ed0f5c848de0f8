"""``scalelab bench`` as its user meets it, without a run."""

import pytest
from click.testing import CliRunner

from scalelab.cli import main


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Run `scalelab bench ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["bench", *words])


def test_parameters_without_a_notebook_lists_the_benchmarks(bench):
    result = bench("parameters")
    assert result.exit_code == 0, result.output
    assert "road_prototype " in result.output
    assert "road_decoupled.ipynb" in result.output


@pytest.mark.parametrize("name", ["road_prototype", "road_prototype.ipynb"])
def test_a_benchmark_is_found_by_its_bare_name(bench, name):
    result = bench("parameters", name)
    assert result.exit_code == 0, result.output
    assert "test_pins: int = " in result.output


def test_a_mistyped_benchmark_is_an_error_with_a_guess(bench):
    result = bench("parameters", "road_prototyp")
    assert (result.exit_code, "did you mean 'road_prototype'?" in result.output) == (2, True)


@pytest.mark.parametrize("makes", [None, "", "folder"])
def test_a_report_without_records_is_an_error_and_no_empty_table(bench, tmp_path, makes):
    if makes is not None:
        (tmp_path / "results").mkdir()
    if makes == "":
        (tmp_path / "results" / "records.jsonl").write_text("")
    result = bench("report", str(tmp_path / "results"))
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {tmp_path / 'results'} has no records\nhint: ")
    assert not (tmp_path / "results" / "report.html").exists()
