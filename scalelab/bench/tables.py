"""Results as tables of text: what the page, the terminal, a comment and a bundle all show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.bench.quantities import quantity
from scalelab.bench.results import newest_of, rounds_of
from scalelab.bench.spread import NOT_MEASURED, Spread, spread_of
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
    rounds = rounds_of(records)
    suites: dict[str, dict[str, RunRecord]] = {}
    for subject, record in newest_of(records).items():
        suites.setdefault(suite_of(subject), {})[subject] = record
    found: list[Table] = []
    for suite, newest in suites.items():
        mine = {subject: rounds[subject] for subject in newest if subject in rounds}
        found += filter(None, (_bought(suite, newest), _steps(suite, newest, mine)))
        found += _written(newest)
        found += filter(None, (_metrics(suite, mine),))
    return found


def suite_of(subject: str) -> str:
    """Return the suite of a subject; one without a point is its own."""
    return subject.split("/", 1)[0]


def title_of(record: RunRecord) -> str:
    """Return what people call the point."""
    return str(record.notes.get("title") or record.subject.split("/", 1)[-1])


def problem_of(record: RunRecord) -> str:
    """Return why a point failed or was skipped; empty if it is done."""
    return (
        "" if record.status == "done" else str(record.notes.get("error") or record.notes.get("reason") or "")
    )


def _bought(suite: str, newest: Mapping[str, RunRecord]) -> Table | None:
    rows = [
        (title_of(record), str(record.notes["bought"]))
        for record in newest.values()
        if record.notes.get("bought")
    ]
    return (
        Table(_slug(suite, "bought"), "What each step bought", ("step", "what it bought"), tuple(rows))
        if rows
        else None
    )


def _steps(
    suite: str, newest: Mapping[str, RunRecord], rounds: Mapping[str, Sequence[RunRecord]]
) -> Table | None:
    """One row a point, with the columns that any point fills; a point that broke says so."""
    values = {
        subject: {name: spread for name, _ in COLUMNS if (spread := spread_of(found, name))}
        for subject, found in rounds.items()
    }
    columns = [(name, label) for name, label in COLUMNS if any(name in row for row in values.values())]
    is_whole = all(record.status == "done" for record in newest.values())
    if not columns and is_whole:
        return None
    counts = {subject: str(record.notes.get("throughput_of", "")) for subject, record in newest.items()}
    has_counts = any(counts.values())
    header = ["step", *(label for _, label in columns)]
    if has_counts:
        header.append("per second counts")
    if not is_whole:
        header.append("result")
    rows = []
    for subject, record in newest.items():
        row = [title_of(record)]
        row += [_told(values.get(subject, {}).get(name)) for name, _ in columns]
        if has_counts:
            row.append(counts[subject] or NOT_MEASURED)
        if not is_whole:
            row.append(": ".join(filter(None, (record.status, _first_line(problem_of(record))))))
        rows.append(tuple(row))
    return Table(_slug(suite), "Step by step", tuple(header), tuple(rows))


def _metrics(suite: str, rounds: Mapping[str, Sequence[RunRecord]]) -> Table | None:
    header = ("step", "metric", "measured", "n", "of", "median", "low", "high", "unit")
    rows = []
    for found in rounds.values():
        for name in dict.fromkeys(metric.name for record in found for metric in record.metrics):
            spread = spread_of(found, name)
            if spread is None or name.startswith("curve_"):  # a curve's values are places, not tries
                continue
            label, n = quantity(name, spread.unit).label, spread.n
            # one value has no interval: no ends rather than two that look measured
            ends = [f"{end:.6g}" if n > 1 else "" for end in (spread.low, spread.high)]
            median = f"{spread.median:.6g}"
            rows.append(
                (title_of(found[-1]), label, str(spread), str(n), spread.of, median, *ends, spread.unit)
            )
    return Table(_slug(suite, "metrics"), "Every metric", header, tuple(rows)) if rows else None


def _written(newest: Mapping[str, RunRecord]) -> Iterator[Table]:
    """Read the Markdown tables that notebooks left in their notes."""
    for subject, record in newest.items():
        lines = [line.strip() for line in str(record.notes.get("table", "")).splitlines()]
        cells = [_split(line) for line in lines if line.startswith("|")]
        if len(cells) < 2 or len({len(row) for row in cells}) != 1:
            continue  # not a table: its numbers are among the metrics
        yield Table(_slug(subject, "table"), title_of(record), cells[0], tuple(cells[2:]))


def _split(line: str) -> tuple[str, ...]:
    """Cut a line of a Markdown table at the bars that are not escaped."""
    kept = line.strip("|").replace("\\|", "\0")
    return tuple(cell.strip().replace("\0", "|").replace("**", "") for cell in kept.split("|"))


def _told(spread: Spread | None) -> str:
    return NOT_MEASURED if spread is None else spread.text


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _slug(*parts: Any) -> str:
    kept = "-".join(map(str, parts)).lower()
    return "-".join(filter(None, "".join(c if c.isascii() and c.isalnum() else "-" for c in kept).split("-")))


def _cell(text: str) -> str:
    """Keep a cell in its line and column; backslashes first, or they would escape ours."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
