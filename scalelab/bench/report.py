"""One self-contained page from a folder of results: opens offline, reads and prints without a server."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from scalelab.bench.road import HEADER, Rung, bought_table, read_claims, read_rungs, road_table
from scalelab.bench.road_figures import road_figures
from scalelab.bench.rung_figures import rung_figures
from scalelab.core.errors import DataError
from scalelab.core.lazy import require
from scalelab.core.page import FOLLOW_THEME, figure_section, html_table, page_style, write_whole
from scalelab.core.records import RecordStore, RunRecord
from scalelab.core.units import format_bytes

BUSY_CORES = 0.4
"""from so many busy cores on, before a rung began, the page says so"""


def build_report(folder: Path, *, title: str = "The road, measured on this machine") -> Path:
    """Write ``report.html`` from ``records.jsonl`` in `folder`; return its path.

    Raises:
        DataError: the folder has no records.
    """
    records = RecordStore(folder / "records.jsonl").read()
    if not records:
        raise DataError(f"{folder} has no records", hint="run `scalelab demo` or `scalelab bench run` first")
    rungs = read_rungs(records)
    page = Template(
        resources.files("scalelab.bench").joinpath("page.html").read_text(encoding="utf-8")
    ).substitute(
        title=html.escape(title),
        style=page_style(),
        paint=FOLLOW_THEME,
        plotly=require("plotly.offline", extra="bench").get_plotlyjs(),
        machine=_machine(records[-1]),
        warning=_busy_warning(records),
        bought=html_table(("rung", "what it bought"), bought_table(rungs), kind="prose"),
        road=html_table(HEADER, road_table(rungs)),
        claims=_claims(records),
        problems=_problems(rungs),
        figures="\n".join(
            figure_section(number, figure)
            for number, figure in enumerate([*road_figures(rungs), *rung_figures(records)])
        ),
        method=_method(records),
    )
    return write_whole(folder / "report.html", page)


def _claims(records: Sequence[RunRecord]) -> str:
    claims = read_claims(records)
    if not claims:
        return ""
    rows = "".join(
        f'<tr><td><b class="{html.escape(claim["verdict"].lower())}">{html.escape(claim["verdict"])}</b></td>'
        f"<td>{html.escape(claim['claim'])}</td><td>{html.escape(claim['detail'])}</td></tr>"
        for claim in claims
    )
    return (
        "<section><h2>What was claimed, and what came out</h2>"
        '<div class="scroll"><table class="prose"><thead><tr><th scope="col">verdict</th>'
        '<th scope="col">claim</th><th scope="col">measured</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _problems(rungs: Sequence[Rung]) -> str:
    broken = [rung for rung in rungs if rung.status != "done"]
    if not broken:
        return ""
    items = "".join(
        f"<li><b>{html.escape(rung.title)}</b> {html.escape(rung.status)}"
        f"<pre>{html.escape(rung.problem)}</pre></li>"
        for rung in broken
    )
    return f'<section class="problems"><h2>What did not finish</h2><ul>{items}</ul></section>'


def _machine(record: RunRecord) -> str:
    facts = record.machine
    flags = ", ".join(facts["flags"]) or "none of note"
    return html.escape(
        f"{facts['cpu']}, {facts['cores']} cores, {format_bytes(facts['ram_bytes'])} of memory, "
        f"{facts['system']} on {facts['machine']}, Python {facts['python']}; instruction sets: {flags}"
    )


def _busy(record: RunRecord) -> str:
    busy = record.notes.get("busy_cores_before")
    return "–" if busy is None else f"{busy:.1f} of {record.machine['cores']}"


def _busy_warning(records: Sequence[RunRecord]) -> str:
    """Say at the top of the page if other work ran beside a rung: its rates are then lower bounds."""
    newest = {record.subject: record for record in records}
    disturbed = [
        str(record.notes.get("title", subject))
        for subject, record in newest.items()
        if record.notes.get("busy_cores_before", 0) >= BUSY_CORES
    ]
    if not disturbed:
        return ""
    return (
        '<p class="warning"><b>Other work kept this machine busy</b> when these rungs began: '
        f"{html.escape(', '.join(disturbed))}. Read their rates as lower bounds, or measure again on an idle "
        "machine with <code>scalelab demo --fresh</code>.</p>"
    )


def _method(records: Sequence[RunRecord]) -> str:
    newest = {record.subject: record for record in records}
    versions: dict[str, Any] = dict(records[-1].machine["versions"])
    methods = [
        (str(record.notes.get("title", subject)), str(record.notes["method"]))
        for subject, record in newest.items()
        if record.notes.get("method")
    ]
    rows = [
        (
            subject,
            record.when,
            record.git or "no checkout",
            _busy(record),
            str(record.seed),
        )
        for subject, record in newest.items()
    ]
    return (
        "<dl>"
        + "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in methods)
        + "</dl>"
        + html_table(("record", "when (UTC)", "revision", "cores busy before", "seed"), rows)
        + f"<p>{html.escape(', '.join(f'{name} {version}' for name, version in versions.items()))}</p>"
    )
