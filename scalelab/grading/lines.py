"""The line of the learner's own code that an exception came from."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = Path(__file__).resolve().parents[1]
_LIBRARY = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix)}


@dataclass(frozen=True)
class Line:
    """The deepest line of the learner's own code in a traceback."""

    function: str
    number: int
    text: str
    is_innermost: bool
    """nothing that it called raised the exception"""

    def __str__(self) -> str:
        name = "your cell" if self.function.startswith("<") else f"`{self.function}`"  # <module>, <lambda>
        return f"line {self.number} of {name}" + (f": `{self.text}`" if self.text else "")


def first_line(source: str) -> str:
    """Return how a cell begins, in at most 50 characters: JupyterLab shows no numbers to find it by."""
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return (line if len(line) <= 50 else f"{line[:47]}...").replace("`", "'")


def find_line(error: BaseException, namespace: Mapping[str, Any], *, is_learners: bool) -> Line | None:
    """Return the learner's line in the traceback of `error`; None where the learner's code has no part in it.

    Args:
        namespace: of the learner's notebook.
        is_learners: the exception is known to come out of the learner's function; where no frame is of the
            notebook, the deepest one counts.
    """
    frames = []
    step = error.__traceback__
    while step is not None:
        frames.append(step)
        step = step.tb_next
    mine = [place for place, each in enumerate(frames) if _is_of(each, namespace)]
    if not mine and is_learners and frames:
        mine = [len(frames) - 1]
    if not mine:
        return None
    found = frames[mine[-1]]
    code = found.tb_frame.f_code
    text = linecache.getline(code.co_filename, found.tb_lineno).strip()
    return Line(code.co_name, found.tb_lineno, text, is_innermost=found is frames[-1])


def _is_of(step: TracebackType, namespace: Mapping[str, Any]) -> bool:
    """Tell whether a frame runs the notebook's code, or a file that is neither ours nor a library's."""
    names, file = step.tb_frame.f_globals, step.tb_frame.f_code.co_filename
    if names is namespace:
        return True
    if "__checks__" in names or file.startswith("<frozen"):
        return False
    if names.get("__name__") == "__main__":
        return True
    path = Path(file).resolve()
    is_library = {"site-packages", "dist-packages"} & set(path.parts)
    return not is_library and not any(root in path.parents for root in (_OURS, *_LIBRARY))
