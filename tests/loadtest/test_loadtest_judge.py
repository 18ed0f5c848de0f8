"""LoadGen and we, side by side: what counts as agreement, whose turn it is, and what the command says."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError
from scalelab.core.ratios import estimate_ratio
from scalelab.core.stats import Verdict
from scalelab.loadtest import Target, judge, loadgen, loadgen_child
from scalelab.loadtest.judge import Agreement, Reading, chance, markdown
from scalelab.loadtest.loadgen import LoadgenResult, ModelPlan, ServicePlan

SERVICE = ServicePlan(Target("http://127.0.0.1:1", "/ok"))


def result(**changes):
    values = {
        "scenario": "server", "n": 1000, "p50_s": 0.01, "p90_s": 0.02, "p99_s": 0.03, "qps": 100.0,
        "is_valid": True, "why_invalid": "", "failures": {}, "is_known_schedule": True, "log": "",
    }  # fmt: skip
    return LoadgenResult(**(values | changes))


def agreement(ratios, *, scenario="server", failures=(), limited=0, **changes):
    ratio = judge.ratio_of([0.02 * r for r in ratios], [0.02] * len(ratios))
    rounds = tuple(result(scenario=scenario, **changes) for _ in ratios)
    return Agreement(scenario, ratio, rounds, dict(failures), limited)


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (agreement([0.98, 1.0, 1.01, 1.02, 1.0, 0.99]), Verdict.PASS, "n = 6 rounds"),
        (agreement([1.2, 1.21, 1.22, 1.2, 1.19, 1.2]), Verdict.FAIL, "1.203"),
        (agreement([0.8, 0.81, 0.82, 0.8, 0.79, 0.8]), Verdict.FAIL, "0.803"),
        (agreement([1.0, 1.0, 1.3, 1.3, 1.0, 1.3]), Verdict.INCONCLUSIVE, "more or longer rounds"),
        (agreement([1.0] * 5), Verdict.INCONCLUSIVE, "needs 6 rounds, has 5"),
        (agreement([1.0] * 6, failures={"HTTP 500": 3}), Verdict.INCONCLUSIVE, r"HTTP 500 \(3\)"),
        (agreement([1.0] * 6, limited=2), Verdict.INCONCLUSIVE, "bottleneck in 2 of 12"),
    ],
    ids=["same", "slower", "faster", "wide", "few", "failed", "limited"],
)
def test_agreement_is_the_whole_interval_within_the_limit(found, verdict, said):
    assert found.verdict(0.1) is verdict
    assert re.search(said, found.why(0.1))


def test_a_lower_limit_is_as_far_as_the_upper_one():
    edge = 1 / 1.1 + 1e-6
    assert agreement([edge] * 6).verdict(0.1) is Verdict.PASS
    assert agreement([1 / edge] * 6).verdict(0.1) is Verdict.PASS
    assert agreement([edge - 1e-4] * 6).verdict(0.1) is Verdict.FAIL


def test_the_interval_is_that_of_few_pairs_unless_one_has_no_value():
    ratios = [0.9, 1.0, 1.1, 1.05, 0.95, 1.3]
    assert agreement(ratios).ratio.ratio == estimate_ratio([0.02 * r / 0.02 for r in ratios])
    for odd in (0.0, float("inf"), float("nan")):
        assert agreement([1.0] * 5 + [odd]).verdict(0.1) is Verdict.INCONCLUSIVE


def test_arrivals_of_its_own_are_said():
    assert "arrivals of its own" in agreement([1.0] * 6, is_known_schedule=False).why()
    assert agreement([1.0] * 6, scenario="offline", is_known_schedule=False).has_same_arrivals


def test_the_table_has_both_sides_and_the_metrics_keep_each_round():
    found = agreement([1.0] * 6, is_valid=False, why_invalid="Reduce target QPS")
    assert "| server | p99 | 20.00 ms | 20.00 ms | 1.000 [1.000, 1.000] | 6 x 1,000 |" in markdown([found])
    assert judge.valid_sentence(found) == "INVALID in 6 of 6: Reduce target QPS"
    metrics = {one.name: one for one in found.metrics()}
    assert {"loadgen_server_p99", "ours_server_p99", "ratio_server_p99"} <= set(metrics)
    assert metrics["ratio_server_p99"].n == 6
    json.dumps(found.to_json())


def test_rounds_take_turns_with_the_same_seed_for_both(monkeypatch):
    calls = []

    def theirs(scenario, plan, *, seed, **_):
        calls.append(("loadgen", seed))
        return result(p99_s=0.02)

    def ours(scenario, plan, rate, duration, seed):
        calls.append(("ours", seed))
        return Reading(0.01, {"timeout": 1})

    monkeypatch.setattr(judge, "run_loadgen", theirs)
    monkeypatch.setattr(judge, "measure_ours", ours)
    found = judge.judge("server", SERVICE, rate_per_s=9.0, rounds=3, seed=5)
    assert [who for who, _ in calls] == ["loadgen", "ours", "ours", "loadgen", "loadgen", "ours"]
    assert [seed for _, seed in calls] == [5, 5, 6, 6, 7, 7]
    assert found.ratio.ratio.median == pytest.approx(2.0)
    assert found.failures == {"timeout": 3}


def test_the_rate_of_a_model_in_server_is_that_of_single_samples(monkeypatch, tmp_path):
    (tmp_path / "m.onnx").touch()
    monkeypatch.setattr(
        judge,
        "measure_ours",
        lambda scenario, *_: Reading(0.01 if scenario == "single_stream" else 900.0, {}),
    )
    assert judge.find_rates(ModelPlan(tmp_path / "m.onnx"), 0.5)["server"] == pytest.approx(50)
    rates = judge.find_rates(SERVICE, 0.5)
    assert (rates["server"], rates["offline"]) == (450, 900)
    monkeypatch.setattr(judge, "measure_ours", lambda *_: Reading(0.0, {"HTTP 500": 9}))
    with pytest.raises(ConfigError, match="no good answer"):
        judge.find_rates(SERVICE, 0.5)


def test_senders_without_time_to_spare_leave_it_open(monkeypatch):
    monkeypatch.setattr(judge, "run_loadgen", lambda *_, **__: result(cpu_share=0.95))
    monkeypatch.setattr(judge, "measure_ours", lambda *_: Reading(0.03, {}, is_limited=True))
    found = judge.judge("server", SERVICE, rate_per_s=9.0, rounds=6)
    assert found.verdict() is Verdict.INCONCLUSIVE
    assert "bottleneck in 12 of 12 runs" in found.why()


def test_the_luck_of_other_arrivals_shrinks_with_their_number_and_grows_with_the_load():
    few, many = (chance(0.5, n, trials=40) for n in (400, 6400))
    assert many < 0.6 * few
    assert chance(0.3, 400, trials=40) < few
    with pytest.raises(ConfigError, match="a load of 1"):
        chance(1.0, 100)


# ---- our side of a model


def test_our_open_loop_of_a_model_is_a_queue_with_one_server(monkeypatch):
    clock = SimpleNamespace(now_s=0.0)

    def pass_time(seconds):
        clock.now_s += seconds

    monkeypatch.setattr(
        loadgen_child, "time", SimpleNamespace(perf_counter=lambda: clock.now_s, sleep=pass_time)
    )
    arrivals_s = np.random.default_rng(0).exponential(0.02, 200).cumsum()
    work = SimpleNamespace(predict=lambda _: pass_time(0.015))
    found = loadgen_child.measure_model(work, {"scenario": "server"}, arrivals_s)["latencies_s"]
    free_s, wanted = 0.0, []
    for at_s in arrivals_s:
        free_s = max(free_s, at_s) + 0.015
        wanted.append(free_s - at_s)
    assert max(wanted) > 0.05  # a queue did form
    np.testing.assert_allclose(found, wanted, atol=1e-9)


# ---- the command


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Return a function that runs the command; both instruments say what it is told."""
    (tmp_path / "m.onnx").touch()
    monkeypatch.setattr(judge, "find_rates", lambda *_: dict.fromkeys(loadgen.SCENARIOS, 100.0))

    def run(*words, found=None):
        monkeypatch.setattr(judge, "judge", lambda *_, **__: found)
        words = ("load", "judge", "--model", str(tmp_path / "m.onnx"), *words)
        return CliRunner().invoke(main, words)

    return run


