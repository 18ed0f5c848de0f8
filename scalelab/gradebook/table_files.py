"""CSV files: written so that spreadsheets and course systems agree on them, read however they were saved."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.core.page import write_whole
from scalelab.core.table_cells import original_cell, safe_cell

SIZE_LIMIT = 256 * 1024 * 1024
"""bytes of a table that is read"""


@dataclass(frozen=True)
class Row:
    """One line of a table, by the names of its columns."""

    line: int
    """in the file, from 1, as an editor counts"""
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """Return a cell without blanks around it; empty if there is no such column."""
        return self.cells.get(column, "").strip()


@dataclass(frozen=True)
class Table:
    """What a CSV file holds."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...]


def write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, for_excel: bool = False
) -> Path:
    """Write a CSV file, whole or not at all; no cell can become a formula.

    Args:
        for_excel: begin with a byte-order mark if a character is not ASCII, without which Excel takes the
            file for another encoding. Course systems do without.
    """
    into = io.StringIO()
    writer = csv.writer(into, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([_cell(value) for value in row])
    text = into.getvalue()
    return write_whole(path, "\ufeff" + text if for_excel and not text.isascii() else text)


def _cell(value: object) -> object:
    """Return what a cell gets: no formula, no carriage return, which `csv` would let end a line."""
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, str):
        return safe_cell(value.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", ""))
    return value


def read_table(path: Path) -> Table:
    """Read a CSV file as Excel, LibreOffice, Google Sheets or an editor saved it.

    Separated by comma, semicolon or tab; in UTF-8 (with or without byte-order mark), UTF-16 or Windows-1252.

    Raises:
        DataError: no such file, no header, a column twice, or a row with more cells than the header has.
    """
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise DataError(f"{path} is larger than {SIZE_LIMIT:,} bytes", hint="is it the right file?")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of a CSV file"
        ) from None
    text = _decoded(raw).replace("\x00", "")
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    csv.field_size_limit(SIZE_LIMIT)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: tuple[str, ...] = ()
    rows = []
    try:
        for cells in reader:
            if not header:
                header = _header(path, cells)
            elif any(cell.strip() for cell in cells):
                if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns",
                        hint='a text with a comma needs quotes around it: "first, second"',
                    )
                rows.append(Row(reader.line_num, dict(zip(header, map(original_cell, cells), strict=False))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}", hint="save it as CSV once more") from None
    if not header:
        raise DataError(f"{path} is empty", hint="its first line names the columns")
    return Table(path, header, tuple(rows))


def _header(path: Path, cells: Sequence[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in cells)
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise DataError(f"{path} has the column {min(twice)!r} twice", hint="delete or rename one of them")
    return names


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
