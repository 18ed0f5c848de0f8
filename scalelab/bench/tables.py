"""Results as tables of text: what the page, the terminal, a comment and a bundle all show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalelab.bench.measured import Measured, read_suites
from scalelab.bench.spread import NOT_MEASURED
from scalelab.core.page import csv_text
from scalelab.core.records import RunRecord


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    name: str
    """of letters, digits and -: of a file, or an anchor"""
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        lines = [self.header, tuple("---" for _ in self.header), *self.rows]
        return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"

    def csv(self) -> str:
        """Return the table as CSV; no cell can become a formula of a spreadsheet."""
        return csv_text(self.header, self.rows)


COLUMNS: tuple[tuple[str, str], ...] = (
    ("digit_accuracy", "digits right"),
    ("pin_accuracy", "PINs right"),
    ("latency_p50", "p50"),
    ("latency_p95", "p95"),
    ("latency_p99", "p99"),
    ("throughput", "throughput"),
    ("peak_memory", "memory"),
    ("model_bytes", "model"),
    ("inr_per_million", "₹ / million"),
    ("usd_per_million", "$ / million"),
)
"""of the first table, as far as any point of a suite measures them"""


def report_tables(records: Sequence[RunRecord]) -> list[Table]:
    """Return every table of these records' page, but for what was claimed and what stayed in doubt.

    For each suite, in the order of their first records: a row a point; what each point bought; the tables
    that notebooks wrote (`notes["table"]`, Markdown); every metric of every point. A value is the median of
    the rounds that `rounds_of` counts, with its 95 % interval and n. The same records give the same text.
    """
    seen: Counter[str] = Counter()
    found = []
    for suite, points in read_suites(records).items():
        for table in suite_tables(suite, points):
            seen[table.name] += 1
            again = f"-{seen[table.name]}" if seen[table.name] > 1 else ""
            found.append(replace(table, name=table.name + again))
    return found


def suite_tables(suite: str, points: Sequence[Measured]) -> list[Table]:
    """Return the tables of one suite: what was bought, a row a point, the notebooks' own, every metric."""
    tables = (_bought(suite, points), _steps(suite, points), *_written(points), _metrics(suite, points))
    return [table for table in tables if table is not None]


def _bought(suite: str, points: Sequence[Measured]) -> Table | None:
    rows = [(p.title, str(p.newest.notes["bought"])) for p in points if p.newest.notes.get("bought")]
    if not rows:
        return None
    return Table(_slug(suite, "bought"), "What each step bought", ("step", "what it bought"), tuple(rows))


def _steps(suite: str, points: Sequence[Measured]) -> Table | None:
    """One row a point, with the columns that any point fills; a point that broke says so."""
    columns = [(name, label) for name, label in COLUMNS if any(name in p.spreads for p in points)]
    is_whole = all(point.is_done for point in points)
    if not columns and is_whole:
        return None
    has_kinds = any(point.kind for point in points)
    header = ["step", *(label for _, label in columns)]
    header += ["per second counts"] if has_kinds else []
    header += [] if is_whole else ["result"]
    rows = []
    for point in points:
        row = [point.title]
        row += [point.spreads[n].text if n in point.spreads else NOT_MEASURED for n, _ in columns]
        row += [point.kind or NOT_MEASURED] if has_kinds else []
        result = point.newest.status + (f": {_first_line(point.problem)}" if point.problem else "")
        row += [] if is_whole else [result]
        rows.append(tuple(row))
    return Table(_slug(suite), "Step by step", tuple(header), tuple(rows))


def _metrics(suite: str, points: Sequence[Measured]) -> Table | None:
    header = ("step", "metric", "measured", "n", "of", "median", "low", "high", "unit")
    rows = []
    for point in points:
        for name, spread in point.spreads.items():
            label, n = name.replace("_", " "), spread.n
            # one value has no interval: no ends rather than two that look measured
            ends = [f"{end:.6g}" if n > 1 else "" for end in (spread.low, spread.high)]
            median = f"{spread.median:.6g}"
            rows.append((point.title, label, str(spread), str(n), spread.of, median, *ends, spread.unit))
    return Table(_slug(suite, "metrics"), "Every metric", header, tuple(rows)) if rows else None


def _written(points: Sequence[Measured]) -> Iterator[Table]:
    """Read the Markdown tables that notebooks left in their notes."""
    for point in points:
        lines = [line.strip() for line in str(point.newest.notes.get("table", "")).splitlines()]
        cells = [_split(line) for line in lines if line.startswith("|")]
        if len(cells) < 2 or len({len(row) for row in cells}) != 1:
            continue  # not a table: its numbers are among the metrics
        yield Table(_slug(point.newest.subject, "table"), point.title, cells[0], tuple(cells[2:]))


def _split(line: str) -> tuple[str, ...]:
    """Cut a line of a Markdown table at the bars that are not escaped."""
    kept = line.strip("|").replace("\\|", "\0")
    return tuple(cell.strip().replace("\0", "|").replace("**", "") for cell in kept.split("|"))


def _first_line(text: str) -> str:
    """Cut what a cell has no room for; the page says all of it under what did not finish."""
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    return line if len(line) <= 100 else line[:99] + "…"


def _slug(*parts: Any) -> str:
    kept = "-".join(map(str, parts)).lower()
    return "-".join(filter(None, "".join(c if c.isascii() and c.isalnum() else "-" for c in kept).split("-")))


def _cell(text: str) -> str:
    """Keep a cell in its line and column; backslashes first, or they would escape ours."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
