"""Text that every machine has: docstrings of the standard library, for a model that learns characters.

The docstrings are part of Python (PSF License Version 2; copyright Python Software Foundation): they are read
where Python is installed and never copied into this package. Another Python version has other docstrings:
`Text.sha256` says which text a number was taken on.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalelab.core.errors import ConfigError, DataError, did_you_mean

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""the 96 characters a model sees; a tab reads as a space, any other character as ``?``"""
LICENCE = "PSF-2.0"
_SPLITS = ("train", "val")
_VAL_SHARE = 8
"""one module in so many is held out for validation, by a hash of its name"""
_LEFT_OUT = ("test", "idlelib", "lib2to3", "turtledemo", "site-packages", "__pycache__", "ensurepip")


@dataclass(frozen=True)
class Text:
    """A piece of text as characters and as numbers."""

    ids: np.ndarray
    """``(characters,) uint8``: places in `ALPHABET`; read-only"""
    modules: tuple[str, ...]
    """files it was read from, below the standard library's folder"""

    @property
    def sha256(self) -> str:
        """Hash of the characters: equal numbers are only to be expected on equal text."""
        return hashlib.sha256(self.ids.tobytes()).hexdigest()

    def windows(self, context: int) -> np.ndarray:
        """Return ``(n, context + 1) int64``: row i holds `context` inputs and, one further, their targets.

        Each character but the first is a target once; a rest too short for a window is left out.

        Raises:
            ConfigError: the text is shorter than one window.
        """
        n = (len(self.ids) - 1) // context if context > 0 else 0
        if n < 1:
            raise ConfigError(
                f"a text of {len(self.ids)} characters has no window of {context} and a next one",
                hint="ask for more text, or a context from 1 up that fits",
            )
        starts = np.arange(n)[:, None] * context
        return self.ids[starts + np.arange(context + 1)].astype(np.int64)


def load_text(characters: int = 200_000, split: str = "train", seed: int = 0) -> Text:
    """Return docstrings of the standard library's modules, the modules in an order drawn from `seed`.

    No module is in both splits. The same on every machine with the same Python version.

    Raises:
        ConfigError: there is no such split, or less text than asked for.
        DataError: this Python came without the sources of its library.
    """
    if split not in _SPLITS:
        raise ConfigError(f"there is no split {split!r}", hint=did_you_mean(split, _SPLITS))
    if characters < 2:
        raise ConfigError(f"a text of {characters} characters teaches nothing", hint="ask for 2 or more")
    names = [name for name in _modules() if (_rank(name, "split") % _VAL_SHARE == 0) == (split == "val")]
    parts, used, found = [], [], 0
    for name in sorted(names, key=lambda name: _rank(name, str(seed))):
        part = _docstrings(name)
        if part:
            parts.append(part)
            used.append(name)
            found += len(part)
        if found >= characters:
            break
    else:
        raise ConfigError(
            f"the {split} split has {found:,} characters, asked for {characters:,}",
            hint=f"ask for at most {found:,}",
        )
    ids = encode("".join(parts)[:characters])
    ids.setflags(write=False)
    return Text(ids, tuple(used))


def encode(text: str) -> np.ndarray:
    """Return the places of the characters in `ALPHABET` as ``(characters,) uint8``."""
    places = np.full(128, ALPHABET.index("?"), dtype=np.uint8)
    places[[ord(c) for c in ALPHABET]] = np.arange(len(ALPHABET))
    places[ord("\t")] = ALPHABET.index(" ")
    return places[np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)]


def decode(ids: np.ndarray) -> str:
    """Return the text of places in `ALPHABET`."""
    return "".join(ALPHABET[i] for i in np.asarray(ids).ravel())


@functools.lru_cache(maxsize=1)
def _modules() -> tuple[str, ...]:
    home = Path(sysconfig.get_path("stdlib"))
    names = [path.relative_to(home) for path in home.rglob("*.py")]
    kept = sorted(
        name.as_posix()
        for name in names
        if not any(part in _LEFT_OUT or part == "tests" for part in name.parts)
    )
    if not kept:
        raise DataError(f"there are no .py files in {home}", hint="use a Python that has its own sources")
    return tuple(kept)


@functools.lru_cache(maxsize=512)
def _docstrings(name: str) -> str:
    """Return all docstrings of one module, in the order of the file, with an empty line after each."""
    source = (Path(sysconfig.get_path("stdlib")) / name).read_bytes()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a few files are templates, or kept broken on purpose
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    nodes.sort(key=lambda node: getattr(node, "lineno", 0))
    return "".join(f"{text.strip()}\n\n" for node in nodes if (text := ast.get_docstring(node)))


def _rank(name: str, salt: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:8], "big")
