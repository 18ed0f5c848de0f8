"""Lab 11: the effect that it is about."""

from __future__ import annotations

import numpy as np
import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
LAB = LabUnderTest("11")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch's exporter, about its own parts
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture
def faint(given):
    """Photos in light of their own, and their digits."""
    images, digits = given.photos(28, seed=5)
    return given.in_bad_light(images, seed=5), digits


@pytest.fixture(scope="module")
def reader():
    from scalelab.train import trained_reader

    return trained_reader()


def run_with(reader, read):
    """Return a way of reading as a function of arrays."""

    def predict(images):
        with torch.no_grad():
            return read(reader, torch.from_numpy(images)).numpy()

    return predict


def test_the_draft_is_right_alone_and_wrong_in_company(given, reader, faint):
    images, digits = faint
    draft, mended = (run_with(reader, read) for read in (given.draft_read, given.read_photos))
    assert given.digits_right(draft, images, digits, 1) == given.digits_right(mended, images, digits, 1) > 90
    assert given.digits_right(mended, images, digits, 7) > 90
    assert given.digits_right(draft, images, digits, 7) < 50
    assert given.is_batch_free(mended, images, (2, 7, 28))
    assert not given.is_batch_free(draft, images, (2, 7, 28))


def test_parity_of_a_wrong_model_with_itself_holds(given, reader, faint):
    """Which is why the lab asks for a test without a reference."""
    module = given.Reading(reader, given.draft_read).eval()
    worst, passes = given.parity(module, run_with(reader, given.draft_read), faint[0], (1, 7, 28))
    assert passes
    assert worst < 1e-4


def test_batch_norms_in_training_are_worst_for_a_photo_alone(given, reader, faint):
    images, digits = faint
    module = given.with_batch_statistics(given.Reading(reader, given.read_photos).eval())

    def predict(batch):
        with torch.no_grad():
            return module(torch.from_numpy(batch)).numpy()

    assert given.digits_right(predict, images, digits, 1) < given.digits_right(predict, images, digits, 28)
    assert not given.is_batch_free(predict, images, (2, 7, 28))
    assert all(part.running_mean is not None for part in reader.modules() if hasattr(part, "running_mean"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_aha_holds(names, tmp_path):
    pytest.importorskip("plotly")
    names = {**names, "FILES": tmp_path, "COUNT": 56, "copy": __import__("copy")}
    LAB.run_cell("reader = trained_reader()", names)
    names["FILES"] = tmp_path
    LAB.run_cell("def write_files", names)
    names["COUNT"] = 56
    LAB.run_cell("def run_batches", names)
    found = names["run_batches"](seed=8)
    assert found.verdict.value == "PASS", found.detail
    rows = {row["batch"]: row for row in found.table}
    assert rows[7]["draft"] < rows[1]["draft"] - 40
    assert rows[1]["batch statistics"] < rows[32]["batch statistics"]
    assert np.ptp([row["mended"] for row in found.table]) == 0
    assert found.alt


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "in batches of 7" in text
