"""What stays of a piece of code when names, layout, comments and numbers are taken away: a set of hashes.

Two answers with a passage in common share hashes; nothing about the code can be read from them. Method: all
runs of K tokens are hashed, and the smallest hash of each window of W neighbours is kept ("winnowing"), so
that every common passage of K + W - 1 tokens is found. Source: S. Schleimer, D. S. Wilkerson, A. Aiken,
"Winnowing: local algorithms for document fingerprinting", SIGMOD 2003.
"""

from __future__ import annotations

import builtins
import hashlib
import keyword
import re
from collections.abc import Iterator

K = 8
"""tokens of one hash: shorter passages say nothing"""
W = 5
"""neighbouring hashes of which one is kept"""
LIMIT = 20_000
"""tokens that are looked at; longer code is machine-made"""
TOKEN = re.compile(
    r"""(?P<space>\s+|\\\n|\#[^\n]*)
      | (?P<text>(?i:[rbuf]{0,2})(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
      | (?P<number>\.?\d[\w.]*)
      | (?P<name>\w+)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_KEPT = {*keyword.kwlist, *dir(builtins)}


def fingerprint(source: str, stub: str = "") -> list[int]:
    """Return the hashes of `source`, sorted, without those of `stub`, which everybody was given.

    Names of the student's own, numbers and texts are alike here, comments and layout are nothing: renaming
    changes no hash. Keywords, builtins and attributes (``torch.softmax``) keep their names. Code that does
    not compile has hashes as well.

    Args:
        source: a student's code of one task.
        stub: the same cells as they were handed out.

    Returns:
        whole numbers under 2**48; none if the code is shorter than K tokens.
    """
    given = set(_hashes(stub)) if stub else set()
    hashes = list(_hashes(source))
    windows = max(len(hashes) - W + 1, 1 if hashes else 0)
    return sorted({min(hashes[start : start + W]) for start in range(windows)} - given)


def _hashes(source: str) -> Iterator[int]:
    tokens = list(_tokens(source))
    for start in range(len(tokens) - K + 1):
        run = "\x00".join(tokens[start : start + K]).encode("utf-8", "replace")
        yield int.from_bytes(hashlib.blake2b(run, digest_size=6).digest(), "big")


def _tokens(source: str) -> Iterator[str]:
    """Yield what is left of the code, token by token, at most LIMIT of them."""
    before = ""
    count = 0
    for match in TOKEN.finditer(source):
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "name" and text not in _KEPT and before != ".":
            text = "name"
        elif kind in ("text", "number"):
            text = f"<{kind}>"
        yield text
        before = text
        count += 1
        if count == LIMIT:
            return
