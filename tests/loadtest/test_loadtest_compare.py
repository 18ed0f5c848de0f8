"""Two services under the same load: ratios by pairs, verdicts, and runs that were saved."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.records import RecordStore, RunRecord
from scalelab.core.stats import Verdict
from scalelab.loadtest import LatencyHistogram, LoadResult, Target
from scalelab.loadtest.compare import compare_windows
from scalelab.loadtest.saved import Window, read_windows, record_run, window_of

LONGEST_S = 10.0


def windows(p95_s, *, errors=0.0, throughput=100.0):
    return [Window({"p50": 0.4 * p, "p95": p, "p99": None}, throughput, errors) for p in p95_s]


def noise(n, seed):
    return np.exp(np.random.default_rng(seed).normal(0, 0.02, n))


def compared(factor, n=12, **changes):
    machine = np.exp(np.random.default_rng(9).normal(0, 0.5, n))  # what hits both sides of a pair
    a, b = 0.1 * machine * noise(n, 1), 0.1 * factor * machine * noise(n, 2)
    return compare_windows(windows(a), windows(b, **changes), longest_s=LONGEST_S)


def test_the_ratio_is_that_of_b_over_a_whatever_the_machine_does():
    found = compared(1.3).ratios["p95"]
    assert found.ratio.low <= 1.3 <= found.ratio.high
    assert found.ratio.high - found.ratio.low < 0.1
    assert np.median(found.b_s) > np.median(found.a_s)


@pytest.mark.parametrize(
    ("factor", "wanted"), [(1.0, Verdict.PASS), (1.3, Verdict.FAIL), (1.1, Verdict.INCONCLUSIVE)]
)
def test_the_whole_interval_decides(factor, wanted):
    assert compared(factor).verdict(0.1) is wanted


def test_too_few_pairs_decide_nothing():
    assert compared(3.0, n=4).verdict(0.1) is Verdict.INCONCLUSIVE
    assert compared(3.0, n=5).verdict(0.1) is Verdict.FAIL


def test_more_errors_are_no_better_service():
    assert compared(0.5, errors=0.2).verdict(0.1) is Verdict.FAIL


def test_a_late_generator_fails_nobody():
    a, b = windows([0.1] * 6), windows([0.2] * 6)
    found = compare_windows(a, b, longest_s=LONGEST_S, generator_limited=True)
    assert found.verdict(0.1) is Verdict.INCONCLUSIVE


def test_what_was_never_answered_stands_with_the_limit_and_is_said():
    found = compare_windows(windows([0.1] * 6), windows([math.inf] * 6), longest_s=LONGEST_S)
    assert found.ratios["p95"].ratio.median == pytest.approx(LONGEST_S / 0.1)
    assert found.censored == 12  # p50 and p95 of six windows
    json.dumps(found.to_json(), allow_nan=False)


def test_a_percentile_that_one_window_lacks_is_left_out():
    assert set(compared(1.0).ratios) == {"p50", "p95", "throughput"}


@pytest.mark.parametrize(("a", "b"), [(3, 4), (0, 0)])
def test_unequal_numbers_are_no_pairs(a, b):
    with pytest.raises(ConfigError, match=f"{a} and {b} runs are no pairs"):
        compare_windows(windows([0.1] * a), windows([0.1] * b), longest_s=LONGEST_S)


def run_result(p95_s, rate=100.0, unanswered=0):
    latency = LatencyHistogram(((p95_s, 200 - unanswered),), unanswered)
    return LoadResult(
        mode="open", offered_rate_per_s=rate, users=None, warmup_s=0.0, duration_s=2.0, started_at_s=0.0,
        sent=200, ok=200 - unanswered, rejected=0, errors={"timeout": unanswered} if unanswered else {},
        unanswered=unanswered, throughput_per_s=100.0, latency=latency,
        lag=LatencyHistogram(((0.0, 200),)), generator_cpu_share=0.1, peak_in_flight=1, mean_in_flight=1.0,
    )  # fmt: skip


def save(path, results):
    for result in results:
        RecordStore(path).append(record_run(Target("http://h"), result, arrivals="poisson"))


@pytest.mark.parametrize("unanswered", [0, 40])
def test_a_saved_run_reads_back_as_the_same_window(tmp_path, unanswered):
    result = run_result(0.1, unanswered=unanswered)
    save(tmp_path / "a.jsonl", [result])
    (found,), load = read_windows(tmp_path / "a.jsonl")
    assert found.latency_s == window_of(result).latency_s
    assert found.error_share == pytest.approx(window_of(result).error_share)
    assert load["rate_per_s"] == 100.0


def test_other_records_in_the_file_are_passed_over(tmp_path):
    save(tmp_path / "a.jsonl", [run_result(0.1)])
    RecordStore(tmp_path / "a.jsonl").append(RunRecord("load/knee", {}, ()))
    assert len(read_windows(tmp_path / "a.jsonl")[0]) == 1


def test_runs_of_different_loads_are_not_mixed(tmp_path):
    save(tmp_path / "a.jsonl", [run_result(0.1), run_result(0.1, rate=50.0)])
    with pytest.raises(DataError, match=r"rate_per_s 100\.0 and 50\.0"):
        read_windows(tmp_path / "a.jsonl")


@pytest.mark.parametrize(("factor", "code", "word"), [(1.0, 0, "PASS"), (2.0, 5, "FAIL")])
def test_saved_files_are_compared_on_the_command_line(tmp_path, factor, code, word):
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    save(a, [run_result(0.1 * k) for k in noise(6, 1)])
    save(b, [run_result(0.1 * factor * k) for k in noise(6, 2)])
    words = ["load", "compare", str(a), str(b), "--fail-over", "10%", "--record", str(tmp_path / "c.jsonl")]
    shown = CliRunner().invoke(main, words, env={"COLUMNS": "160"})
    assert (shown.exit_code, word in shown.stderr) == (code, True), shown.output
    assert "not in turn" in shown.stdout
    (record,) = RecordStore(tmp_path / "c.jsonl").read()
    assert record.metric("ratio_p95").n == 6


def test_saved_files_of_different_rates_are_refused(tmp_path):
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    save(a, [run_result(0.1)])
    save(b, [run_result(0.1, rate=50.0)])
    shown = CliRunner().invoke(main, ["load", "compare", str(a), str(b)])
    assert (shown.exit_code, "rate_per_s 100.0" in shown.stderr) == (2, True), shown.output


@pytest.mark.slow
def test_two_paths_of_a_server_are_compared_in_turn(url):
    words = ["load", "compare", f"{url}/slow/10", f"{url}/slow/90", "--method", "GET", "--rate", "60",
             "--pairs", "1", "--window", "1", "--processes", "1", "--json"]  # fmt: skip
    shown = CliRunner().invoke(main, [*words, "--fail-over", "10%"])
    assert shown.exit_code == 6, shown.output  # one pair is no proof
    found = json.loads(shown.stdout)
    assert found["is_interleaved"]
    assert found["ratios"]["p50"]["median"] > 1
    assert found["verdict"] == "INCONCLUSIVE"
