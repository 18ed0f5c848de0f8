from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scalelab.compress import export_onnx, onnx_session, torch_session
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.models import PinReader

pytestmark = pytest.mark.slow  # torch's exporter takes seconds to start


class Tiny(nn.Module):
    """Batch norm and dropout, so that the mode of the model shows in its logits."""

    def __init__(self, outputs: int = 60):
        super().__init__()
        self.norm = nn.BatchNorm1d(28)
        self.dense = nn.Sequential(nn.Dropout(0.5), nn.Linear(28, outputs))

    def forward(self, images):
        rows = self.norm(images.to(torch.float32).mean(2) / 255)
        return self.dense(rows).reshape(-1, 6, self.dense[1].out_features // 6)


class Noisy(Tiny):
    def forward(self, images):
        logits = super().forward(images)
        return logits + torch.rand_like(logits)


@pytest.mark.parametrize("batch", [1, 2, 7, 32, 33])
def test_the_onnx_graph_gives_the_logits_of_torch_at_any_batch(made, batch):
    images = np.random.default_rng(batch).integers(0, 256, (batch, 28, 168), np.uint8)
    expected = torch_session(made.weights_path).predict(images)
    np.testing.assert_allclose(onnx_session(made.onnx_path).predict(images), expected, atol=1e-4, rtol=0)


def test_the_report_tells_what_was_compared_and_written(made):
    report = made.export_report
    assert report.batches == (1, 7, 32)
    assert 0 <= report.max_abs_error <= 1e-4
    assert report.bytes == report.path.stat().st_size


def test_the_file_is_alone_in_its_folder_and_names_no_path_of_this_machine(tmp_path):
    path = export_onnx(PinReader(width=16, channels=(1, 1, 1)), tmp_path / "new" / "tiny.onnx").path
    assert [found.name for found in path.parent.iterdir()] == ["tiny.onnx"]
    assert b".py" not in path.read_bytes()


def test_a_model_in_training_is_exported_as_in_evaluation_and_stays_in_training(tmp_path):
    torch.manual_seed(0)
    model = Tiny().train()
    model.norm.eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 168), np.uint8)
    session = onnx_session(export_onnx(model, tmp_path / "tiny.onnx").path)
    assert (model.training, model.norm.training, model.dense[0].training) == (True, False, True)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.predict(images), expected, atol=1e-4, rtol=0)


def test_a_graph_that_disagrees_leaves_the_good_file_alone(tmp_path):
    path = tmp_path / "reader.onnx"
    path.write_bytes(b"good")
    with pytest.raises(RunFailed, match=r"differs from the model by .*unchanged"):
        export_onnx(Noisy(), path)
    assert path.read_bytes() == b"good"
    assert [found.name for found in tmp_path.iterdir()] == ["reader.onnx"]


class Frozen(Tiny):
    def forward(self, images):
        return super().forward(images).reshape(len(images), 6, 10)


class Branching(Tiny):
    def forward(self, images):
        logits = super().forward(images)
        return logits if images.sum() > 7 else -logits


class Unwritable(Tiny):
    def forward(self, images):
        logits = super().forward(images)
        return logits + torch.special.bessel_j0(logits)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Frozen, "reads no batch of any size"),
        (Branching, "cannot write this model"),
        (Unwritable, r"ONNX has no form of its operator \S*bessel_j0"),
    ],
)
def test_a_model_without_a_graph_of_free_batch_is_refused(tmp_path, model, message):
    with pytest.raises(RunFailed, match=message):
        export_onnx(model(), tmp_path / "reader.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    model = Tiny()
    nn.init.constant_(model.dense[1].bias, float("nan"))
    with pytest.raises(RunFailed, match="differs from the model by nan"):
        export_onnx(model, tmp_path / "nan.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_with_other_logits_is_refused_by_its_shape(tmp_path):
    with pytest.raises(ConfigError, match=r"\(1, 6, 2\)"):
        export_onnx(Tiny(outputs=12), tmp_path / "other.onnx")


@pytest.mark.parametrize("name", ["reader.pt", "reader", "folder.onnx", "file/reader.onnx"])
def test_a_path_that_cannot_become_an_onnx_file_is_refused(tmp_path, name):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=name.split("/")[0]):
        export_onnx(Tiny(), tmp_path / name)


def test_parity_over_no_batches_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="shows nothing"):
        export_onnx(Tiny(), tmp_path / "tiny.onnx", batches=())
