import os
import subprocess
import sys

import pytest

from scalelab.bench import artifacts_folder, claim, need_artifact
from scalelab.core.errors import ConfigError
from scalelab.core.paths import runs_folder, shipped
from scalelab.core.stats import Verdict


def test_a_notebook_in_its_own_folder_finds_the_runs_of_the_checkout(monkeypatch):
    monkeypatch.delenv("SCALELAB_RUNS", raising=False)
    here = runs_folder()
    monkeypatch.chdir(shipped("benchmarks"))
    assert runs_folder() == here


def test_outside_a_checkout_results_go_below_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SCALELAB_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == tmp_path / "runs"


def test_a_notebook_opened_by_hand_reads_the_demos_files_and_writes_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path))
    made = tmp_path / "demo" / "artifacts" / "reader.onnx"
    made.parent.mkdir(parents=True)
    made.touch()
    own = artifacts_folder("")
    assert own == tmp_path / "lab" / "artifacts"
    assert need_artifact(own, "reader.onnx", made_by="x") == made
    (own / "reader.onnx").touch()
    assert need_artifact(own, "reader.onnx", made_by="x") == own / "reader.onnx"


def test_a_point_of_a_suite_takes_nothing_from_the_demo(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path))
    made = tmp_path / "demo" / "artifacts" / "reader.onnx"
    made.parent.mkdir(parents=True)
    made.touch()
    with pytest.raises(ConfigError, match="is missing"):
        need_artifact(artifacts_folder(str(tmp_path / "suite")), "reader.onnx", made_by="x")


@pytest.mark.slow
def test_onnx_runtime_leaves_no_usage_events_in_the_home_folder(tmp_path):
    command = [sys.executable, "-c", "import scalelab, onnxruntime"]
    kept = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    where = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    subprocess.run(command, env={**kept, **where}, check=True, timeout=60)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("holds", "said"),
    [(True, "PASS"), (False, "FAIL"), (None, "INCONCLUSIVE"), *((each, each.value) for each in Verdict)],
)
def test_a_claim_says_what_was_judged(holds, said):
    assert claim("so", holds, "seen") == {"claim": "so", "verdict": said, "detail": "seen"}
