"""What counts of a submitted notebook: the source text of its code cells, and nothing else.

Outputs, tags, points in metadata and submitted check cells do not count; a task's id in the metadata is no
more than a hint. Nothing of a learner's is run or compiled here, and what is read has bounds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scalelab.core.units import format_bytes
from scalelab.grading.lines import first_line

MAX_BYTES = 32 * 1024**2
MAX_VALUES = 5_000_000
"""values in the file's JSON: a plot holds some thousands"""
MAX_CELLS = 2_000
MAX_CODE = 2 * 1024**2
"""characters of all code cells together"""
MAX_NOTES = 10
_NO_NOTEBOOK = {
    b"PK\x03\x04": "a zip archive that is called a notebook; give it the ending .zip",
    b"%PDF": "a PDF; hand in the notebook itself (File > Download)",
    b"<": "a web page; download the notebook itself (on GitHub by the button 'Raw')",
    b"version https://git-lfs": "a pointer of Git LFS; hand in the notebook itself",
}
_AGAIN = "open it in JupyterLab, save it and hand it in again"
_DEFINED = re.compile(
    r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|^(\w+)[ \t]*(?::[^=\n]+)?=(?!=)", re.MULTILINE
)
_CHECK_LINE = re.compile(r"[\w.]+\.check\([^()]*\)|#.*|")


class Refused(Exception):
    """What was handed in is no notebook that can be judged; `reason` says why, and what to do."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class CodeCell:
    """A code cell of a notebook."""

    number: int
    """from 1, counting all cells of the notebook"""
    text: str
    hint: str = ""
    """the task that its metadata names: a hint, which a student can change"""

    @property
    def names(self) -> frozenset[str]:
        """Return what it defines at the top level, as far as its lines show: the code may be broken."""
        return frozenset(found.group(1) or found.group(2) for found in _DEFINED.finditer(self.text))

    @property
    def shown(self) -> str:
        """Return how a report calls it: JupyterLab shows no numbers to find it by."""
        return f"cell {self.number} (`{first_line(self.text)}`)"

    @property
    def is_check(self) -> bool:
        """Tell whether it holds nothing but calls of ``.check(...)`` and comments."""
        lines = [line.strip() for line in self.text.split("\n")]
        return ".check(" in self.text and all(map(_CHECK_LINE.fullmatch, lines))

    @property
    def key(self) -> str:
        """Return the text without what editors change by themselves: line ends and space at the ends."""
        return "\n".join(line.rstrip() for line in self.text.strip().split("\n"))


@dataclass(frozen=True)
class SubmittedNotebook:
    """The code that a student handed in."""

    cells: tuple[CodeCell, ...]
    notes: tuple[str, ...] = ()
    """what was passed over, a sentence each"""


def read_submission(raw: bytes) -> SubmittedNotebook:
    """Read a notebook's code cells.

    Raises:
        Refused: it is no notebook, or larger than any honest one; nothing else, whatever the bytes.
    """
    cells = _cells(_parse(raw))
    if len(cells) > MAX_CELLS:
        raise Refused(
            f"the notebook has {len(cells)} cells, and {MAX_CELLS} is the limit: take out what is too much"
        )
    notes: list[str] = []
    code = list(_code_cells(cells, notes))
    if not any(cell.text.strip() for cell in code):
        raise Refused(f"the notebook has no code cell with code in it ({len(cells)} cells): {_AGAIN}")
    size = sum(len(cell.text) for cell in code)
    if size > MAX_CODE:
        raise Refused(f"its code has {size} characters, and {MAX_CODE} is the limit: load data from files")
    if len(notes) > MAX_NOTES:
        notes[MAX_NOTES:] = [f"and {len(notes) - MAX_NOTES} cells more"]
    return SubmittedNotebook(tuple(code), tuple(notes))


def _parse(raw: bytes) -> Any:
    begin = raw[:400].lstrip()
    if not begin:
        raise Refused("the file is empty: save the notebook and hand it in again")
    if len(raw) > MAX_BYTES:
        raise Refused(
            f"the notebook has {format_bytes(len(raw))}, and {format_bytes(MAX_BYTES)} is the limit: "
            "clear its outputs (Edit > Clear Outputs of All Cells), save it and hand it in again"
        )
    for signature, what in _NO_NOTEBOOK.items():
        if begin.startswith(signature):
            raise Refused(f"the file is {what}")
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Refused(f"the file holds more than {MAX_VALUES} values: clear the notebook's outputs")
    try:
        return json.loads(raw.decode(json.detect_encoding(raw)), parse_int=_small)
    except UnicodeDecodeError as error:
        raise Refused(f"the file is no text: byte {error.start} is not {error.encoding}: {_AGAIN}") from None
    except RecursionError:
        raise Refused(f"the file's JSON is nested too deep: {_AGAIN}") from None
    except json.JSONDecodeError as error:
        raise Refused(f"the file {_damage(error)}: {_AGAIN}") from None
    except ValueError as error:
        raise Refused(f"the file is no notebook ({error}): {_AGAIN}") from None


def _damage(error: json.JSONDecodeError) -> str:
    if error.pos == 0:
        return "is no notebook"
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
        return f"breaks off in line {error.lineno}, as after a download that did not come to its end"
    return f"is damaged in line {error.lineno}"


def _small(digits: str) -> int:
    """Read a whole number; of no use here is one whose reading takes long."""
    return int(digits) if len(digits) < 20 else 0


def _cells(book: Any) -> list[Any]:
    if not isinstance(book, dict):
        raise Refused(f"the file is JSON, but no notebook: a {type(book).__name__} at its top: {_AGAIN}")
    cells = book.get("cells")
    if isinstance(cells, list):
        return cells
    if "worksheets" in book or book.get("nbformat") in (1, 2, 3):
        raise Refused(f"the notebook has the old format {str(book.get('nbformat'))[:9]}: {_AGAIN}")
    raise Refused(f"the notebook has no list of cells: {_AGAIN}")


def _code_cells(cells: list[Any], notes: list[str]) -> Iterator[CodeCell]:
    for number, cell in enumerate(cells, 1):
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        if kind in ("markdown", "raw", "heading") and not _hint(cell):
            continue
        source = cell.get("source") if isinstance(cell, dict) else None
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(kind, str) or not isinstance(source, str):
            notes.append(f"cell {number} is damaged and was passed over")
        elif kind != "code":
            notes.append(f"cell {number} (task {_hint(cell)}) is no code cell, so it was not run")
        else:
            yield CodeCell(number, _text(source), _hint(cell))


def _hint(cell: dict[str, Any]) -> str:
    metadata = cell.get("metadata")
    graded = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(graded, dict) or graded.get("solution") is not True:
        return ""
    name = graded.get("grade_id")
    return name if isinstance(name, str) and re.fullmatch(r"[\w-]{1,100}", name) else ""


def _text(source: str) -> str:
    """Return code with plain line ends and without halves of characters."""
    return source.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
