"""Each lab as an author proves it, and a solution notebook as another course would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.core.paths import shipped

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
LABS = sorted(path.parent.name for path in shipped("labs").glob("*/lab.toml"))


def test_there_are_labs():
    assert LABS


@pytest.mark.timeout(920)
@pytest.mark.parametrize("slug", LABS)
def test_the_lab_holds(slug):
    command = [sys.executable, "-m", "scalelab", "author", "verify", slug, "--no-packages"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_nbmake_passes_a_solution_strictly(tmp_path):
    """One lab stands for all: what nbmake adds to the run of `author verify` is nbmake."""
    notebook = ROOT / "solutions" / LABS[0] / "solution.ipynb"
    command = [sys.executable, "-m", "pytest", "--nbmake", str(notebook), "-q", "-c", os.devnull]
    env = {**os.environ, "SCALELAB_STRICT": "1", "SCALELAB_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
