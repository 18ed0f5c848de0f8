"""Sixteen bits a weight: the rounding is torch's, the file half as large, the logits nearly the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from scalelab.compress import onnx_session
from scalelab.compress.numbers import store_half
from scalelab.compress.numbers.half import from_bfloat16, to_bfloat16
from scalelab.core.errors import ConfigError, DataError


def test_bfloat16_rounds_as_torch_does():
    import torch

    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    bits[:4] = 0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x80000001  # two ties, overflow to infinity, underflow
    values = bits.view(np.float32)
    values = values[~np.isnan(values)]
    expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(values)), expected)
    assert np.isnan(from_bfloat16(to_bfloat16(np.array([np.nan], np.float32))))


@pytest.mark.slow
@pytest.mark.parametrize(("format", "half_step"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_the_file_is_half_as_large_and_reads_the_same_digits(made, tmp_path, format, half_step):
    report = store_half(made.onnx_path, tmp_path / "half.onnx", format)
    assert report.ratio == made.onnx_path.stat().st_size / report.bytes
    assert report.ratio > 1.9
    assert format == "float16" or report.largest_error <= half_step  # float16 loses more near its subnormals
    before = onnx_session(made.onnx_path).predict(made.images)
    after = onnx_session(report.path).predict(made.images)
    assert np.abs(after - before).max() <= 20 * half_step * np.abs(before).max()
    assert (after.argmax(-1) == before.argmax(-1)).mean() >= 0.99
    assert [found.name for found in tmp_path.iterdir()] == ["half.onnx"]


@pytest.mark.slow
def test_a_weight_beyond_float16_is_named_and_the_good_file_stays(made, tmp_path):
    model = onnx.load(str(made.onnx_path))
    tensor = next(found for found in model.graph.initializer if len(found.dims) > 1)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1e9, tensor.name))
    onnx.save(model, str(tmp_path / "large.onnx"))
    good = tmp_path / "half.onnx"
    good.write_bytes(b"good")
    with pytest.raises(DataError, match=f"{tensor.name}.*float16 has no such number"):
        store_half(tmp_path / "large.onnx", good)
    assert good.read_bytes() == b"good"
    assert store_half(tmp_path / "large.onnx", good, "bfloat16").bytes == good.stat().st_size


@pytest.mark.slow
def test_other_formats_and_files_are_refused(made, tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'float16'"):
        store_half(made.onnx_path, tmp_path / "half.onnx", "float61")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(DataError, match="is not an ONNX model"):
        store_half(tmp_path / "text.onnx", tmp_path / "half.onnx")
    assert [found.name for found in tmp_path.iterdir()] == ["text.onnx"]
