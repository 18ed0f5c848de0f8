import hashlib
from itertools import combinations

import numpy as np
import pytest

from scalelab.core.errors import ConfigError
from scalelab.data import SPLITS, Augmentation, compose_pins, load_digits, load_pins, split_indices
from scalelab.data.augment import disturb_digits, scan

NOTHING = Augmentation(*[0.0] * 10)
GOLDEN = "80863515ef615de6ec8a283e5faacb7f7b67e5f0a3433042d97882f569744c0c"


def test_splits_share_no_digit_image():
    parts = {
        split: {load_digits().images[i].tobytes() for i in split_indices(split).ravel()} for split in SPLITS
    }
    assert [len(part) for part in parts.values()] == [3500, 500, 1000]
    assert all(parts[a].isdisjoint(parts[b]) for a, b in combinations(SPLITS, 2))


def test_splits_use_every_digit_once():
    everything = np.concatenate([split_indices(split).ravel() for split in SPLITS])
    assert sorted(everything.tolist()) == list(range(5000))


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_holds_as_many_digits_of_every_class(split):
    labels = load_digits().labels[split_indices(split)]
    assert (labels == np.arange(10)[:, None]).all()


@pytest.mark.parametrize("split", SPLITS)
def test_undisturbed_images_are_digits_of_their_split_in_the_order_of_the_label(split):
    sample = compose_pins(300, split, seed=3, augmentation=NOTHING)
    own = {load_digits().images[i].tobytes(): c for c in range(10) for i in split_indices(split)[c]}
    for image, label in zip(sample.images, sample.labels, strict=True):
        assert [own[image[:, 28 * i : 28 * i + 28].tobytes()] for i in range(6)] == label.tolist()


def test_every_pin_code_exists():
    labels = compose_pins(400, "train").labels
    pins = ["".join(map(str, label)) for label in labels]
    assert all(pin in load_pins() for pin in pins)
    assert len(set(pins)) > 380  # drawn over all codes, not over a few


def test_shape_and_type_are_the_contract():
    sample = compose_pins(7, "val")
    assert (sample.images.shape, sample.images.dtype) == ((7, 28, 168), np.uint8)
    assert (sample.labels.shape, sample.labels.dtype) == ((7, 6), np.uint8)


def test_a_seed_gives_the_same_bytes_on_every_machine():
    sample = compose_pins(300, "test", seed=1)
    digest = hashlib.sha256(sample.images.tobytes() + sample.labels.tobytes()).hexdigest()
    assert digest == GOLDEN, "published accuracies were taken on other images"


def test_another_seed_gives_other_images():
    assert not np.array_equal(compose_pins(8, "train", 0).images, compose_pins(8, "train", 1).images)


def test_another_split_draws_other_codes_from_the_same_seed():
    assert not np.array_equal(compose_pins(8, "train", 0).labels, compose_pins(8, "test", 0).labels)


def test_ink_is_dark_on_light_paper_after_the_scan():
    sample = compose_pins(64, "train")
    paper, ink = np.percentile(sample.images, [10, 99], axis=(1, 2))
    assert (paper < 60).all()
    assert (ink > 120).all()


@pytest.mark.parametrize(
    "strength",
    [
        {"thicker": 1.0},
        {"thinner": 1.0},
        {"slant": 0.5},
        {"scale": 0.3},
        {"shift": 3.0},
        {"blur": 1.0},
        {"noise": 60.0},
        {"speckle": 0.1},
        {"contrast": 0.6},
        {"paper": 80.0},
    ],
    ids=lambda strength: next(iter(strength)),
)
def test_every_disturbance_changes_the_image(strength):
    plain = compose_pins(4, "train", augmentation=NOTHING)
    disturbed = compose_pins(4, "train", augmentation=Augmentation(**{**vars(NOTHING), **strength}))
    assert not np.array_equal(plain.images, disturbed.images)


def test_a_full_dilation_is_the_maximum_over_a_cross():
    digit = load_digits().images[:1]
    padded = np.pad(digit[0], 1)
    moves = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    wanted = np.max([padded[y : y + 28, x : x + 28] for y, x in moves], axis=0)
    rng = np.random.default_rng(0)
    dilated = disturb_digits(digit, Augmentation(**{**vars(NOTHING), "thicker": 1.0, "thinner": -1.0}), rng)
    np.testing.assert_array_equal(dilated[0], wanted)


def test_a_scan_of_nothing_disturbed_is_the_drawing():
    drawn = np.random.default_rng(0).integers(0, 256, (2, 28, 168)).astype(np.float32)
    np.testing.assert_array_equal(scan(drawn, NOTHING, np.random.default_rng(0)), drawn.astype(np.uint8))


@pytest.mark.parametrize("n", [0, -5])
def test_no_images_are_refused(n):
    with pytest.raises(ConfigError, match=f"{n} images"):
        compose_pins(n)


def test_an_unknown_split_gets_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        compose_pins(1, "tests")
    assert caught.value.hint == "did you mean 'test'?"


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed of -1"):
        compose_pins(1, seed=-1)
