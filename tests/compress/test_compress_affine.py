"""Quantization by hand against ONNX Runtime's own operators and quantizer."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from scalelab.compress.numbers import (
    Affine,
    affine_from_range,
    affine_of,
    calibrate,
    integer_matmul,
    rounding_noise,
    signal_to_noise_db,
)
from scalelab.core.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
WEIGHTS = (RNG.normal(size=(6, 5, 3)) * np.arange(1, 7)[:, None, None]).astype(np.float32)
TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def runtime(op, inputs, outputs=("y",), types=(TensorProto.FLOAT,), **attributes):
    """Run one operator of ONNX Runtime on arrays."""
    names = [f"x{index}" for index in range(len(inputs))]
    takes = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, inputs, strict=True)
    ]
    gives = [
        helper.make_tensor_value_info(name, kind, None) for name, kind in zip(outputs, types, strict=True)
    ]
    node = helper.make_node(op, names, list(outputs), **attributes)
    model = helper.make_model(
        helper.make_graph([node], "one", takes, gives),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs, strict=True)))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_integers_and_what_is_left_of_the_values_are_the_runtimes(dtype, symmetric, axis):
    affine = affine_of(WEIGHTS, dtype=dtype, symmetric=symmetric, axis=axis)
    zero = affine.zero_point.astype(dtype)
    along = {} if axis is None else {"axis": axis % 3}
    values = WEIGHTS * 1.5  # some are clipped
    (integers,) = runtime("QuantizeLinear", [values, affine.scale, zero], types=(TYPES[dtype],), **along)
    np.testing.assert_array_equal(affine.quantize(values), integers)
    (kept,) = runtime("DequantizeLinear", [integers, affine.scale, zero], **along)
    np.testing.assert_array_equal(affine.dequantize(integers), kept)


@pytest.mark.parametrize("shift", [-9.0, -0.5, 0.0, 0.5, 9.0])
def test_the_affine_map_of_a_tensor_is_that_of_the_dynamic_operator(shift):
    values = (RNG.normal(size=200) + shift).astype(np.float32)
    types = (TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8)
    integers, scale, zero = runtime("DynamicQuantizeLinear", [values], ("y", "scale", "zero"), types)
    affine = affine_of(values, dtype="uint8", symmetric=False)
    assert affine.scale == pytest.approx(scale, rel=1e-6)
    assert abs(int(affine.zero_point) - int(zero)) <= 1
    assert np.abs(affine.quantize(values).astype(int) - integers).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("values", [WEIGHTS, np.abs(WEIGHTS), -np.abs(WEIGHTS), WEIGHTS * 0])
def test_scale_and_zero_point_are_the_quantizers(dtype, symmetric, values):
    from onnxruntime.quantization.quant_utils import compute_data_quant_params

    zero, scale = compute_data_quant_params(values.ravel(), TYPES[dtype], symmetric)
    affine = affine_of(values, dtype=dtype, symmetric=symmetric)
    assert affine.scale == pytest.approx(float(scale), rel=1e-6)
    assert int(affine.zero_point) == int(zero)


def test_calibration_in_batches_is_calibration_on_all_of_them():
    batches = [RNG.normal(size=(4, 7)).astype(np.float32) for _ in range(5)]
    whole = affine_of(np.concatenate(batches), dtype="uint8", symmetric=False)
    found = calibrate(iter(batches))
    assert (found.scale, found.zero_point) == (whole.scale, whole.zero_point)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_nothing_inside_the_range_moves_by_more_than_half_a_step(dtype, symmetric):
    affine = affine_from_range(-1.7, 4.2, dtype=dtype, symmetric=symmetric)
    inside = np.linspace(-1.7, 4.2, 10_001, dtype=np.float32)
    # where the zero point is rounded, up to half a step at the edge of the range is clipped
    edge = 0 if symmetric and dtype == "int8" else 0.5
    assert np.abs(affine.round_trip(inside) - inside).max() <= (0.5 + edge) * affine.scale * (1 + 1e-3)
    assert affine.round_trip(np.zeros(1, np.float32)) == 0


def test_one_scale_a_channel_keeps_more_of_a_weight_whose_channels_differ():
    whole = signal_to_noise_db(WEIGHTS[0], affine_of(WEIGHTS).round_trip(WEIGHTS)[0])
    channel = signal_to_noise_db(WEIGHTS[0], affine_of(WEIGHTS, axis=0).round_trip(WEIGHTS)[0])
    assert channel > whole + 6


def test_the_error_of_rounding_is_a_twelfth_of_a_squared_step():
    values = RNG.normal(size=100_000).astype(np.float32)
    affine = affine_of(values)
    error = affine.round_trip(values) - values
    # the mean of n squared uniform errors has a relative standard error of sqrt(0.8 / n): 0.3 %
    assert (error**2).mean() == pytest.approx(float(rounding_noise(affine)), rel=0.02)


def test_a_range_that_clips_outliers_has_smaller_steps():
    values = RNG.normal(size=(1, 10_000)).astype(np.float32)
    values[0, 0] = 100
    assert calibrate([values], keep=0.999).scale < 0.1 * calibrate([values]).scale


@pytest.mark.parametrize("axis", [None, 1])
def test_a_product_of_integers_is_the_product_of_what_they_stand_for(axis):
    a, b = RNG.normal(size=(4, 50)).astype(np.float32) + 1, RNG.normal(size=(50, 3)).astype(np.float32)
    a_map, b_map = affine_of(a, dtype="uint8", symmetric=False), affine_of(b, axis=axis)
    q_a, q_b = a_map.quantize(a), b_map.quantize(b)
    product = integer_matmul(q_a, a_map, q_b, b_map)
    np.testing.assert_allclose(product, a_map.dequantize(q_a) @ b_map.dequantize(q_b), rtol=1e-4, atol=1e-4)
    (sums,) = runtime(
        "MatMulInteger", [q_a, q_b, a_map.zero_point.astype(np.uint8)], types=(TensorProto.INT32,)
    )
    np.testing.assert_allclose(product, sums * (a_map.scale * b_map.scale), rtol=1e-6)


def test_infinity_is_clipped_and_a_range_of_nothing_but_zero_works():
    affine = affine_from_range(0, 1)
    assert affine.quantize(np.array([np.inf, -np.inf], np.float32)).tolist() == [255, 0]
    assert affine_from_range(0, 0).round_trip(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert signal_to_noise_db(WEIGHTS, WEIGHTS) == float("inf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibrate([]), "no calibration values"),
        (lambda: calibrate([np.zeros((0, 3))]), "no calibration values"),
        (lambda: calibrate([np.zeros((2, 3)), np.zeros((2, 4))]), r"\(3,\) and of \(4,\)"),
        (lambda: calibrate([np.array([np.nan])]), "NaN"),
        (lambda: affine_of(np.zeros(0)), r"\(0,\) has no range"),
        (lambda: affine_of(np.array(["a"])), "type <U1"),
        (lambda: affine_from_range(2, 1), "no range"),
        (lambda: affine_of(WEIGHTS, axis=0).quantize(WEIGHTS[:2]), "6 scales"),
        (lambda: affine_of(WEIGHTS).quantize(WEIGHTS * np.nan), "NaN"),
    ],
)
def test_data_that_has_no_map_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affine_of(WEIGHTS, dtype="int4"), "int8"),
        (lambda: affine_of(WEIGHTS, axis=3), "no axis 3"),
        (lambda: calibrate([WEIGHTS], keep=0.1), "keeps 0.1"),
        (lambda: Affine(np.float32(0), np.int32(0)), "a step of 0"),
        (lambda: Affine(np.float32(1), np.int32(300)), "zero point 300"),
        (lambda: Affine(np.ones(3), np.zeros(3)), "do not fit axis None"),
        (
            lambda: integer_matmul(WEIGHTS[0], affine_of(WEIGHTS), WEIGHTS[0].T, affine_of(WEIGHTS, axis=0)),
            "do not come out",
        ),
    ],
)
def test_a_map_that_cannot_be_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
