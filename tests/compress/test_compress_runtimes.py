from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scalelab.compress import Session, onnx_session, open_session, pin_service
from scalelab.core.errors import ConfigError, DataError

pytestmark = pytest.mark.slow  # the fixture trains and exports a reader


@pytest.fixture(params=["weights_path", "onnx_path", "int8_path"])
def session(made, request):
    return open_session(getattr(made, request.param))


def test_a_session_says_what_it_is(session):
    assert isinstance(session, Session)
    assert session.bytes == session.path.stat().st_size
    runtime = "torch" if session.path.suffix == ".safetensors" else "onnxruntime"
    assert session.name == f"{runtime} {session.path.stem}"


def test_logits_of_a_batch_are_the_logits_of_its_images(session, made):
    together = session.predict(made.images[:5])
    alone = np.concatenate([session.predict(image[None]) for image in made.images[:5]])
    assert together.shape == (5, 6, 10)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=0)


def test_no_images_give_no_rows(session):
    assert session.predict(np.zeros((0, 28, 168), np.uint8)).shape == (0, 6, 10)


def test_memory_that_is_read_only_or_in_another_order_gives_the_same_logits(session, made):
    expected = session.predict(made.images[:4])
    from_socket = np.frombuffer(made.images[:4].tobytes(), np.uint8).reshape(4, 28, 168)
    backwards = made.images[:4][::-1].copy()[::-1]
    assert not from_socket.flags.writeable
    assert not backwards.flags.c_contiguous
    np.testing.assert_array_equal(session.predict(from_socket), expected)
    np.testing.assert_array_equal(session.predict(backwards), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((28, 168), np.uint8), r"\(28, 168\) uint8, wanted \(N, 28, 168\)"),
        (np.zeros((1, 28, 168), np.float32), "float32"),
        (np.zeros((1, 1, 28, 168), np.uint8), r"\(1, 1, 28, 168\)"),
        (b"bytes", "bytes"),
    ],
)
def test_other_shapes_and_types_are_refused(session, images, message):
    with pytest.raises(DataError, match=message):
        session.predict(images)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_a_missing_or_broken_file_is_named(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    with pytest.raises(DataError, match=f"model{suffix}"):
        open_session(path)
    path.write_bytes(b"not a model")
    with pytest.raises(DataError, match=f"model{suffix}"):
        open_session(path)


def test_another_suffix_or_no_thread_is_refused(made):
    with pytest.raises(ConfigError, match=r"reader\.pt"):
        open_session("reader.pt")
    with pytest.raises(ConfigError, match="0 threads"):
        open_session(made.onnx_path, threads=0)


@pytest.mark.parametrize(
    ("takes", "gives"),
    [
        ((TensorProto.FLOAT, ["batch", 28, 168]), (TensorProto.FLOAT, ["batch", 6, 10])),
        ((TensorProto.UINT8, [4, 28, 168]), (TensorProto.FLOAT, [4, 6, 10])),
        ((TensorProto.UINT8, []), (TensorProto.FLOAT, [])),
    ],
    ids=["float images", "a frozen batch", "scalars"],
)
def test_a_graph_of_another_input_or_output_is_no_reader(tmp_path, takes, gives):
    graph = helper.make_graph(
        [helper.make_node("Cast", ["images"], ["logits"], to=TensorProto.FLOAT)],
        "other",
        [helper.make_tensor_value_info("images", *takes)],
        [helper.make_tensor_value_info("logits", *gives)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(DataError, match="is no PIN reader"):
        onnx_session(tmp_path / "other.onnx")


class Saying:
    """A session that reads the given PINs, every digit with the same margin over the nine others."""

    def __init__(self, pins, margin=5.0):
        self.logits = np.zeros((len(pins), 6, 10), np.float32)
        for row, pin in enumerate(pins):
            self.logits[row, np.arange(6), [int(digit) for digit in pin]] = margin

    def predict(self, images):
        return self.logits[: len(images)]


def answers_to(pins, margin=5.0):
    from scalelab.compress import PinService

    return PinService(Saying(pins, margin)).predict_batch(np.zeros((len(pins), 28, 168), np.uint8))


def test_an_existing_pin_comes_with_its_place_and_another_without():
    bengaluru, nowhere = answers_to(["560001", "000007"])
    assert bengaluru["pin"] == "560001"
    assert bengaluru["digits"] == [5, 6, 0, 0, 0, 1]
    assert "bengaluru" in bengaluru["district"].lower() or "bangalore" in bengaluru["district"].lower()
    assert bengaluru["state"]
    assert (nowhere["pin"], nowhere["district"], nowhere["state"]) == ("000007", None, None)


@pytest.mark.parametrize("margin", [0.0, 2.0, 200.0])
def test_confidence_is_the_product_of_the_largest_softmax_values(margin):
    (answer,) = answers_to(["560001"], margin)
    largest = 1 / (1 + 9 * np.exp(-margin))
    assert answer["confidence"] == pytest.approx(largest**6, rel=1e-5)


def test_answers_survive_json_unchanged(made):
    answers = pin_service(str(made.int8_path)).predict_batch(made.images[:9])
    assert len(answers) == 9
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers
    assert all("".join(map(str, answer["digits"])) == answer["pin"] for answer in answers)


def test_answers_are_the_digits_of_the_session(made):
    service = pin_service(str(made.onnx_path))
    digits = onnx_session(made.onnx_path).predict(made.images).argmax(-1)
    assert [answer["digits"] for answer in service.predict_batch(made.images)] == digits.tolist()
    assert service.predict_batch(made.images[:0]) == []


def test_a_worker_with_an_onnx_file_never_imports_torch(made):
    code = (
        "import importlib, sys, numpy\n"
        "service = importlib.import_module('scalelab.compress.runtimes').pin_service(sys.argv[1])\n"
        "assert len(service.predict_batch(numpy.zeros((2, 28, 168), numpy.uint8))) == 2\n"
        "print(sorted({'torch', 'onnx', 'onnxscript'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.int8_path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_package_loads_no_runtime_by_itself():
    code = (
        "import sys, scalelab.compress, scalelab.compress.runtimes\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
