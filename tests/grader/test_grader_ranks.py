"""Ranks as threads over loopback, and ONNX files and runtimes, at every level of isolation."""

from __future__ import annotations

import sys

import pytest
from grader_ranks import ANSWERS, handed_in, write_lab
from ordinary_user import run_as_ordinary_user
from sandboxes import AS_ROOT, HAS_NAMESPACES, in_namespaces

from scalelab.grader.cells import read_submission
from scalelab.grader.handed import Handed
from scalelab.grader.hearing import Hearing
from scalelab.grader.lab import GradedLab
from scalelab.grader.sandbox import WarmProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MODES = {
    "namespaces": HAS_NAMESPACES,
    "fork": sys.platform != "win32" and not AS_ROOT,  # root's learner processes may not see this Python
    "spawn": True,
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    for name in ("torch", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    return GradedLab.load(write_lab(tmp_path_factory.mktemp("lab_of_ranks")))


@pytest.mark.parametrize("mode", [mode for mode, is_here in MODES.items() if is_here])
def test_ranks_meet_and_models_run(lab, mode):
    cells = lab.plan(read_submission(handed_in())).cells
    setup = [cell.text for cell in lab.prefix]
    with WarmProcess(lab.preload, setup, limits=lab.limits, mode=mode) as warm:
        handed = Handed("mira", "mira.ipynb", b"")
        with Hearing(warm, lab, cells, handed, key="k", variant_key="") as hearing:
            hearing.run()
    told = {result.name: f"{result.outcome.value} {result.message}".strip() for result in hearing.results}
    assert told == dict.fromkeys(ANSWERS, "passed")


@in_namespaces
def test_the_same_for_an_ordinary_user():
    tests = [__file__, "-k", "meet and (namespaces or fork)", "-p", "no:cacheprovider"]
    done = run_as_ordinary_user("-m", "pytest", "-q", *tests, timeout_s=280)
    assert "2 passed" in done.stdout, done.stdout[-4000:]
