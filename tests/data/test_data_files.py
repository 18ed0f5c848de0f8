import shutil

import numpy as np
import pytest

from scalelab.core.errors import DataError
from scalelab.core.paths import shipped
from scalelab.data import load_digits, load_pins, read_manifest, read_verified, verify_all

NAMES = ("digits.npz", "pins.csv.xz", "flights.csv.xz", "airlines.csv.xz", "reader.safetensors")
LOADERS = [("digits.npz", load_digits), ("pins.csv.xz", load_pins)]


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the data folder that a test may spoil."""
    folder = tmp_path / "datasets"
    shutil.copytree(shipped("datasets"), folder)
    monkeypatch.setenv("SCALELAB_DATASETS", str(folder))
    return folder


def test_every_shipped_file_is_what_the_manifest_says():
    assert [file.name for file in verify_all()] == list(NAMES)


def test_every_row_of_the_manifest_names_source_and_licence():
    rows = read_manifest().values()
    assert len(rows) == len(NAMES)
    assert all(row.source and row.licence and row.holds for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named_with_the_way_to_mend_it(copied, name):
    (copied / name).unlink()
    with pytest.raises(DataError, match="is missing") as caught:
        verify_all()
    assert name in caught.value.message
    assert "SCALELAB_DATASETS" in caught.value.hint


def test_in_a_checkout_the_hint_is_a_git_command(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr("scalelab.data.files.shipped", lambda name: tmp_path / name)
    with pytest.raises(DataError) as caught:
        read_manifest()
    assert 'git checkout -- "datasets/manifest.toml"' in caught.value.hint


def test_in_an_installed_package_the_hint_is_to_install_again(tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.data.files.shipped", lambda name: tmp_path / "_files" / name)
    with pytest.raises(DataError) as caught:
        read_manifest()
    assert caught.value.hint.startswith("pip install --force-reinstall")


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_file_is_refused_with_both_sizes(copied, name):
    whole = (copied / name).read_bytes()
    half = whole[: len(whole) // 2]
    (copied / name).write_bytes(half)
    with pytest.raises(DataError, match=f"has {len(half):,} bytes, expected {len(whole):,}"):
        read_verified(name)


@pytest.mark.parametrize(("name", "load"), LOADERS)
def test_one_changed_bit_is_refused(copied, name, load):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(DataError, match="other content"):
        load()


@pytest.mark.parametrize("text", ["", "files = 3", "[files.x]\ncolour = 1", "<<<<<<< HEAD"])
def test_a_spoiled_manifest_is_refused(copied, text):
    (copied / "manifest.toml").write_text(text)
    with pytest.raises(DataError, match="not the manifest"):
        read_verified("digits.npz")


def test_an_unknown_file_gets_a_suggestion():
    with pytest.raises(DataError) as caught:
        read_verified("digit.npz")
    assert caught.value.hint == "did you mean 'digits.npz'?"


def test_there_are_500_digits_of_each_class():
    digits = load_digits()
    assert digits.images.shape == (5000, 28, 28)
    assert digits.images.dtype == np.uint8
    assert np.bincount(digits.labels).tolist() == [500] * 10


def test_nobody_can_change_the_digits_for_others():
    with pytest.raises(ValueError, match="read-only"):
        load_digits().images[0] = 0


def test_a_pin_code_is_found_with_its_place():
    office = load_pins().find("560001")
    assert (office.district, office.state, office.offices) == ("Bengaluru Urban", "Karnataka", 9)


@pytest.mark.parametrize("pin", ["000000", "999999", "", "56000", "560001 ", "abcdef"])
def test_what_is_no_pin_code_is_not_found(pin):
    assert load_pins().find(pin) is None


def test_codes_are_distinct_sorted_and_of_six_digits():
    codes = load_pins().codes
    assert len(codes) == len(load_pins()) == 19_586
    assert (np.diff(codes) > 0).all()
    assert codes.min() >= 100_000
    assert codes.max() <= 999_999
