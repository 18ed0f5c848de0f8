"""Where and how the numbers of a page came about: machines, revisions, rounds, and each step's method."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scalelab.bench.measured import Measured
from scalelab.bench.spread import NOT_MEASURED
from scalelab.core.machine import machine_key
from scalelab.core.page import csv_table
from scalelab.core.records import RunRecord
from scalelab.core.units import format_bytes


def machine_lines(points: Sequence[Measured]) -> list[str]:
    """Return a line for each machine that the points came from."""
    machines = {machine_key(record.machine): record.machine for record in _all(points)}
    return [_machine(facts) for facts in machines.values()]


def method_section(points: Sequence[Measured]) -> str:
    """Return the section as HTML: the methods in words, a row a point, and the versions."""
    told: dict[str, list[str]] = {}
    for point in points:
        if point.newest.notes.get("method"):
            told.setdefault(str(point.newest.notes["method"]), []).append(point.title)
    words = "".join(
        f"<dt>{html.escape(', '.join(titles[:12]))}{', ...' if len(titles) > 12 else ''}</dt>"
        f"<dd>{html.escape(method)}</dd>"
        for method, titles in list(told.items())[:40]
    )
    header = (
        "step",
        "rounds",
        "when (UTC)",
        "revision",
        "cores busy before",
        "seed",
        "reference [ms]",
        "worker",
    )
    versions = {
        f"{name} {version}"
        for record in _all(points)
        for name, version in record.machine.get("versions", {}).items()
    }
    python = {f"Python {record.machine['python']}" for record in _all(points) if "python" in record.machine}
    return (
        f"<section><h2>Machine and method</h2><dl>{words}</dl>"
        + csv_table("records", header, [_row(point) for point in points])
        + f"<p>{html.escape(', '.join([*sorted(python), *sorted(versions)]))}</p></section>"
    )


def _row(point: Measured) -> tuple[str, ...]:
    newest = point.newest
    busy = newest.notes.get("busy_cores_before")
    times = [time for record in point.rounds for time in record.reference_s]
    reference = NOT_MEASURED
    if times:
        low, high = 1e3 * min(times), 1e3 * max(times)
        reference = f"{1e3 * statistics.median(times):.0f} ({low:.0f}–{high:.0f})"
    return (
        point.title,
        str(len(point.rounds)),
        newest.when.replace("+00:00", "").replace("T", " "),
        newest.git or "no checkout",
        NOT_MEASURED if busy is None else f"{busy:.1f} of {newest.machine.get('cores', '?')}",
        str(newest.seed),
        reference,
        str(newest.run.get("worker") or NOT_MEASURED),
    )


def _all(points: Sequence[Measured]) -> list[RunRecord]:
    return [record for point in points for record in (point.rounds or (point.newest,))]


def _machine(facts: Mapping[str, Any]) -> str:
    flags = ", ".join(facts.get("flags", ())) or "none of note"
    memory = f"{format_bytes(facts['ram_bytes'])} of memory, " if "ram_bytes" in facts else ""
    return (
        f"{facts.get('cpu', 'unknown processor')}, {facts.get('cores', '?')} cores, {memory}"
        f"{facts.get('system', 'unknown system')} on {facts.get('machine', '?')}; instruction sets: {flags}"
    )
