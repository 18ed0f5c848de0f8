"""The suite of the runtimes at its smallest size: what is counted holds there too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scalelab.bench.road import read_claims
from scalelab.core.paths import shipped
from scalelab.core.records import RecordStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # two compilers and three quantizers are at work


@pytest.fixture(scope="module")
def records(tmp_path_factory, cxx_compiler):
    folder = tmp_path_factory.mktemp("runtimes")
    suite = shipped("benchmarks") / "runtimes.toml"
    command = [sys.executable, "-m", "scalelab", "bench", "run", str(suite), "--tier", "ci"]
    done = subprocess.run([*command, "--out", str(folder)], capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stdout + done.stderr
    return RecordStore(folder / "records.jsonl").read()


def test_all_six_runtimes_are_in_one_table_and_agree(records):
    (found,) = (record for record in records if record.subject == "runtimes/runtimes")
    names = {metric.name for metric in found.metrics}
    speedups = {name for name in names if name.startswith("speedup_") and name.endswith("_batch_7")}
    assert len(speedups) == 5, "eager is the unit"
    assert found.notes["absent"] == {}
    assert "CPUExecutionProvider: usable" in found.notes["providers"]
    assert "CPU" in found.notes["devices"]
    verdicts = {claim["claim"]: claim["verdict"] for claim in read_claims([found])}
    counted = [name for name in verdicts if "computes what" in name or "training mode" in name]
    assert len(counted) == 4
    assert {verdicts[name] for name in counted} == {"PASS"}, verdicts


def test_minilm_in_int8_is_a_quarter_and_both_fp32_find_the_same(records):
    (found,) = (record for record in records if record.subject == "runtimes/minilm")
    verdicts = {claim["claim"]: claim["verdict"] for claim in read_claims([found])}
    counted = [name for name in verdicts if "smaller" in name or "fp32 in both" in name]
    assert len(counted) == 2
    assert {verdicts[name] for name in counted} == {"PASS"}, verdicts
    assert found.metric("top1_agreement_openvino_int8").values[0] > 0.8
