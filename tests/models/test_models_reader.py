import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scalelab.core.errors import ConfigError, DataError
from scalelab.models import PinReader, accuracy, load_reader, save_reader
from scalelab.models.reader import ARCHITECTURE


@pytest.fixture
def reader():
    torch.manual_seed(0)
    return PinReader(width=16, channels=(2, 3, 4)).eval()


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 28, 168), dtype=np.uint8))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_uint8_images_give_float_logits(reader, images, n):
    logits = reader(images[:n])
    assert (logits.shape, logits.dtype) == ((n, 6, 10), torch.float32)


def test_an_image_is_read_the_same_alone_and_in_a_batch(reader, images):
    alone = torch.cat([reader(images[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(reader(images), alone, rtol=1e-5, atol=1e-5)


def test_the_full_reader_is_between_20_and_80_mb_and_mostly_dense():
    model = PinReader()
    dense = sum(p.numel() for p in model.head.parameters())
    total = sum(p.numel() for p in model.parameters())
    assert 20e6 < 4 * total < 80e6
    assert dense / total > 0.9


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"width": -1}, {"channels": (1, 2)}, {"channels": (1, 0, 2)}]
)
def test_a_network_without_units_is_refused(wrong):
    with pytest.raises(ConfigError, match="cannot be built"):
        PinReader(**wrong)


def test_a_saved_reader_comes_back_bit_for_bit(reader, images, tmp_path):
    loaded = load_reader(save_reader(reader, tmp_path / "new" / "reader.safetensors"))
    assert loaded.config == reader.config
    assert not loaded.training
    torch.testing.assert_close(loaded(images), reader(images), rtol=0, atol=0)


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(reader, tmp_path):
    path = tmp_path / "reader.safetensors"
    path.write_text("old")
    save_reader(reader, path)
    assert load_reader(path).config == reader.config
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_beside_it(reader, tmp_path, monkeypatch):
    path = save_reader(reader, tmp_path / "reader.safetensors")
    before = path.read_bytes()
    monkeypatch.setattr("scalelab.models.checkpoint.os.replace", _refuse)
    with pytest.raises(DataError, match="cannot write"):
        save_reader(PinReader(width=8, channels=(1, 1, 1)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_cannot_hold_a_model(reader, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        save_reader(reader, tmp_path / "file" / "reader.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_torn_file_is_refused(reader, tmp_path, share):
    path = save_reader(reader, tmp_path / "reader.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="no safetensors file, or only a part of one"):
        load_reader(path)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError) as caught:
        load_reader(tmp_path / "none.safetensors")
    assert "scalelab train" in caught.value.hint


def test_a_pickle_is_refused(reader, tmp_path):
    torch.save(reader.state_dict(), tmp_path / "reader.safetensors")
    with pytest.raises(DataError, match="no safetensors file"):
        load_reader(tmp_path / "reader.safetensors")


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (None, "something else"),
        ({"architecture": "other/1"}, "other/1"),
        ({"architecture": ARCHITECTURE}, "do not fit"),
        ({"architecture": ARCHITECTURE, "config": "{"}, "do not fit"),
        ({"architecture": ARCHITECTURE, "config": json.dumps({"depth": 3})}, "do not fit"),
        (
            {"architecture": ARCHITECTURE, "config": json.dumps({"width": 32, "channels": [2, 3, 4]})},
            "do not fit",
        ),
    ],
    ids=["no header", "other architecture", "no config", "torn config", "other config", "other width"],
)
def test_weights_of_something_else_are_refused(reader, tmp_path, about, says):
    path = tmp_path / "reader.safetensors"
    save_file(reader.state_dict(), path, about)
    with pytest.raises(DataError, match=says):
        load_reader(path)


def test_accuracy_is_what_counting_one_by_one_gives():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, (200, 6))
    logits = rng.normal(size=(200, 6, 10)) + 4 * np.eye(10)[labels]
    digits = pins = 0
    for n in range(200):
        right = [max(range(10), key=lambda k, p=p: logits[n, p, k]) == labels[n, p] for p in range(6)]
        digits += sum(right)
        pins += all(right)
    score = accuracy(logits, labels)
    assert 0 < pins < 200
    assert (score.digit, score.pin, score.n_pins) == (digits / 1200, pins / 200, 200)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [((0, 6, 10), (0, 6)), ((2, 6, 10), (3, 6)), ((2, 60), (2, 6)), ((2, 5, 10), (2, 6))],
)
def test_shapes_that_do_not_fit_are_not_scored(logits, labels):
    with pytest.raises(DataError, match="cannot be scored"):
        accuracy(np.zeros(logits), np.zeros(labels))


def test_logits_that_are_no_numbers_are_not_scored():
    with pytest.raises(DataError, match="NaN"):
        accuracy(np.full((1, 6, 10), np.nan), np.zeros((1, 6)))


def _refuse(*_):
    raise OSError(28, "No space left on device")
