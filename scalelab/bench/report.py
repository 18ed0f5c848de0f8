"""One self-contained page from folders of results: opens offline, reads and prints without a server."""

from __future__ import annotations

import html
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from scalelab.bench.compare_text import counted, table_of
from scalelab.bench.doubts import doubts_table
from scalelab.bench.measured import Measured, read_suites
from scalelab.bench.method import machine_lines, method_section
from scalelab.bench.ratio_figure import ratio_figure
from scalelab.bench.results import Results, read_results
from scalelab.bench.road_figures import gain_figure, suite_figures
from scalelab.bench.row import Change
from scalelab.bench.rung_figures import rung_figures
from scalelab.bench.tables import Table, suite_tables
from scalelab.core.lazy import require
from scalelab.core.page import (
    FOLLOW_THEME,
    SHOWN_PROSE,
    Figure,
    csv_link,
    csv_table,
    figure_section,
    page_style,
    write_whole,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from scalelab.bench.compare import Comparison


class Section(NamedTuple):
    """A part of the page that its contents name."""

    name: str
    body: str


def build_report(
    source: Path | Sequence[Path],
    *,
    title: str | None = None,
    comparison: Comparison | None = None,
    out: Path | None = None,
) -> Path:
    """Write the page of a folder of results (or of several) as ``report.html``; return its path.

    It shows the tables of `report_tables`, the figures that the metrics allow, what was claimed, what is not
    certain and why, and the machine. Its size is bounded, however many records there are: of long tables it
    shows the first rows and has all as CSV.

    Args:
        comparison: what to show of these results against a baseline.
        out: the file to write; by default ``report.html`` beside the (first) records.

    Raises:
        DataError: a folder has no records.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    found = [read_results(path) for path in sources]
    suites = [
        (name, results, points) for results in found for name, points in read_suites(results.records).items()
    ]
    title = title or (
        _title(suites[0][0], suites[0][1]) if len(suites) == 1 else "Benchmarks, measured on this machine"
    )
    points = [point for _, _, points in suites for point in points]
    number = _Counter()
    sections = [*_problems(points), *_compared(comparison, number)]
    for name, results, own in suites:
        parts = _suite(name, own, number)
        if len(suites) > 1:
            heading = f'<h2 class="suite">{html.escape(_title(name, results))}</h2>'
            parts = [Section(name, heading + "".join(part.body for part in parts))]
        sections += parts
    damaged = [damage for results in found for damage in results.damaged]
    sections += _doubts(doubts_table(points, damaged, comparison))
    sections.append(Section("Machine and method", method_section(points)))
    template = resources.files("scalelab.bench").joinpath("page.html").read_text(encoding="utf-8")
    page = Template(template).substitute(
        title=html.escape(title),
        style=page_style(),
        plotly=require("plotly.offline", extra="bench").get_plotlyjs(),
        machine="<br>".join(map(html.escape, machine_lines(points))),
        warning=_busy_warning(points),
        contents="".join(
            f'<a href="#s{place}">{html.escape(section.name)}</a>' for place, section in enumerate(sections)
        ),
        sections="\n".join(
            f'<div id="s{place}">{section.body}</div>' for place, section in enumerate(sections)
        ),
        paint=FOLLOW_THEME,
    )
    return write_whole(out or found[0].path.with_name("report.html"), page)


class _Counter:
    """Numbers for the figures of one page."""

    def __init__(self) -> None:
        self.last = -1

    def draw(self, figures: Sequence[Figure | None]) -> str:
        drawn = []
        for figure in figures:
            if figure is not None:
                self.last += 1
                drawn.append(figure_section(self.last, figure))
        return "\n".join(drawn)


def _suite(name: str, points: Sequence[Measured], number: _Counter) -> list[Section]:
    tables = {table.name: table for table in suite_tables(name, points)}
    bought = [table for table in tables.values() if table.name.endswith("-bought")]
    metrics = [table for table in tables.values() if table.name.endswith("-metrics")]
    others = [table for table in tables.values() if table not in bought and table not in metrics]
    gain = number.draw([gain_figure(points)])
    sections = [
        Section("What each step bought", "".join(_table(table, kind="prose") for table in bought) + gain)
    ]
    sections += [
        Section(table.title, _table(table, lead=_STEPS_LEAD if "step" in table.header else _WRITTEN_LEAD))
        for table in others
    ]
    sections.append(Section("Claims", _claims(points)))
    sections.append(Section("Figures", number.draw([*suite_figures(points), *rung_figures(points)])))
    sections += [Section("Every metric", _table(table, is_folded=True)) for table in metrics]
    return [section for section in sections if section.body]


_STEPS_LEAD = (
    "A value with an interval is a median with its 95 % interval (of fewer than six values: all of them) and "
    "their number. A dash: not measured."
)
_LABELLED = "prose labelled"
_WRITTEN_LEAD = "As its notebook wrote it, with its own intervals."


def _table(table: Table, *, kind: str = "numbers", lead: str = "", is_folded: bool = False) -> str:
    body = csv_table(table.name, table.header, table.rows, kind=kind)
    if is_folded:
        body = f"<details><summary>{len(table.rows):,} rows</summary>{body}</details>"
    words = f'<p class="lead">{html.escape(lead)}</p>' if lead else ""
    return f"<section><h2>{html.escape(table.title)}</h2>{words}{body}</section>"


def _claims(points: Sequence[Measured]) -> str:
    claims = [
        (str(claim["verdict"]), point.title, str(claim["claim"]), str(claim["detail"]))
        for point in points
        for claim in point.newest.notes.get("claims", ())
    ]
    if not claims:
        return ""
    rows = "".join(
        f'<tr><td><b class="{html.escape(verdict.lower())}">{html.escape(verdict)}</b></td>'
        + "".join(f"<td>{html.escape(text)}</td>" for text in rest)
        + "</tr>"
        for verdict, *rest in claims[:SHOWN_PROSE]
    )
    rest = len(claims) - SHOWN_PROSE
    more = f'<p class="lead">{rest:,} more are in the CSV.</p>' if rest > 0 else ""
    header = ("verdict", "step", "claim", "measured")
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    return (
        "<section><h2>What was claimed, and what came out</h2>"
        f'<div class="scroll"><table class="prose"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}{csv_link('claims', header, claims)}</section>"
    )


def _problems(points: Sequence[Measured]) -> list[Section]:
    broken = [point for point in points if not point.is_done]
    if not broken:
        return []
    items = "".join(
        f"<li><b>{html.escape(point.title)}</b> {html.escape(point.newest.status)}"
        f"<pre>{html.escape(point.problem)}</pre></li>"
        for point in broken[:20]
    )
    more = f"<p>{len(broken) - 20:,} more: the tables name them.</p>" if len(broken) > 20 else ""
    body = f'<section class="problems"><h2>What did not finish</h2><ul>{items}</ul>{more}</section>'
    return [Section("What did not finish", body)]


def _compared(comparison: Comparison | None, number: _Counter) -> list[Section]:
    if comparison is None:
        return []
    notes = [*comparison.notes]
    for word, names in (("the baseline", comparison.only_a), ("this run", comparison.only_b)):
        notes += [f"only {word} has {', '.join(names[:20])}"] if names else []
    told = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    rows = comparison.rows
    changed = [row for row in rows if row.change in (Change.BETTER, Change.WORSE)]
    lead = (
        f"A is the baseline, B is this run. Of {len(rows)} metrics: {counted(rows)}. A ratio is B / A with "
        "its 95 % interval."
    )
    body = (
        f'<section><h2>B against A</h2><p class="lead">{html.escape(lead)}</p>'
        + (f"<ul>{told}</ul>" if told else "")
        + "</section>"
        + number.draw([ratio_figure(comparison)])
        + (
            _table(table_of(changed, name="changed", title="Better and worse"), kind=_LABELLED)
            if changed
            else ""
        )
        + _table(table_of(rows, title="Every metric of both"), is_folded=True)
    )
    return [Section("B against A", body)]


def _doubts(table: Table | None) -> list[Section]:
    return [] if table is None else [Section("Not certain", _table(table, kind=_LABELLED))]


def _busy_warning(points: Sequence[Measured]) -> str:
    """Say at the top of the page if other work ran beside a point: its rates are then lower bounds."""
    disturbed = [point.title for point in points if point.is_busy]
    if not disturbed:
        return ""
    more = f" and {len(disturbed) - 12:,} more" if len(disturbed) > 12 else ""
    return (
        '<p class="warning"><b>Other work kept this machine busy</b> when these steps began: '
        f"{html.escape(', '.join(disturbed[:12]))}{more}. Read their rates as lower bounds, or measure again "
        "on an idle machine with <code>--fresh</code>.</p>"
    )


def _title(suite: str, results: Results) -> str:
    """Return the title that the suite's file gives itself, as far as it lies beside the records."""
    try:
        found = tomllib.loads(results.path.with_name("suite.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return str(found.get("title") or f"{suite[:1].upper()}{suite[1:]}, measured on this machine")
