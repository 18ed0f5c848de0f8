"""The question that every engine answers, and the answer of plain Python: slow, and plain to see.

For each airline (by name) and month: how many flights, how many of them never left, how many arrived more
than a quarter of an hour late, the sum of all delays at arrival [min], and how many places they flew to.
All numbers are whole, so that two right answers are equal, not close.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

LATE_MIN = 15


class Row(NamedTuple):
    """One airline in one month."""

    name: str
    month: int
    flights: int
    cancelled: int
    """flights without a delay at departure: they never left"""
    late: int
    delay_min: int
    """sum over the flights that arrived; early ones count negative"""
    places: int


def rows(found: object) -> list[Row]:
    """Return an engine's rows as sorted `Row`s of Python's own numbers."""
    return sorted(Row(str(name), *map(int, numbers)) for name, *numbers in found)  # type: ignore[attr-defined]


def answer(flights: Path, airlines: Path, threads: int = 1) -> list[Row]:
    """Answer the question with a loop over the lines of the files."""
    del threads
    with airlines.open(newline="", encoding="utf-8") as file:
        names = {row["carrier"]: row["name"] for row in csv.DictReader(file)}
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    places: dict[tuple[str, int], set[str]] = defaultdict(set)
    with flights.open(newline="", encoding="utf-8") as file:
        for flight in csv.DictReader(file):
            group = names[flight["carrier"]], int(flight["month"])
            delay = flight["arr_delay"]
            sums[group][0] += 1
            sums[group][1] += flight["dep_delay"] == ""
            sums[group][2] += delay != "" and int(delay) > LATE_MIN
            sums[group][3] += int(delay or 0)
            places[group].add(flight["dest"])
    return rows((*group, *sums[group], len(places[group])) for group in sums)
