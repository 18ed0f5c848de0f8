"""The benchmark of training on several ranks, at its smallest size."""

import subprocess
import sys

import pytest

from scalelab.bench.road import read_claims
from scalelab.core.paths import shipped
from scalelab.core.records import RecordStore


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_counted_holds_at_any_size(tmp_path):
    """Claims about speed belong to the laptop tier on a quiet machine; counts and bytes hold everywhere."""
    suite = str(shipped("benchmarks") / "training.toml")
    command = [sys.executable, "-m", "scalelab", "bench", "run", suite, "--tier", "tiny"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    records = RecordStore(tmp_path / "records.jsonl").read()
    claims = {claim["claim"]: claim for claim in read_claims(records)}
    timed = [name for name in claims if "times as" in name]
    assert len(timed) >= 3
    counted = {name: claim for name, claim in claims.items() if name not in timed}
    assert len(counted) >= 7
    assert {claim["verdict"] for claim in counted.values()} == {"PASS"}, counted
