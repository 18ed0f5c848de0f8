"""The sweep: two graphs of one product, and the width from which the integers are faster."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from scalelab.compress.numbers import smallest_that_pays, sweep_widths
from scalelab.compress.numbers.affine import affine_of
from scalelab.compress.numbers.threshold import dense_graphs, int8_instructions
from scalelab.core.errors import ConfigError
from scalelab.core.stats import Verdict, compare_paired, paired_ratio

RNG = np.random.default_rng(0)


def test_the_int8_graph_computes_the_product_by_integers_alone():
    weights, x = RNG.normal(size=(48, 32)).astype(np.float32), RNG.normal(size=(5, 48)).astype(np.float32)
    fp32, int8 = (
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for model in dense_graphs(weights, x)
    )
    np.testing.assert_allclose(fp32, x @ weights, rtol=1e-4, atol=1e-4)
    kept = affine_of(x, dtype="uint8", symmetric=False).round_trip(x) @ affine_of(weights, axis=1).round_trip(
        weights
    )
    step = affine_of(x @ weights, dtype="uint8", symmetric=False).scale
    assert np.abs(int8 - fp32).max() > 0
    assert np.abs(int8 - kept).max() <= 1.01 * step


def timed(ratio_of):
    """Stand for the clock: the n-th comparison finds the n-th ratio, without noise or with much of it."""
    ratios = iter(ratio_of)

    def compare(a, b):
        assert a().shape == b().shape
        return paired_ratio(next(ratios), [1.0] * 8)

    return compare


@pytest.mark.parametrize(
    ("ratios", "pays", "smallest"),
    [
        ([0.5, 0.9, 1.5, 3.0], "FFPP", 64),
        ([2.0, 0.9, 1.5, 3.0], "PFPP", 64),
        ([0.5, 0.5, 0.5, 0.5], "FFFF", None),
        ([2.0, 2.0, 2.0, 2.0], "PPPP", 16),
    ],
)
def test_the_threshold_is_the_smallest_width_from_which_on_int8_is_faster(ratios, pays, smallest):
    seen = []
    rows = sweep_widths(
        (16, 32, 64, 128), compare=timed([[ratio] * 8 for ratio in ratios]), on_row=seen.append
    )
    assert seen == rows
    assert "".join(row.pays.value[0] for row in rows) == pays
    assert smallest_that_pays(rows[::-1]) == smallest
    assert all(row.fp32_bytes == 4 * row.int8_bytes == 4 * row.width**2 for row in rows)


def test_a_width_whose_interval_holds_one_does_not_count_as_faster():
    rows = sweep_widths((16, 32), compare=timed([[0.8, 1.3] * 4, [2.0] * 8]))
    assert rows[0].pays is Verdict.INCONCLUSIVE
    assert smallest_that_pays(rows) == 32


def test_the_sweep_really_times_both_graphs():
    (row,) = sweep_widths(
        (24,), batch=3, compare=lambda a, b: compare_paired(a, b, pairs=6, min_block_s=0, warmup_s=0)
    )
    assert row.speedup.n == 6
    assert row.speedup.low <= row.speedup.median <= row.speedup.high
    assert min(row.fp32_s, row.int8_s) > 0


def test_instructions_for_bytes_are_named():
    assert int8_instructions(["sse", "avx512_vnni", "amx_int8"]) == ("avx512_vnni", "amx_int8")
    assert int8_instructions([]) == ()


@pytest.mark.parametrize(("widths", "batch"), [((), 1), ((0, 4), 1), ((4,), 0)])
def test_a_sweep_over_nothing_is_refused(widths, batch):
    with pytest.raises(ConfigError, match="cannot be swept"):
        sweep_widths(widths, batch=batch)
