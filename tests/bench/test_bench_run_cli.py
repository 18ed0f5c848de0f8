"""``scalelab bench run`` as its user meets it: several suites, names, rounds, and what it says."""

import io
import re

import nbformat
import pytest
from click.testing import CliRunner
from rich.console import Console

from scalelab.bench import Point
from scalelab.bench.remaining import Remaining
from scalelab.cli import main
from scalelab.cli.suite_progress import Progress, left_text
from scalelab.core.records import RecordStore

pytestmark = pytest.mark.filterwarnings("default")  # papermill and nbformat warn about their own future

BODY = """
from scalelab.bench import write_record
from scalelab.core.records import metric
write_record(record_path, "t", parameters={}, metrics=[metric("double", "1", 2 * x)])
"""
POINT = '[[point]]\nname = "{name}"\nnotebook = "n.ipynb"\nparameters = {{ x = {x} }}\n'


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Run `scalelab bench run ...` in a folder with a notebook and two suites."""
    cells = [nbformat.v4.new_code_cell('x: int = 1\nrecord_path: str = ""'), nbformat.v4.new_code_cell(BODY)]
    cells[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), tmp_path / "n.ipynb")
    (tmp_path / "one.toml").write_text(POINT.format(name="p", x=1))
    pair = '[[pair]]\na = "x"\nb = "y"\n'
    (tmp_path / "two.toml").write_text(POINT.format(name="x", x=1) + POINT.format(name="y", x=2) + pair)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path / "runs"))
    return lambda *words: CliRunner().invoke(main, ["bench", "run", *words])


@pytest.mark.slow
def test_several_suites_get_a_folder_each_and_one_page(bench, tmp_path):
    done = bench("one.toml", "two.toml", "--rounds", "1")
    assert done.exit_code == 0, done.output
    found = sorted(
        path.relative_to(tmp_path / "runs").as_posix() for path in (tmp_path / "runs").rglob("report.html")
    )
    assert found == ["bench/one/report.html", "bench/report.html", "bench/two/report.html"]
    store = tmp_path / "runs" / "bench" / "two" / "records.jsonl"
    assert [record.subject for record in RecordStore(store).read()] == ["two/x", "two/y"]
    more = bench("one.toml", "two.toml", "--rounds", "2")
    assert more.exit_code == 0, more.output
    assert [record.subject for record in RecordStore(store).read()] == ["two/x", "two/y", "two/y", "two/x"]
    assert more.output.count("kept from an earlier run") == 3
    assert re.search(r"3/4  y, round 2 of 2 \.\.\.  .* left", more.output)
    assert "\nB against A\n" in more.output, "the pair is compared"
    assert more.output.count("1/4  x") == 1, "what is kept takes one line"


def test_a_typo_in_the_second_suite_is_told_before_the_first_runs(bench, tmp_path):
    (tmp_path / "two.toml").write_text(POINT.format(name="p", x=1).replace("x = 1", "xs = 1"))
    done = bench("one.toml", "two.toml")
    assert (done.exit_code, "did you mean 'x'?" in done.output) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_a_shipped_suite_is_known_by_its_name_and_a_mistyped_one_gets_a_guess(bench):
    done = bench("raod")
    assert (done.exit_code, "did you mean 'road'?" in done.output) == (2, True)
    done = bench("road", "--tier", "latop")
    assert (done.exit_code, "did you mean 'laptop'?" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.toml"], "there is no suite gone.toml"),
        (["one.toml", "one.toml"], "two suites are called 'one'"),
        (["one.toml", "--rounds", "0"], "0 is not in the range"),
        (["one.toml", "--executor", "spark://here:1"], "dask://HOST:PORT"),
        ([], "Missing argument 'SUITE...'"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_by_its_value(bench, tmp_path, words, said):
    done = bench(*words)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("remaining", "elapsed_s", "said"),
    [
        (Remaining(100, 240, 0), 0, "2 min to 4 min left"),
        (Remaining(100, 240, 0), 60, "40 s to 3 min left"),
        (Remaining(5, 5.2, 0), 0, "5 s left"),
        (
            Remaining(0, 600, 2),
            0,
            "up to 10 min left (of 2 rounds only the limit is known)",
        ),
        (Remaining(200, 600, 1), 20, "3 min to 10 min left (of a round only the limit is known)"),
        (Remaining(10, 20, 0), 21, "longer than it ever took"),
        (Remaining(0, 0, 0), 0, ""),
        (None, 0, ""),
    ],
    ids=str,
)
def test_what_is_left_is_said_as_far_as_it_is_known(remaining, elapsed_s, said):
    assert left_text(remaining, elapsed_s) == said


@pytest.mark.parametrize("is_terminal", [True, False])
def test_points_that_run_at_one_time_end_with_a_line_each(tmp_path, is_terminal):
    written = io.StringIO()
    progress = Progress(Console(file=written, force_terminal=is_terminal, width=100))
    points = [Point(name, f"[{name}]", tmp_path / "n.ipynb", {}) for name in ("kept", "a", "b")]
    with progress:
        progress.started(points[0], 1, 3)
        progress.ended(points[0], "kept", 0.0, "")
        for number, point in enumerate(points[1:], start=2):
            progress.started(point, number, 3, Remaining(10, 20, 0))
        progress.tick()
        progress.ended(points[2], "failed", 3.0, "cell [1]: broken")
        progress.ended(points[1], "done", 4.0, "")
    said = re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\r", "", written.getvalue())
    lines = [line.strip() for line in said.splitlines() if "..." not in line]
    assert [line for line in lines if line[:2] in ("1/", "2/", "3/")][-3:] == [
        "1/3  [kept]  kept from an earlier run",
        "3/3  [b]  failed  cell [1]: broken",
        "2/3  [a]  done in 4 s",
    ]
    assert ("2/3  [a] ...  10 s to 20 s left" in said) != is_terminal
