"""LoadGen: its schedule, its log, what it cannot run, and what it makes of models and services."""

import json
import sys

import numpy as np
import pytest

from scalelab.core.errors import ConfigError, DataError, MissingDependency, RunFailed
from scalelab.core.machine import free_port
from scalelab.loadtest import Target, judge, loadgen
from scalelab.loadtest.arrivals import poisson
from scalelab.loadtest.judge import measure_ours
from scalelab.loadtest.loadgen import (
    ModelPlan,
    ServicePlan,
    read_logs,
    run_loadgen,
    schedule,
)

SERVICE = ServicePlan(Target("http://127.0.0.1:1", "/ok"))
FREEZE_S, PERIOD_S = 1.0, 10.0


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


def test_our_arrivals_and_loadgens_follow_one_law():
    theirs_s, ours_s = (
        np.sort(np.diff(times_s)) for times_s in (schedule(500, 20.0, 1)[0], poisson(500, 20.0, seed=1))
    )
    at_s = np.concatenate([theirs_s, ours_s])
    shares = [np.searchsorted(gaps_s, at_s, side="right") / len(gaps_s) for gaps_s in (theirs_s, ours_s)]
    # Kolmogorov and Smirnov: one law in a thousand draws is farther apart
    assert np.abs(shares[0] - shares[1]).max() < 1.95 * np.sqrt(1 / len(theirs_s) + 1 / len(ours_s))


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
        ("offline", {"rate_per_s": 1e6}, "10,000,000 queries"),
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
