"""A run in which nothing may be skipped: a skip fails, unless it is for a GPU or for another system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
MARKERS = "[pytest]\nmarkers =\n    gpu: x\n    redis: x\n"
SKIPPED = {
    "a missing program": "def test_it(chromium): pass",
    "a marked test": "import pytest\n@pytest.mark.redis\ndef test_it(): pass",
    "a test that skips itself": "import pytest\ndef test_it(): pytest.skip('no mood')",
    "a skipif": "import pytest\n@pytest.mark.skipif(True, reason='no mood')\ndef test_it(): pass",
    "a module that skips itself": "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass",
}
ALLOWED = {
    "another system": "import pytest\n@pytest.mark.skipif(True, reason='only on Mars')\ndef test_it(): pass",
    "a missing GPU": "import pytest\n@pytest.mark.gpu\ndef test_it(): pytest.skip('no CUDA device here')",
    "an expected failure": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): assert 0",
}


def run(tmp_path: Path, test: str, *, require_all: bool) -> subprocess.CompletedProcess[str]:
    (tmp_path / "conftest.py").write_bytes(CONFTEST.read_bytes())
    (tmp_path / "pytest.ini").write_text(MARKERS)
    (tmp_path / "test_it.py").write_text(test)
    env = {**os.environ, "PATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    env["SCALELAB_REQUIRE_ALL"] = "1" if require_all else ""
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(tmp_path)]
    return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("test", SKIPPED.values(), ids=SKIPPED.keys())
def test_a_skip_is_a_failure_where_everything_is_required(tmp_path, test):
    assert run(tmp_path, test, require_all=False).returncode in {0, 5}  # 5: nothing was left to run
    strict = run(tmp_path, test, require_all=True)
    assert strict.returncode in {1, 2}, strict.stdout
    assert "SCALELAB_REQUIRE_ALL=1 allows no skip" in strict.stdout


@pytest.mark.slow
@pytest.mark.parametrize("test", ALLOWED.values(), ids=ALLOWED.keys())
def test_some_skips_are_no_failures(tmp_path, test):
    assert run(tmp_path, test, require_all=True).returncode == 0


@pytest.mark.slow
def test_the_end_of_a_run_says_what_brings_a_missing_program(tmp_path):
    done = run(tmp_path, SKIPPED["a missing program"], require_all=False)
    assert "1 tests want chromium; to run them too: make system-packages && make test" in done.stdout
