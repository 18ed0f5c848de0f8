from __future__ import annotations

import numpy as np
import onnx
import pytest

from scalelab.compress import Recipe, onnx_session, quantize_static
from scalelab.core.errors import ConfigError, DataError

pytestmark = pytest.mark.slow  # the fixture trains and exports a reader


def test_int8_is_at_least_three_and_a_half_times_smaller(made):
    report = made.quantize_report
    assert report.ratio >= 3.5
    assert report.ratio == made.onnx_path.stat().st_size / made.int8_path.stat().st_size
    assert report.bytes == made.int8_path.stat().st_size
    assert report.calibration_images == len(made.images)


@pytest.mark.parametrize("layers", ["large", "all", "dense"])
def test_the_chosen_layers_are_quantized_and_no_others(made, tmp_path, layers):
    report = quantize_static(made.onnx_path, tmp_path / "int8.onnx", made.images, Recipe(layers=layers))
    graph = onnx.load(report.path).graph
    dequantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    weights = [weight for weight in made.model.parameters() if weight.ndim > 1]
    sizes = [weight.numel() for weight in weights]
    wanted = [
        layers == "all" or (size >= 0.01 * sum(sizes) and (layers == "large" or weight.ndim == 2))
        for size, weight in zip(sizes, weights, strict=True)
    ]
    assert [node.input[1] in dequantized for node in nodes] == wanted
    assert report.quantized_layers == sum(wanted)
    assert layers == "all" or 0 < sum(wanted) < len(wanted)


def test_int8_reads_nearly_the_same_digits(made):
    digits = onnx_session(made.onnx_path).predict(made.images).argmax(-1)
    int8_digits = onnx_session(made.int8_path).predict(made.images).argmax(-1)
    assert len(np.unique(digits)) > 3, "a model that always says the same would agree with anything"
    assert (digits == int8_digits).mean() >= 0.97


@pytest.mark.parametrize("layers", ["large", "all"])
@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("activation", ["uint8", "int8"])
def test_every_recipe_gives_a_file_close_to_fp32(made, tmp_path, capsys, layers, method, activation):
    recipe = Recipe(layers, method, activation, per_channel=False)
    report = quantize_static(made.onnx_path, tmp_path / "int8.onnx", made.images[:40], recipe)
    expected = onnx_session(made.onnx_path).predict(made.images)
    difference = onnx_session(report.path).predict(made.images) - expected
    assert np.sqrt((difference**2).mean()) < 0.2 * expected.std()
    assert capsys.readouterr().out == ""
    assert [found.name for found in tmp_path.iterdir()] == ["int8.onnx"]


def test_the_same_images_give_the_same_bytes(made, tmp_path):
    again = quantize_static(made.onnx_path, tmp_path / "again.onnx", made.images)
    assert again.path.read_bytes() == made.int8_path.read_bytes()


def test_one_calibration_image_is_enough_to_run(made, tmp_path):
    assert quantize_static(made.onnx_path, tmp_path / "one.onnx", made.images[:1]).calibration_images == 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 28, 168), np.uint8), "no calibration images"),
        (np.zeros((4, 28, 28), np.uint8), r"\(4, 28, 28\)"),
        (np.zeros((4, 28, 168), np.float32), "float32"),
        ([[1, 2]], "list"),
    ],
)
def test_calibration_images_that_cannot_calibrate_are_refused(made, tmp_path, images, message):
    with pytest.raises(DataError, match=message):
        quantize_static(made.onnx_path, tmp_path / "int8.onnx", images)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_no_reader_leaves_the_good_file_alone(made, tmp_path):
    good = tmp_path / "int8.onnx"
    good.write_bytes(b"good")
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(made.onnx_path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is not an ONNX model"):
        quantize_static(torn, good, made.images)
    with pytest.raises(DataError, match="there is no model file"):
        quantize_static(tmp_path / "missing.onnx", good, made.images)
    assert good.read_bytes() == b"good"


def test_an_int8_file_is_not_quantized_again(made, tmp_path):
    with pytest.raises(DataError, match="is quantized already"):
        quantize_static(made.int8_path, tmp_path / "twice.onnx", made.images)


def test_an_unknown_word_in_a_recipe_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'entropy'"):
        Recipe(method="entrophy")
    with pytest.raises(ConfigError, match="did you mean 'uint8'"):
        Recipe(activation="uint88")
    with pytest.raises(ConfigError, match="did you mean 'large'"):
        Recipe(layers="larg")
