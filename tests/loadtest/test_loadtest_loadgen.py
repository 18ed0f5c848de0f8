"""LoadGen beside us: its schedule, its log, its failures, and what counts as agreement."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError, DataError, MissingDependency, RunFailed
from scalelab.core.machine import free_port
from scalelab.core.stats import Verdict, paired_ratio
from scalelab.loadtest import Target, judge, loadgen, loadgen_child
from scalelab.loadtest.judge import Agreement, Reading, chance, markdown, measure_ours
from scalelab.loadtest.loadgen import (
    LoadgenResult,
    ModelPlan,
    ServicePlan,
    read_logs,
    run_loadgen,
    schedule,
)

SERVICE = ServicePlan(Target("http://127.0.0.1:1", "/ok"))
FREEZE_S, PERIOD_S = 1.0, 10.0


def result(**changes):
    values = {
        "scenario": "server", "n": 1000, "p50_s": 0.01, "p90_s": 0.02, "p99_s": 0.03, "qps": 100.0,
        "is_valid": True, "why_invalid": "", "failures": {}, "is_known_schedule": True, "log": "",
    }  # fmt: skip
    return LoadgenResult(**(values | changes))


def agreement(ratios, *, scenario="server", failures=(), limited=0, **changes):
    ratio = paired_ratio([0.02 * r for r in ratios], [0.02] * len(ratios))
    rounds = tuple(result(scenario=scenario, **changes) for _ in ratios)
    return Agreement(scenario, ratio, rounds, dict(failures), limited)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A graph of one matrix product; its batch is free."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "eye", ends[:1], ends[1:], [weights]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("model") / "eye.onnx"
    onnx.save(made, path)
    return ModelPlan(path, batch=8)


# ---- the schedule


def test_the_schedule_is_the_one_that_loadgen_logged():
    times_s, next_ns = schedule(300, 2.0, 0)  # of LoadGen 6.0.17's own log, built by GCC
    assert (len(times_s), next_ns) == (595, 2_002_209_811)


@pytest.mark.parametrize(("rate", "duration_s"), [(2000.0, 20.0), (50.0, 400.0)])
def test_the_schedule_is_a_poisson_process(rate, duration_s):
    times_s, _ = schedule(rate, duration_s, 3)
    gaps_s = np.diff(times_s)
    assert times_s[0] == 0
    assert times_s[-2] < duration_s <= times_s[-1]
    n = len(gaps_s)
    assert abs(gaps_s.mean() * rate - 1) < 4 / np.sqrt(n)
    assert abs(gaps_s.std() * rate - 1) < 6 / np.sqrt(n)  # exponential: the spread is the mean
    assert abs((gaps_s > 1 / rate).mean() - np.exp(-1)) < 4 * 0.49 / np.sqrt(n)


def test_a_slow_schedule_still_has_the_least_number_of_queries():
    assert len(schedule(1.0, 1.0, 0)[0]) == loadgen.MIN_QUERIES


def test_rounds_draw_unlike_arrivals():
    assert not np.array_equal(schedule(300, 1.0, 0)[0][:50], schedule(300, 1.0, 1)[0][:50])


# ---- the log


def log(folder, **values):
    lines = [
        ':::MLLOG {"key": "x", "value": 1, "metadata": {"is_error": false}}',
        *(
            ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": {}})
            for key, value in values.items()
        ),
    ]
    (folder / "mlperf_log_detail.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"result_validity": "VALID", "early_stopping_met": True}, ""),
        (
            {"result_validity": "INVALID", "result_invalid_reason": "Reduce target QPS. "},
            "Reduce target QPS.",
        ),
        (
            {
                "result_validity": "INVALID", "result_invalid_reason": "", "early_stopping_met": False,
                "early_stopping_result": " * Run unsuccessful.  * Processed 5 queries.",
            },
            "Early stopping: Run unsuccessful. Processed 5 queries.",
        ),
        ({"result_validity": "INVALID"}, "it gave no reason"),
    ],
)  # fmt: skip
def test_the_reasons_are_loadgens(tmp_path, values, why):
    log(tmp_path, **values)
    assert loadgen._reasons(read_logs(tmp_path)) == why


def test_an_error_in_the_log_is_a_reason(tmp_path):
    log(tmp_path, result_validity="INVALID")
    with (tmp_path / "mlperf_log_detail.txt").open("a") as out:
        out.write('\n:::MLLOG {"key": "error_runtime", "value": "Ran out", "metadata": {"is_error": true}}')
    assert loadgen._reasons(read_logs(tmp_path)) == "Ran out"


@pytest.mark.parametrize("text", [None, "", ':::MLLOG {"key": "result_validity", "val', "no log of ours"])
def test_a_log_without_a_result_is_said(tmp_path, text):
    if text is not None:
        (tmp_path / "mlperf_log_detail.txt").write_text(text)
    with pytest.raises(RunFailed, match="holds no result"):
        read_logs(tmp_path)


# ---- what cannot be run


@pytest.mark.parametrize(
    ("scenario", "values", "said"),
    [
        ("servr", {}, "mean 'server'"),
        ("server", {}, "a rate of 0.0"),
        ("offline", {"rate_per_s": -1.0}, "a rate of -1.0"),
        ("server", {"rate_per_s": 5.0, "bound_p99_s": 0.0}, "a bound of 0.0"),
        ("single_stream", {"duration_s": float("nan")}, "a duration of nan"),
        ("single_stream", {"seed": -1}, "a seed of -1"),
        ("single_stream", {"seed": 2**32}, "a seed of 4294967296"),
    ],
)
def test_a_wrong_call_names_its_value(scenario, values, said):
    with pytest.raises(ConfigError, match=said):
        run_loadgen(scenario, SERVICE, **values)


def test_a_wrong_plan_names_its_value(tmp_path):
    with pytest.raises(DataError, match=r"none\.onnx is no file"):
        ModelPlan(tmp_path / "none.onnx")
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ConfigError, match="0 as threads"):
        ModelPlan(tmp_path / "m.onnx", threads=0)
    with pytest.raises(ConfigError, match="0 connections"):
        ServicePlan(SERVICE.target, connections=0)
    with pytest.raises(ConfigError, match="0 rounds"):
        judge.judge("server", SERVICE, rate_per_s=1.0, rounds=0)


@pytest.mark.parametrize(
    ("machine", "said"), [("aarch64", "no wheel for Linux on ARM"), ("x86_64", "--extras judge|judge]")]
)
def test_without_loadgen_the_error_says_how_to_get_it(monkeypatch, machine, said):
    monkeypatch.setattr("scalelab.core.lazy.importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(loadgen.platform, "system", lambda: "Linux")
    monkeypatch.setattr(loadgen.platform, "machine", lambda: machine)
    with pytest.raises(MissingDependency) as error:
        run_loadgen("single_stream", SERVICE)
    assert any(part in str(error.value) for part in said.split("|"))


# ---- agreement


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (agreement([0.98, 1.0, 1.01, 1.02, 1.0, 0.99]), Verdict.PASS, "n = 6 rounds"),
        (agreement([1.2, 1.21, 1.22, 1.2, 1.19, 1.2]), Verdict.FAIL, "1.200"),
        (agreement([0.8, 0.81, 0.82, 0.8, 0.79, 0.8]), Verdict.FAIL, "0.800"),
        (agreement([1.0, 1.0, 1.3, 1.3, 1.0, 1.3]), Verdict.INCONCLUSIVE, "more or longer rounds"),
        (agreement([1.0] * 5), Verdict.INCONCLUSIVE, "needs 6 rounds, has 5"),
        (agreement([1.0] * 6, failures={"HTTP 500": 3}), Verdict.INCONCLUSIVE, r"HTTP 500 \(3\)"),
        (agreement([1.0] * 6, limited=2), Verdict.INCONCLUSIVE, "bottleneck in 2 of 6"),
    ],
    ids=["same", "slower", "faster", "wide", "few", "failed", "limited"],
)
def test_agreement_is_the_whole_interval_within_the_limit(found, verdict, said):
    import re

    assert found.verdict(0.1) is verdict
    assert re.search(said, found.why(0.1))


def test_a_lower_limit_is_as_far_as_the_upper_one():
    edge = 1 / 1.1 + 1e-6
    assert agreement([edge] * 6).verdict(0.1) is Verdict.PASS
    assert agreement([1 / edge] * 6).verdict(0.1) is Verdict.PASS
    assert agreement([edge - 1e-4] * 6).verdict(0.1) is Verdict.FAIL


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
    monkeypatch.setattr(judge, "find_rate", lambda _: 100.0)

    def run(*words, found=None):
        monkeypatch.setattr(judge, "judge", lambda *_, **__: found)
        words = ("load", "judge", "--model", str(tmp_path / "m.onnx"), *words)
        return CliRunner().invoke(main, words, env={"COLUMNS": "120"})

    return run


@pytest.mark.parametrize(("ratio", "code"), [(1.02, 0), (1.3, 5), (None, 6)])
def test_the_exit_code_says_whether_they_agree(command, ratio, code):
    found = agreement([ratio] * 6) if ratio else agreement([1.0, 1.0, 1.3, 1.3, 1.0, 1.3])
    shown = command("--scenario", "server", found=found)
    assert shown.exit_code == code, shown.output
    assert "LoadGen says of its server runs: VALID in 6 of 6" in shown.stderr


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


# ---- LoadGen itself


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "rate"), [("single_stream", None), ("server", 300.0), ("offline", 800.0)]
)
def test_loadgen_drives_a_model(model, scenario, rate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_loadgen(scenario, model, rate_per_s=rate, duration_s=1.0, seed=7, bound_p99_s=5.0)
    ours = measure_ours(scenario, model, rate or 1.0, 0.5, seed=7)
    assert 0 < found.p50_s <= found.p90_s <= found.p99_s
    assert (found.value > 0, ours.value > 0, found.failures) == (True, True, {})
    assert "MLPerf Results Summary" in found.log
    if scenario == "server":
        times_s, _ = schedule(300.0, 1.0, 7)
        assert found.n == pytest.approx(len(times_s), rel=0.5)  # the same law, whatever the library draws
        if sys.platform == "linux":
            assert (found.n, found.is_known_schedule) == (len(times_s), True)
        assert not found.is_valid  # under the 459 that its early stopping wants for p99
        assert "Would need to run at least" in found.why_invalid
    else:
        assert found.n >= loadgen.MIN_QUERIES
    assert list(tmp_path.iterdir()) == []  # its logs do not lie about


@pytest.mark.slow
def test_a_file_that_is_no_model_fails_with_the_last_words(tmp_path):
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(RunFailed, match=r"no result; its last output:[\s\S]*torn\.onnx"):
        run_loadgen("single_stream", ModelPlan(tmp_path / "torn.onnx"), duration_s=0.1)


@pytest.mark.slow
def test_a_service_that_is_not_there_is_said():
    plan = ServicePlan(Target(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(RunFailed, match="nothing answers"):
        run_loadgen("single_stream", plan, duration_s=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "kind"), [("/status/503", "HTTP 503"), ("/never", "timeout")])
def test_requests_that_fail_are_counted_and_do_not_hang_it(url, path, kind):
    plan = ServicePlan(Target(url, path), connections=60, timeout_s=0.5)
    found = run_loadgen("server", plan, rate_per_s=100.0, duration_s=1.0)
    assert dict(found.failures) == {kind: found.n}


@pytest.mark.slow
def test_all_scenarios_of_a_service_are_judged(url):
    plan = ServicePlan(Target(url, "/ok"), connections=4)
    found = [judge.judge(s, plan, rate_per_s=100.0, duration_s=1.0, rounds=1) for s in loadgen.SCENARIOS]
    assert [one.failures for one in found] == [{}, {}, {}]
    assert all("needs 6 rounds, has 1" in one.why() or one.limited for one in found)
    # one schedule for both, and each of its requests was answered and counted by both
    assert found[1].rounds[0].n >= loadgen.MIN_QUERIES


@pytest.mark.slow
def test_a_second_in_ten_is_seen_by_both_servers_and_hidden_in_the_single_stream(serve):
    length_s = PERIOD_S + 2 * FREEZE_S  # wherever it begins, a whole freeze lies within
    with serve("--freeze-s", f"{FREEZE_S:g}", "--every-s", f"{PERIOD_S - FREEZE_S:g}") as url:
        plan = ServicePlan(Target(url, "/ok"))
        theirs = run_loadgen("server", plan, rate_per_s=200.0, duration_s=length_s, bound_p99_s=0.2)
        ours = measure_ours("server", plan, 200.0, length_s)
        single = run_loadgen("single_stream", plan, duration_s=length_s)
    # of twelve seconds one is frozen: the last per cent of all arrivals waited for nearly all of it
    least_s = FREEZE_S - 0.02 * length_s
    assert theirs.p99_s > least_s
    assert ours.value > least_s
    assert not theirs.is_valid
    assert "Reduce target QPS" in theirs.why_invalid
    # the single stream met the freeze with one query, and LoadGen calls its run valid
    assert single.p99_s < 0.5 * least_s
    assert single.is_valid
