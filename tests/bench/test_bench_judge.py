"""The judge's suite at its smallest size: LoadGen and we measure the same reader, and its service."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scalelab.bench.road import read_claims
from scalelab.core.paths import shipped
from scalelab.core.records import RecordStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    suite = shipped("benchmarks") / "judge.toml"
    command = [sys.executable, "-m", "scalelab", "bench", "run", str(suite), "--tier", "ci"]
    done = subprocess.run([*command, "--out", str(folder)], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    return {record.subject: record for record in RecordStore(folder / "records.jsonl").read()}


@pytest.mark.parametrize("subject", ["judge/model", "judge/service"])
def test_both_instruments_measured_all_three_scenarios(records, subject):
    found = records[subject]
    for name in ("single_stream_p90", "server_p99", "offline_qps"):
        sides = [found.metric(f"{who}_{name}").values for who in ("loadgen", "ours", "ratio")]
        assert [len(side) for side in sides] == [1] * 3
        for theirs, ours, ratio in zip(*sides, strict=True):
            assert ratio == pytest.approx(theirs / ours)
            assert min(theirs, ours) > 0
    assert found.metric("loadgen_server_n").values[0] >= 100
    assert set(found.notes["loadgen_says"]) == {"single_stream", "server", "offline"}


def test_one_short_round_is_not_judged(records):
    claims = read_claims(list(records.values()))
    assert len(claims) == 6
    assert {claim["verdict"] for claim in claims} == {"INCONCLUSIVE"}, claims
    # nothing failed, and where no generator was held up, the one doubt is the number of rounds
    for claim in claims:
        assert "needs 6 rounds, has 1" in claim["detail"] or "was the bottleneck" in claim["detail"], claim
