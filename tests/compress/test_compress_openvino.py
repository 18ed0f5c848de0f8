"""OpenVINO behind the same face, and NNCF's int8: calibrated, guarded, never half-written."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from scalelab.compress import guard_accuracy, open_session, quantize_openvino
from scalelab.compress.graphs import ModuleSession, check_parity
from scalelab.compress.runtimes import onnx_session, openvino_session, torch_session
from scalelab.core.errors import ConfigError, DataError, MissingDependency
from scalelab.core.stats import Verdict

pytestmark = pytest.mark.slow  # the fixture trains and exports a reader


@pytest.fixture(scope="module")
def int8(made, tmp_path_factory):
    return quantize_openvino(made.onnx_path, tmp_path_factory.mktemp("ov") / "reader-int8.xml", made.images)


def test_openvino_computes_what_torch_computes_at_every_batch_size(made):
    report = check_parity(torch_session(made.weights_path), openvino_session(made.onnx_path), made.images)
    assert report.holds, report
    assert {row.batch for row in report.rows} == {1, 7, 32}


def test_a_module_left_in_training_mode_is_found_out(made):
    model = made.model.train()
    try:
        report = check_parity(openvino_session(made.onnx_path), ModuleSession(model), made.images)
    finally:
        model.eval()
    assert not report.holds
    assert not report.is_batch_free


def test_bfloat16_is_another_arithmetic(made):
    exact, rounded = (
        openvino_session(made.onnx_path, precision=name).predict(made.images)
        for name in ("float32", "bfloat16")
    )
    assert np.isfinite(rounded).all()
    assert (exact.argmax(-1) == rounded.argmax(-1)).mean() > 0.95


def test_logits_stay_after_the_next_call(made):
    session = openvino_session(made.onnx_path)
    first = session.predict(made.images[:3])
    kept = first.copy()
    session.predict(made.images[3:6])
    np.testing.assert_array_equal(first, kept)


def test_int8_by_nncf_is_smaller_and_reads_the_same_digits(made, int8):
    session = open_session(int8.path)
    assert session.name == "openvino reader-int8"
    assert session.bytes == int8.bytes == sum(file.stat().st_size for file in int8.path.parent.iterdir())
    assert int8.ratio == made.onnx_path.stat().st_size / int8.bytes > 3
    assert int8.quantized_layers == 6, "three convolutions, three dense layers"
    assert {file.name for file in int8.path.parent.iterdir()} == {"reader-int8.xml", "reader-int8.bin"}
    labels = onnx_session(made.onnx_path).predict(made.images).argmax(-1)
    guard = guard_accuracy(onnx_session(made.onnx_path), session, made.images, labels, at_most=0.1)
    assert guard.verdict is Verdict.PASS, guard


def test_a_graph_that_is_quantized_or_none_is_refused_and_nothing_is_overwritten(made, tmp_path):
    broken, out = tmp_path / "broken.onnx", tmp_path / "int8.xml"
    broken.write_bytes(b"not a model")
    out.write_text("what was here")
    for source, message in ((made.int8_path, "quantized already"), (broken, r"broken\.onnx is not an ONNX")):
        with pytest.raises(DataError, match=message):
            quantize_openvino(source, out, made.images)
    with pytest.raises(DataError, match="no calibration images"):
        quantize_openvino(made.onnx_path, out, made.images[:0])
    with pytest.raises(ConfigError, match="did you mean 'mixed'"):
        quantize_openvino(made.onnx_path, out, made.images, preset="mixd")
    with pytest.raises(ConfigError, match="is no name for an OpenVINO model"):
        quantize_openvino(made.onnx_path, tmp_path / "int8.onnx", made.images)
    assert out.read_text() == "what was here"
    assert {path.name for path in tmp_path.iterdir()} == {"broken.onnx", "int8.xml"}


def test_a_model_without_its_weights_or_of_another_kind_is_named(made, int8, tmp_path):
    alone = tmp_path / "alone.xml"
    alone.write_bytes(int8.path.read_bytes())
    with pytest.raises(DataError, match=r"alone\.bin is not beside it"):
        openvino_session(alone)
    alone.write_text("not a model")
    alone.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"alone\.xml is not an OpenVINO model"):
        openvino_session(alone)
    with pytest.raises(DataError, match="no model file"):
        openvino_session(tmp_path / "missing.onnx")
    with pytest.raises(ConfigError, match=r"reads \.onnx or \.xml"):
        openvino_session(made.weights_path)


def test_a_device_that_is_not_here_and_a_precision_that_does_not_exist(made):
    with pytest.raises(ConfigError, match="no device 'NPU7'"):
        openvino_session(made.onnx_path, device="NPU7")
    with pytest.raises(ConfigError, match="no precision 'float23'"):
        openvino_session(made.onnx_path, precision="float23")


@pytest.mark.parametrize(
    ("name", "runtime", "message"),
    [
        ("a.onnx", "torch", "torch reads no .onnx file"),
        ("a.safetensors", "openvino", "openvino reads no .safetensors file"),
        ("a.onnx", "openvin", "did you mean 'openvino'"),
    ],
)
def test_a_runtime_that_cannot_open_a_file_is_refused(name, runtime, message):
    with pytest.raises(ConfigError, match=message):
        open_session(name, runtime=runtime)


def test_without_the_package_the_error_says_what_brings_it(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match="openvino"):
        openvino_session(made.onnx_path)


def test_nncf_reports_nothing_to_its_makers(made, tmp_path):
    """Outside of pytest, where NNCF leaves its telemetry off by itself."""
    code = (
        "import sys, numpy, unittest.mock\n"
        "from scalelab.compress import quantize_openvino\n"
        "quantize_openvino(sys.argv[1], sys.argv[2], numpy.zeros((2, 28, 168), numpy.uint8))\n"
        "import nncf.telemetry.wrapper as wrapper\n"
        "print(type(wrapper.telemetry).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.onnx_path), str(tmp_path / "int8.xml")],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.strip() == "MagicMock", done.stdout + done.stderr
