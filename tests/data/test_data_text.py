import sysconfig
from pathlib import Path

import numpy as np
import pytest

from scalelab.core.errors import ConfigError
from scalelab.data import ALPHABET, load_text
from scalelab.data.text import decode, encode


def test_the_text_has_the_asked_length_and_only_the_alphabet():
    text = load_text(20_000)
    assert (text.ids.shape, text.ids.dtype) == ((20_000,), np.uint8)
    assert text.ids.max() < len(ALPHABET) == 96


def test_it_is_docstrings_of_the_standard_library():
    text = load_text(5_000)
    home = Path(sysconfig.get_path("stdlib"))
    first_words = decode(text.ids[:15])
    assert first_words in (home / text.modules[0]).read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    assert load_text(5_000, seed=3).sha256 == load_text(5_000, seed=3).sha256
    assert load_text(5_000, seed=3).sha256 != load_text(5_000, seed=4).sha256


def test_a_shorter_text_is_the_begin_of_a_longer_one():
    np.testing.assert_array_equal(load_text(500).ids, load_text(9_000).ids[:500])


def test_no_module_is_in_both_splits():
    train, val = (set(load_text(60_000, split).modules) for split in ("train", "val"))
    assert train
    assert val
    assert not train & val


def test_characters_outside_the_alphabet_become_spaces_or_question_marks():
    assert decode(encode("a\tb\né\x00")) == "a b\n??"


def test_what_the_alphabet_holds_comes_back():
    assert decode(encode(ALPHABET)) == ALPHABET


def test_windows_hold_each_character_but_the_first_once_as_a_target():
    text = load_text(101)
    windows = text.windows(10)
    assert windows.shape == (10, 11)
    np.testing.assert_array_equal(windows[:, 1:].ravel(), text.ids[1:])
    np.testing.assert_array_equal(windows[1:, 0], windows[:-1, -1])


@pytest.mark.parametrize("context", [0, -1, 10])
def test_a_window_that_does_not_fit_is_refused(context):
    with pytest.raises(ConfigError, match="has no window"):
        load_text(10).windows(context)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"split": "trian"}, "trian"), ({"characters": 1}, "1 char"), ({"characters": 10**9}, "asked for 1,0")],
    ids=str,
)
def test_a_text_that_is_not_there_is_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        load_text(**wrong)
