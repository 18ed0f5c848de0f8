"""An answer gets the same verdict in a notebook's cell, from the terminal, under papermill and nbmake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from scalelab.classroom import find_lab
from scalelab.classroom.rechecking import check_notebook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of jupyter_client and papermill
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

ANSWERS = {
    "right": ("def weights(counts): return [n / sum(counts) for n in counts]", "passed"),
    "wrong": ("def weights(counts): return [1 / 3] * 3", "failed"),
    "crashing": ("def weights(counts): return counts[9]", "crashed"),
    "untouched": ("def weights(counts):\n    raise NotImplementedError", "not attempted"),
    "endless": ("def weights(counts):\n    while True: 0", "crashed"),
}
CHECK = 'lab.check("weights")'
WANTED = {name: outcome for name, (_, outcome) in ANSWERS.items()}


@pytest.fixture
def notebooks(write_notebook, labs):
    """One notebook for every answer."""
    return {
        name: write_notebook(source, CHECK, name=f"{name}.ipynb") for name, (source, _) in ANSWERS.items()
    }


@pytest.fixture
def all_in_one(write_notebook, labs):
    """All answers one after the other in one notebook, each with its check."""
    cells = [cell for source, _ in ANSWERS.values() for cell in (source, CHECK)]
    return write_notebook(*cells, name="all.ipynb")


def verdicts_in(document):
    """Read the outcome off every card of an executed notebook, and the points beside it."""
    found = []
    for cell in document["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "execute_result" and "text/html" in output["data"]:
                html = "".join(output["data"]["text/html"])
                (badge,) = re.findall(r">([a-z ]+) · ([0-9]+)/2<", html)
                assert "".join(output["data"]["text/plain"]) == badge[1]
                found.append(badge[0])
        assert not [
            output for output in cell.get("outputs", []) if output["output_type"] in {"stream", "error"}
        ]
    return dict(zip(ANSWERS, found, strict=True))


def test_a_notebooks_kernel_says_it(all_in_one):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    document = nbformat.read(all_in_one, as_version=4)
    nbclient.NotebookClient(document, timeout=60, kernel_name="python3").execute()
    assert verdicts_in(document) == WANTED


def test_papermill_says_it(all_in_one, tmp_path):
    papermill = pytest.importorskip("papermill")
    papermill.execute_notebook(str(all_in_one), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert verdicts_in(json.loads((tmp_path / "out.ipynb").read_text())) == WANTED


def test_the_terminal_says_it(notebooks):
    found = {
        name: check_notebook(find_lab(3), path).results[0].outcome.value for name, path in notebooks.items()
    }
    assert found == WANTED


def test_nbmake_fails_whatever_is_not_passed_if_it_is_strict(notebooks, tmp_path):
    pytest.importorskip("nbmake")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "-q", "-rA",
         "--rootdir", str(tmp_path), *map(str, notebooks.values())],
        env={**os.environ, "SCALELAB_STRICT": "1"}, cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    for name, outcome in WANTED.items():
        told = "PASSED" if outcome == "passed" else "FAILED"
        assert re.search(rf"^{told} {name}\.ipynb", done.stdout, re.MULTILINE), done.stdout
        assert outcome == "passed" or f"weights: {outcome} (0/2)" in done.stdout
