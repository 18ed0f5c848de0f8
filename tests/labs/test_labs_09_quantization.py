"""Lab 09: its oracle against ONNX Runtime, and the effect it is about."""

from __future__ import annotations

import types

import numpy as np
import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
LAB = LabUnderTest("09")


def test_every_meaning_belongs_to_a_wrong_answer():
    meanings = LAB.checks["affine"].judge.__globals__["MEANINGS"]
    tried = {code for _, code in LAB.wrong}
    assert meanings
    assert set(meanings) - tried == set(), "a message that no trial answer shows"


def run_onnx(operator, **inputs):
    """Run one ONNX operator on arrays and numbers; return its outputs."""
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper = onnx.helper
    count = {"DynamicQuantizeLinear": 3}.get(operator, 1)
    outs = [f"out{number}" for number in range(count)]
    node = helper.make_node(operator, list(inputs), outs)
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in inputs.items()}
    ends = [helper.make_tensor_value_info(name, kinds[name], inputs[name].shape) for name in inputs]
    gives = [helper.make_empty_tensor_value_info(out) for out in outs]
    graph = helper.make_graph([node], "one", ends, gives)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.parametrize("seed", range(3))
def test_the_ruler_is_that_of_onnx_runtime_to_one_step(seed, given):
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-2, 2), 3, (40, 7)).astype(np.float32)
    integers, scale, zero = run_onnx("DynamicQuantizeLinear", x=values)
    found = given.scale_and_zero(float(values.min()), float(values.max()))
    assert found == (pytest.approx(float(scale), rel=1e-5), int(zero))
    mine = given.quantize(values, *found)
    assert np.abs(mine.astype(int) - integers).max() <= 1
    assert (mine == integers).mean() > 0.99


def test_halves_and_ends_are_those_of_onnx_runtime_exactly(given):
    values = (np.arange(-900, 900) / 8).astype(np.float32)  # halves of a step of 1/4, and far beyond
    scale, zero = np.float32(0.25), np.uint8(37)
    (wanted,) = run_onnx("QuantizeLinear", x=values, scale=scale, zero=zero)
    mine = given.quantize(values, 0.25, 37)
    np.testing.assert_array_equal(mine, wanted)
    (real,) = run_onnx("DequantizeLinear", q=wanted, scale=scale, zero=zero)
    np.testing.assert_allclose(given.dequantize(mine, 0.25, 37), real)


def test_the_product_is_that_of_onnx_runtime_exactly(given):
    rng = np.random.default_rng(0)
    a, w = rng.integers(0, 256, (5, 300)).astype(np.uint8), rng.integers(-127, 128, (4, 300)).astype(np.int8)
    (wanted,) = run_onnx("MatMulInteger", a=a, b=np.ascontiguousarray(w.T), zero=np.uint8(101))
    np.testing.assert_array_equal(given.integer_product(a, 101, w), wanted)


@pytest.mark.slow
def test_the_broken_twin_reads_worse_and_the_mended_one_does_not(given):
    reader = given.trained_reader()
    images, labels = given.photos(200, "val", seed=11)
    right = {}
    for name, quantize in (("broken", given.common_quantize), ("mended", given.quantize_reader)):
        twin = quantize(reader, given.calibration_stream())
        before, after = given.read_by(reader, twin, images)
        right[name] = (before == labels.numpy()).mean() - (after == labels.numpy()).mean()
    assert right["broken"] > 0.04
    assert abs(right["mended"]) < 0.01
    assert given.keeps_reading(given.quantize_reader)
    assert not given.keeps_reading(given.common_quantize)


@pytest.mark.slow
def test_eight_bits_with_the_wrong_range_lose_more_than_three_with_the_right_one(names):
    images, labels = names["photos"](200, "test", seed=12)
    reader = names["trained_reader"]()
    names |= {"test_images": images, "truth": labels.numpy()}
    good = names["input_ranges"](reader, names["dense_layers"](reader), names["calibration_stream"]())
    wrong = [(low, 200 * high) for low, high in good]
    share = {
        bits: names["right_of"](names["reader_with"](names["rows_of"](bits), names["ruled"](ranges))).mean()
        for bits, ranges in ((3, good), (8, wrong))
    }
    assert share[3] > share[8] + 0.01


def row(width, low, middle, high):
    from scalelab.core.stats import Estimate

    return types.SimpleNamespace(width=width, speedup=Estimate(middle, low, high, 9))


def test_the_crossing_is_where_the_ratio_passes_one_for_good(given):
    rows = [row(32, 0, 0.5, 0), row(64, 0, 1.2, 0), row(128, 0, 0.5, 0), row(256, 0, 2.0, 0)]
    assert given.crossing(rows) == pytest.approx((128 * 256) ** 0.5)
    assert given.crossing(rows[:3]) is None
    assert given.crossing(rows[3:]) == 256


@pytest.mark.slow
def test_int8_is_four_times_smaller_and_its_figure_has_words(names):
    pytest.importorskip("plotly")
    LAB.run_cell("def run_sweep", names)
    names["WIDTHS"] = widths = (32, 64, 256)
    found = names["run_sweep"]()
    wanted = [4 / (1 + 4 / width) for width in widths]  # four bytes of scale for each row of integers
    assert [row["weights smaller"] for row in found.table] == pytest.approx(wanted, abs=0.01)
    assert found.verdict.value in {"PASS", "FAIL", "INCONCLUSIVE"}
    assert found.alt


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "times smaller" in text
