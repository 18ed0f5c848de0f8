from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scalelab.compress
from scalelab.compress import compare_accuracy, compare_latency
from scalelab.compress.compare import predict_all
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.stats import paired_ratio

IMAGES = np.random.default_rng(0).integers(0, 256, (600, 28, 168), np.uint8)


class Counting:
    """A session whose logits depend on the image alone, and which keeps the size of every batch."""

    def __init__(self, name, log, size=100):
        self.name, self.path, self.bytes, self.log = name, Path(name), size, log

    def predict(self, images):
        self.log.append((self.name, len(images)))
        return images[:, :6, :10].astype(np.float32)


@pytest.fixture
def log():
    return []


@pytest.fixture
def sessions(log):
    return {"eager": Counting("eager", log, 400), "int8": Counting("int8", log, 100)}


def test_every_session_gets_a_row_at_every_batch_with_itself_as_the_unit(sessions, log):
    seen = []
    rows = compare_latency(
        sessions, IMAGES, baseline="eager", batches=(1, 32), pairs=6, min_block_s=0, on_row=seen.append
    )
    assert [(row.name, row.batch, row.bytes) for row in rows] == [
        ("eager", 1, 400),
        ("int8", 1, 100),
        ("eager", 32, 400),
        ("int8", 32, 100),
    ]
    assert seen == rows
    assert {size for _, size in log} == {1, 32}
    assert all(row.latency_s.n == 6 for row in rows)
    assert all(row.speedup.low <= row.speedup.median <= row.speedup.high for row in rows)
    assert rows[0].speedup.median == rows[0].speedup.low == 1.0
    assert rows[2].images_per_s == 32 / rows[2].latency_s.median


def test_a_speedup_above_one_means_faster_than_the_baseline(sessions, log, monkeypatch):
    seconds = {"eager": 0.3, "int8": 0.1}

    def costs(call):
        call()
        return [seconds[log[-1][0]]] * 6

    monkeypatch.setattr(
        "scalelab.compress.compare.compare_paired", lambda a, b, **_: paired_ratio(costs(a), costs(b))
    )
    _, int8 = compare_latency(sessions, IMAGES, baseline="eager", batches=(1,))
    assert int8.speedup.median == pytest.approx(3)
    assert int8.latency_s.median == pytest.approx(0.1)
    assert int8.images_per_s == pytest.approx(10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "eagr"}, "did you mean 'eager'"),
        ({"batches": (1, 601)}, "601"),
        ({"batches": (0,)}, "0"),
        ({"batches": ()}, "cannot be cut"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(sessions, change, message):
    with pytest.raises(ConfigError, match=message):
        compare_latency(sessions, IMAGES, **{"baseline": "eager", **change})


def test_chunks_bound_the_batch_and_do_not_change_the_logits(sessions, log):
    np.testing.assert_array_equal(predict_all(sessions["int8"], IMAGES), IMAGES[:, :6, :10])
    assert [size for _, size in log] == [250, 250, 100]
    assert predict_all(sessions["int8"], IMAGES[:0]).shape == (0, 6, 10)


def test_accuracy_is_that_of_the_logits_of_each_session(sessions):
    labels = IMAGES[:, :6, :10].argmax(-1)
    labels[:60, 0] = (labels[:60, 0] + 1) % 10
    for name, found in compare_accuracy(sessions, IMAGES, labels).items():
        assert name in sessions
        assert found.pin == pytest.approx(0.9)
        assert found.digit == pytest.approx(1 - 60 / 3600)
        assert found.n_pins == 600


def test_accuracy_of_nothing_or_of_other_labels_is_refused(sessions):
    for images, labels in ((IMAGES[:0], np.zeros((0, 6))), (IMAGES, np.zeros((600, 5)))):
        with pytest.raises(DataError, match="give no accuracy"):
            compare_accuracy(sessions, images, labels)


def test_every_public_name_exists():
    assert len(scalelab.compress.__all__) > 5
    assert all(getattr(scalelab.compress, name) is not None for name in scalelab.compress.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = scalelab.compress.nonsense
