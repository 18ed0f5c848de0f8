"""What a gate makes of B against A."""

from dataclasses import replace

import pytest
from bench_rounds import results, rounds, times

from scalelab.bench.compare import compare_results
from scalelab.core.errors import ConfigError
from scalelab.core.stats import Verdict


def two_metrics(p50, p95, n=8):
    a, b = rounds(times(n=n)), rounds(times(n=n), "latency_p95")
    both = [replace(x, metrics=(*x.metrics, *y.metrics)) for x, y in zip(a, b, strict=True)]
    c, d = rounds(times(p50, n, shift=3)), rounds(times(p95, n, shift=3), "latency_p95")
    changed = [replace(x, metrics=(*x.metrics, *y.metrics)) for x, y in zip(c, d, strict=True)]
    return compare_results(results(both), results(changed, name="b"))


@pytest.mark.parametrize(
    ("p50", "p95", "limit", "verdict"),
    [
        (1.0, 1.0, 0.1, "PASS"),
        (1.2, 1.0, 0.1, "FAIL"),
        (1.2, 1.0, 0.3, "PASS"),
        (0.5, 0.5, 0.0, "PASS"),
        (1.1, 1.0, 0.1, "INCONCLUSIVE"),
    ],
)
def test_the_gate_fails_only_if_the_whole_interval_is_beyond_the_limit(p50, p95, limit, verdict):
    assert two_metrics(p50, p95).gate(limit).value == verdict


def test_the_gate_judges_what_is_named():
    found = two_metrics(1.2, 1.0)
    assert found.gate(0.1, ["latency_p95"]) is Verdict.PASS
    assert found.gate(0.1, ["latency_p50"]) is Verdict.FAIL


def test_too_few_rounds_pass_no_gate():
    assert two_metrics(1.0, 1.0, n=5).gate(0.1) is Verdict.INCONCLUSIVE


def test_many_gated_metrics_need_stronger_evidence_each():
    """A row that is barely beyond the limit fails alone; one of twenty such could be chance."""
    a = results(*(rounds([1.0] * 8, subject=f"s/{number}") for number in range(20)))
    calm = [rounds(times(), subject=f"s/{number}") for number in range(1, 20)]
    barely = [1.1 + each for each in (0.02, 0.05, 0.01, 0.045, 0.03, 0.04, 0.015, 0.035)]
    b = results(rounds(barely, subject="s/0"), *calm, name="b")
    alone = compare_results(results(rounds([1.0] * 8, subject="s/0")), b)
    assert alone.rows[0].ratio.low > 1.101
    assert alone.gate(0.1) is Verdict.FAIL
    assert compare_results(a, b).gate(0.1) is Verdict.INCONCLUSIVE


def test_a_gate_on_what_nobody_measured_is_refused():
    found = two_metrics(1.0, 1.0)
    with pytest.raises(ConfigError, match="latency_p59") as caught:
        found.gate(0.1, ["latency_p59"])
    assert "did you mean" in caught.value.hint
    with pytest.raises(ConfigError, match="is no limit"):
        found.gate(-0.1)
    sideless = compare_results(results(rounds([1], "ours_p9")), results(rounds([1], "ours_p9"), name="b"))
    with pytest.raises(ConfigError, match="which side of 'ours_p9' is better"):
        sideless.gate(0.1, ["ours_p9"])


def test_errors_where_there_were_none_fail_any_gate():
    a, b = rounds([0] * 6, "errors", "requests"), rounds([2] * 6, "errors", "requests")
    assert compare_results(results(a), results(b, name="b")).gate(0.5, ["errors"]) is Verdict.FAIL


def test_a_rate_cannot_lose_more_than_everything():
    a, b = rounds(times(), "throughput", "1/s"), rounds(times(0.01), "throughput", "1/s")
    found = compare_results(results(a), results(b, name="b"))
    assert (found.gate(0.9), found.gate(1.5)) == (Verdict.FAIL, Verdict.PASS)
