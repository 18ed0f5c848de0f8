"""Parity, the difference of two graphs, and providers that are listed and cannot be used."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from scalelab.compress import onnx_session
from scalelab.compress.graphs import (
    ModuleSession,
    check_parity,
    check_provider,
    check_providers,
    diff_graphs,
    nodes_by_provider,
)
from scalelab.core.errors import ConfigError, DataError
from scalelab.models import PinReader

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 168), np.uint8)
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Reading:
    """Logits that depend on the image alone; `change` spoils them."""

    def __init__(self, change=lambda logits: logits):
        self.change = change

    def predict(self, images):
        return self.change(images[:, :6, :10].astype(np.float32))


def frozen(logits):
    if len(logits) != 1:
        raise RuntimeError("Got invalid dimensions for input\nand a page more")
    return logits


def test_a_session_agrees_with_itself_at_every_batch():
    report = check_parity(Reading(), Reading(), IMAGES)
    assert report.holds
    assert [row.batch for row in report.rows] == [1, 7, 32]
    assert all(row.max_abs_error == 0 and row.same_digits == 1 and not row.problem for row in report.rows)
    assert str(report).startswith("parity holds\n")


@pytest.mark.parametrize(
    ("change", "broken", "message"),
    [
        (frozen, [7, 32], "refused: Got invalid dimensions for input"),
        (lambda logits: logits[:7], [32], r"gives logits \(7, 6, 10\)"),
        (lambda logits: logits + 0.5, [1, 7, 32], "0.5 apart, 100.0% of the digits alike"),
        (lambda logits: logits * np.nan, [1, 7, 32], "inf apart"),
    ],
    ids=["a frozen batch", "a cut batch", "a shift", "NaN"],
)
def test_what_goes_wrong_is_in_the_row_of_its_batch(change, broken, message):
    report = check_parity(Reading(), Reading(change), IMAGES)
    assert not report.holds
    assert [row.batch for row in report.rows if row.problem] == broken
    assert re.search(message, str(report))


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PinReader(width=16, channels=(2, 2, 4), dropout=0.5).eval()


def test_dropout_left_on_is_told_from_batch_statistics(model):
    reference = ModuleSession(model)
    assert check_parity(reference, reference, IMAGES).holds

    dropping = PinReader(**model.config).eval()
    dropping.load_state_dict(model.state_dict())
    dropping.head.train()
    report = check_parity(reference, ModuleSession(dropping), IMAGES)
    assert (report.is_repeatable, report.is_batch_free, report.holds) == (False, True, False)
    assert "is dropout on?" in str(report)

    mixing = PinReader(**model.config).eval()
    mixing.load_state_dict(model.state_dict())
    mixing.stem.train()
    report = check_parity(reference, ModuleSession(mixing), IMAGES)
    assert (report.is_repeatable, report.is_batch_free, report.holds) == (True, False, False)
    assert "depend on its neighbours" in str(report)


def test_parity_needs_images_and_batches():
    for images, batches in ((IMAGES[:7], (1, 7, 32)), (IMAGES, ()), (IMAGES, (0,)), (IMAGES[:1], (1,))):
        with pytest.raises(ConfigError, match="cannot be cut"):
            check_parity(Reading(), Reading(), images, batches=batches)


def write_graph(path, *nodes, weight=np.float32):
    stored = onnx.numpy_helper.from_array(np.zeros((3, 4), weight), "w")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 4]) for name in ("x", nodes[-1].output[0])
    ]
    graph = helper.make_graph(list(nodes), "g", [ends[0]], [ends[1]], [stored])
    onnx.save(helper.make_model(graph), str(path))
    return path


def test_the_difference_names_the_nodes_that_came_and_went_and_the_bytes(tmp_path):
    relu, add = (helper.make_node(op, ["x"], ["y"], name=f"the_{op}") for op in ("Relu", "Identity"))
    more = helper.make_node("Relu", ["y"], ["z"])
    before = write_graph(tmp_path / "before.onnx", relu)
    after = write_graph(tmp_path / "after.onnx", add, more, weight=np.int8)
    diff = diff_graphs(before, after)
    assert diff.ops == {"Identity": (0, 1), "Relu": (1, 1)}
    assert diff.added == ("Identity the_Identity", "Relu z")
    assert diff.removed == ("Relu the_Relu",)
    assert diff.weight_bytes == {"float": (48, 0), "int8": (0, 12)}
    assert not diff.is_same
    assert "Identity" in str(diff)
    assert "2 nodes added, 1 removed" in str(diff)
    assert diff_graphs(before, before).is_same


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_file_that_is_no_graph_is_named(tmp_path, content):
    path = tmp_path / "other.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.onnx"):
        diff_graphs(path, path)


class Runtime:
    """An onnxruntime built for GPUs on a machine that may have none."""

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, ran=CPU, error=None):
        self.ran, self.error = ran, error

    def get_all_providers(self):
        return [CUDA, CPU]

    get_available_providers = get_all_providers

    def InferenceSession(self, model, options, providers):
        if self.error:
            raise RuntimeError(self.error)
        profile = Path(options.profile_file_prefix + ".json")
        profile.write_text(json.dumps([{"cat": "Session"}, {"cat": "Node", "args": {"provider": self.ran}}]))
        session = type("Session", (), {})()
        session.run = lambda outputs, feeds: None
        session.end_profiling = lambda: str(profile)
        return session


def test_a_provider_is_usable_if_it_ran_a_node():
    status = check_provider(CUDA, Runtime(ran=CUDA))
    assert (status.listed, status.usable, status.reason) == (True, True, "")


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        (Runtime(ran=CPU), "listed, but CPUExecutionProvider ran in its place"),
        (Runtime(error="libcudart.so.12: cannot open\nand more"), "it fails: libcudart.so.12: cannot open"),
    ],
    ids=["a silent fall back", "an error"],
)
def test_a_provider_that_is_listed_and_not_usable_says_why(runtime, reason):
    status = check_provider(CUDA, runtime)
    assert (status.listed, status.usable, status.reason) == (True, False, reason)
    assert reason in str(status)


def test_the_cpu_is_usable_here_and_a_provider_that_nobody_built_is_not():
    statuses = {status.name: status for status in check_providers()}
    assert set(statuses) == set(onnxruntime.get_available_providers())
    assert statuses[CPU].usable
    missing = next(p for p in onnxruntime.get_all_providers() if p not in statuses)
    assert check_provider(missing).listed is check_provider(missing).usable is False
    with pytest.raises(ConfigError, match="did you mean 'CUDAExecutionProvider'"):
        check_provider("CUDAExecutionProvidr")


@pytest.mark.slow
def test_every_node_of_the_readers_graph_runs_on_the_cpu(made):
    assert set(nodes_by_provider(made.onnx_path, made.images[:2])) == {CPU}
    with pytest.raises(ConfigError, match="did you mean 'CPUExecutionProvider'"):
        onnx_session(made.onnx_path, provider="CPUExecutionProvidr")


@pytest.mark.slow
def test_a_session_does_not_fall_back_from_a_provider_in_silence(made, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError, match=f"{CUDA} is listed, but cannot be used"):
            onnx_session(made.onnx_path, provider=CUDA)


@pytest.mark.slow
def test_int8_adds_the_pairs_that_mark_integers_and_takes_the_floats(made):
    diff = diff_graphs(made.onnx_path, made.int8_path)
    assert diff.ops["DequantizeLinear"][1] > diff.ops["QuantizeLinear"][1] > 0
    assert diff.ops["Gemm"][0] == diff.ops["Gemm"][1]
    assert diff.weight_bytes["float"][1] < 0.1 * diff.weight_bytes["float"][0]
    assert diff.weight_bytes["int8"][1] > 0.2 * diff.weight_bytes["float"][0]
