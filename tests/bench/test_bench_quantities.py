"""Which side of a metric is better, and what another machine makes of it."""

import pytest

from scalelab.bench.quantities import quantity


@pytest.mark.parametrize(
    ("name", "unit", "better", "scale"),
    [
        ("latency_p95", "s", "lower", "time"),
        ("train_time", "s", "lower", "time"),
        ("throughput", "1/s", "higher", "rate"),
        ("peak_memory", "B", "lower", "machine"),
        ("inr_per_million", "INR", "lower", "time"),
        ("digit_accuracy", "share", "higher", "none"),
        ("top1_agreement_int8", "share", "higher", "none"),
        ("digits_lost", "share", "lower", "none"),
        ("max_abs_error_fp16", "1", "lower", "none"),
        ("model_bytes", "B", "lower", "none"),
        ("lost_worker", "requests", "lower", "none"),
        ("errors", "requests", "lower", "none"),
        ("speedup_batch_32", "1", "higher", "machine"),
        ("engines_within_limits", "1", "higher", "none"),
    ],
)
def test_the_better_side_is_known(name, unit, better, scale):
    found = quantity(name, unit)
    assert (found.better, found.scale) == (better, scale)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("loadgen_single_stream_p90", "s"),
        ("ours_p99", "s"),
        ("curve_p95", "s"),
        ("curve_rate", "1/s"),
        ("point_seconds", "s"),
        ("knee_interval", "1/s"),
        ("ddp_ratio", "1"),
        ("latency_n", "1"),
        ("nobody_knows", "furlongs"),
    ],
)
def test_what_has_no_better_side_is_never_judged(name, unit):
    found = quantity(name, unit)
    assert (found.better, found.is_headline) == ("", False)


def test_headlines_are_few_and_each_has_a_better_side():
    names = {
        "latency_p50": "s",
        "query_time_duckdb": "s",
        "latency_p95": "s",
        "throughput": "1/s",
        "pin_accuracy": "share",
    }
    assert all(quantity(name, unit).is_headline for name, unit in names.items())
    assert not any(quantity(name, "s").is_headline for name in ("latency_p99", "recovery", "latency_int8"))
    assert quantity("latency_p95", "s").label == "latency p95"
