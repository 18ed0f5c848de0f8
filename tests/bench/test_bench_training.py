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
    """What a clock or a peak of memory says belongs to a quiet machine; counts hold everywhere."""
    suite = str(shipped("benchmarks") / "training.toml")
    command = [sys.executable, "-m", "scalelab", "bench", "run", suite, "--tier", "ci"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    records = RecordStore(tmp_path / "records.jsonl").read()
    claims = {claim["claim"]: claim for claim in read_claims(records)}
    measured = ("times as", "within 15 %", "lets through", "peak of memory", "bubble")
    verdicts = {
        name: (claim["verdict"], claim["detail"])
        for name, claim in claims.items()
        if not any(word in name for word in measured)
    }
    assert len(claims) - len(verdicts) >= 7
    assert len(verdicts) >= 5
    assert [name for name, (verdict, _) in verdicts.items() if verdict != "PASS"] == [], verdicts
