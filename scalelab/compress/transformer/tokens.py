"""Real sentences that every machine has, and the numbers that a transformer reads.

Shape suffixes in this file: N = sentences, T = tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalelab.core.errors import ConfigError, DataError
from scalelab.core.lazy import require

LENGTH = 32
"""tokens of a sentence, the marks at its begin and end included; longer ones are cut"""
_WORDS = (6, 40)
"""fewest and most words of what counts as a sentence"""
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROSE = 0.9
"""least share of letters and spaces: what has less is code, a table or an example"""


@dataclass(frozen=True)
class Tokens:
    """A batch of sentences as a transformer reads them."""

    ids: np.ndarray
    """``(N, T) int64``: places in the vocabulary, filled up with 0"""
    mask: np.ndarray
    """``(N, T) int64``: 1 for a token, 0 for a filler"""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Tokens:
        return Tokens(np.ascontiguousarray(self.ids[rows]), np.ascontiguousarray(self.mask[rows]))


def sentences(n: int, split: str = "train", seed: int = 0) -> list[str]:
    """Return `n` different English sentences from the docstrings of Python's standard library.

    They are read where Python is installed (PSF License Version 2), so another version has others. No module
    is in both splits: measure on ``train``, which has some thousands, and calibrate on ``val``.

    Raises:
        ConfigError: fewer than one, no such split, or more than there are.
    """
    from scalelab.data import load_text
    from scalelab.data.text import decode

    if n < 1:
        raise ConfigError(f"{n} sentences say nothing", hint="ask for 1 or more")
    characters, found = 100_000, list[str]()
    while len(found) < n:
        try:
            text = decode(load_text(characters, split, seed).ids)
        except ConfigError:
            if characters == 100_000:
                raise
            raise ConfigError(
                f"the {split} split has {len(found):,} sentences, asked for {n:,}",
                hint=f"ask for at most {len(found):,}",
            ) from None
        found = split_sentences(text)
        characters = int(1.5 * characters)
    return found[:n]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of docstrings, in order, each once, without examples, tables and fragments."""
    found: dict[str, None] = {}
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _END.split(" ".join(paragraph.split())):
            words = len(sentence.split())
            plain = sum(character.isalpha() or character == " " for character in sentence)
            is_whole = sentence[:1].isupper() and sentence[-1:] in ".!?"
            if _WORDS[0] <= words <= _WORDS[1] and is_whole and plain >= _PROSE * len(sentence):
                found.setdefault(sentence)
    return list(found)


def tokenize(texts: Sequence[str], length: int = LENGTH) -> Tokens:
    """Return the word pieces of `texts`, each cut or filled up to `length` tokens.

    Raises:
        ConfigError: a length that holds no token between the two marks, or beyond the model's 512.
        DataError: no texts.
    """
    if not 3 <= length <= 512:
        raise ConfigError(f"sentences of {length} tokens", hint="give a length from 3 to 512")
    if not texts:
        raise DataError("there are no sentences", hint="give at least one")
    from scalelab.compress.transformer.encoder import model_folder

    tokenizer = require("tokenizers", extra="minilm").Tokenizer.from_file(
        str(model_folder() / "tokenizer.json")
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    encoded = tokenizer.encode_batch(list(texts))
    ids, mask = (
        np.array([getattr(one, name) for one in encoded], np.int64) for name in ("ids", "attention_mask")
    )
    return Tokens(ids, mask)
