"""Where a submission's code looks into Python's own workings: a place to look, never a verdict.

What the lab's ``inside.py`` sees beside the learner's code can be forged by whoever reaches its frames,
closures or objects. Few exercises need the words for that; so an instructor is shown where they stand. Code
is read as tokens: those are there even where it does not compile, and no nesting is too deep for them. Names
in comments do not count; names in texts do (``getattr(sys, "_get" + "frame")``), as far as they can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scalelab.grader.cells import CodeCell
from scalelab.grading.fingerprints import TOKEN

MOST = 20
"""places that are told of one submission"""
WORDS = frozenset({
    "_getframe", "_getframemodulename", "_current_frames", "currentframe", "getouterframes", "getinnerframes",
    "getclosurevars", "f_back", "f_locals", "f_globals", "tb_frame", "gi_frame", "cr_frame", "ag_frame",
    "__closure__", "cell_contents", "__globals__", "__code__", "__subclasses__",
    "get_objects", "get_referrers", "get_referents", "settrace", "setprofile", "ctypes", "cffi",
})  # fmt: skip
_CALLS = frozenset({"exec", "eval", "compile", "__import__"})
"""as functions of their own: what they run is made elsewhere"""
_MEMBERS = {
    "inspect": {"stack", "trace"},
    "sys": {"monitoring"},
    "scalelab": {"grading", "grader"},
}
"""words that are harmless anywhere else"""


def find_introspection(cells: Iterable[CodeCell]) -> list[str]:
    """Return the places, as ``cell 5, line 3: _getframe``; at most `MOST`, each word once a cell."""
    found = []
    for cell in cells:
        places: dict[str, int] = {}
        for word, line in _words(cell.text):
            places.setdefault(word, line)
        found += [f"cell {cell.number}, line {line}: {word}" for word, line in places.items()]
    return found[:MOST]


def _words(source: str) -> Iterator[tuple[str, int]]:
    """Yield each telling word of some code, with its line."""
    modules = {name: name for name in _MEMBERS}  # by the name that each has here
    last = before_last = imported_from = summed = listed = ""
    line = 1
    for match in TOKEN.finditer(source):
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            line += text.count("\n")
            if "\n" in text and last not in (",", "("):
                imported_from = ""
            continue
        if kind == "text":
            piece = "".join(sign for sign in text.lstrip("rbufRBUF") if sign.isalnum() or sign == "_")
            summed, listed = summed + piece, listed + piece
            for word in WORDS & {piece, piece[::-1], summed, listed}:
                yield word, line
            line += text.count("\n")
        else:
            summed = summed if text == "+" else ""
            listed = listed if text in "+," else ""
        if kind == "name":
            if last == "as" and before_last in modules:
                modules[text] = modules[before_last]
            home = before_last if last == "." else imported_from
            if text in WORDS or text in _MEMBERS.get(modules.get(home, ""), ()):
                yield text, line
            if text == "import":
                imported_from = last
        elif text == "(" and last in _CALLS and before_last not in (".", "def"):
            yield last, line
        last, before_last = text, last
