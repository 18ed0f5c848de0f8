"""A small suite, really run once by the runner, and its bundle: what the tests of evidence look at."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest

from scalelab.bench import load_suite, run_suite
from scalelab.bench.bundle import make_bundle

PARAMETERS = 'x: int = 1  # a number\nartifacts: str = ""\nrecord_path: str = ""'
BODY = """
import os
from pathlib import Path

from arithmetic import double
from scalelab.bench import claim, write_record
from scalelab.core.records import metric

speed = float(os.environ.get("SMALL_SUITE_SPEED", 1))
made = Path(artifacts) / "made.txt"
if not made.exists():
    made.write_text("7")
claims = [
    claim("it is fast", speed >= 1, f"speed {speed:g}"),
    claim("x is large", x > 100, f"x = {x}"),
    claim("seven was made", made.read_text() == "7", "read"),
]
rates = [100.0 * speed + i for i in range(5)]
metrics = [metric("throughput", "1/s", rates), metric("double", "1", double(x))]
write_record(record_path, "small", parameters={"x": x}, metrics=metrics, notes={"claims": claims})
"""
SUITE = """
title = "A small suite"
tiers = ["ci"]
[[point]]
name = "make"
notebook = "n.ipynb"
produces = ["made.txt"]
timeout_s = 200
[[point]]
name = "use"
notebook = "n.ipynb"
needs = ["make"]
timeout_s = 200
[point.matrix]
x = [1, 2, 3]
[point.tiers.ci.matrix]
x = [2, 3]
"""


class Silent:
    """A watcher that says nothing, and remembers how points ended."""

    def __init__(self):
        self.ended_as = {}

    def started(self, *_, **__):
        pass

    def tick(self, *_, **__):
        pass

    def ended(self, point, status, seconds, detail, *_, **__):
        self.ended_as[point.name] = status


def write_suite(folder: Path) -> Path:
    """Write the suite, its notebook and its module into `folder`; return the suite's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arithmetic.py").write_text("def double(x):\n    return 2 * x\n")
    cells = [nbformat.v4.new_code_cell(PARAMETERS), nbformat.v4.new_code_cell(BODY)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # else one by chance: other bytes each time
    cells[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder / "n.ipynb")
    (folder / "small.toml").write_text(SUITE)
    return folder / "small.toml"


@pytest.fixture
def watcher():
    return Silent()


@pytest.fixture(scope="session")
def small_results(tmp_path_factory) -> Path:
    """Give the folder of results of the suite, run for real; nobody may change it."""
    folder = tmp_path_factory.mktemp("small")
    suite = load_suite(write_suite(folder / "suite"), tier="ci")
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # papermill and nbformat warn about their own future
        watcher = Silent()
        run_suite(suite, folder / "results", watcher=watcher)
    assert watcher.ended_as == {"make": "done", "use[x=2]": "done", "use[x=3]": "done"}
    return folder / "results"


@pytest.fixture(scope="session")
def small_bundle(small_results, tmp_path_factory) -> Path:
    """Give the bundle of the results; nobody may change it."""
    return make_bundle(small_results, tmp_path_factory.mktemp("bundle") / "small.bench.zip")


@pytest.fixture
def bundle(small_bundle, tmp_path) -> Path:
    """Give a copy of the bundle that a test may spoil."""
    path = tmp_path / "small.bench.zip"
    path.write_bytes(small_bundle.read_bytes())
    return path
