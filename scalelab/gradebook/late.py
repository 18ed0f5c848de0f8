"""What being late costs, as ``late.csv`` says beside the results: `scalelab course grade` writes it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import DataError
from scalelab.gradebook.table_files import read_table, write_table

FILE = "late.csv"
_HEADER = ("student", "submitted_at", "due", "days_late", "percent_off")


@dataclass(frozen=True)
class Late:
    """One late hand-in."""

    student: str
    submitted_at: str
    due: str
    days_late: int
    percent_off: float
    """share of the points that it costs [%]"""


def write_late(out: Path, found: Iterable[Late]) -> Path:
    """Write the table, one row for each late hand-in; with none, only its header."""
    rows = [tuple(vars(late).values()) for late in found]
    return write_table(out / FILE, _HEADER, rows)


def read_late(out: Path) -> dict[str, float]:
    """Return the share that is off [%], by student; empty if there is no such table.

    Raises:
        DataError: a share is no number from 0 to 100.
    """
    path = out / FILE
    if not path.exists():
        return {}
    shares: dict[str, float] = {}
    for row in read_table(path).rows:
        text = row.get("percent_off").rstrip("% ") or "0"
        try:
            share = float(text.replace(",", "."))
        except ValueError:
            share = math.nan
        if not 0 <= share <= 100:
            raise DataError(
                f"{path}, line {row.line}: percent_off is {text!r}", hint="a number from 0 to 100"
            )
        shares[row.get("student")] = share
    return shares