@pytest.mark.parametrize(("ratio", "code"), [(1.02, 0), (1.3, 5), (None, 6)])
def test_the_exit_code_says_whether_they_agree(command, ratio, code):
    found = agreement([ratio] * 6) if ratio else agreement([1.0, 1.0, 1.3, 1.3, 1.0, 1.3])
    shown = command("--scenario", "server", found=found)
    assert shown.exit_code == code, shown.output
    assert "LoadGen says of its server runs: VALID in 6 of 6" in shown.stderr


def test_the_verdict_is_whole_in_a_narrow_terminal(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = command("--scenario", "server", found=agreement([1.0, 1.0, 1.3, 1.3, 1.0, 1.3]))
    assert "INCONCLUSIVE │" in shown.stdout


def test_the_record_of_the_command_keeps_every_round(command, tmp_path):
    from scalelab.core.records import RecordStore

    shown = command("--scenario", "server", "--json", "--record", str(tmp_path / "r.jsonl"),
                    found=agreement([1.0] * 6))  # fmt: skip
    (record,) = RecordStore(tmp_path / "r.jsonl").read()
    assert record.metric("ours_server_p99").n == 6
    assert json.loads(shown.stdout)["server"]["verdict"] == record.notes["server"]["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--url", "http://127.0.0.1:1"), 2, "judge one at a time"),
        (("--scenario", "servers"), 2, "servers"),
        (("--within", "0"), 2, "--within"),
        (("--batch", "0"), 2, "0 as batch"),
    ],
)
def test_a_wrong_command_ends_with_2(command, words, code, said):
    shown = command(*words)
    assert (shown.exit_code, said in shown.stderr) == (code, True), shown.output
