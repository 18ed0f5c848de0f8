"""Parts of a self-contained page: style, tables, figures with their words. It opens offline, on a phone too.

Texts given here are plain and are escaped here; what is said to be HTML is taken as it is.
"""

from __future__ import annotations

import base64
import csv
import gzip
import html
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from scalelab.core.table_cells import safe_cell

BLUE, ORANGE, GREEN, RED, GREY = "#3b7dd8", "#d9822b", "#2a9d6f", "#c8433f", "#8a8f98"
"""of plots, on light and dark paper"""
FOLLOW_THEME = """<script>
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = () => [...document.querySelectorAll(".js-plotly-plot")];
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  function paint() { plots().forEach(plot => Plotly.relayout(plot, {"font.color": ink()})); }
  paint();
  dark.addEventListener("change", paint);
  let folded = [];
  // paper is white and narrow: plots are drawn again for it, and short tables of numbers are unfolded
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach(d => { d.open = d.querySelectorAll("tr").length <= 40; });
    plots().forEach(plot => Plotly.relayout(plot, {width: 680, "font.color": "#1d2733"}));
  });
  window.addEventListener("afterprint", () => {
    folded.forEach(d => { d.open = false; });
    plots().forEach(plot => { Plotly.relayout(plot, {width: null, autosize: true}); });
    paint();
  });
</script>"""
"""at the end of a page with plots: their ink is that of the page, light or dark, and they fit on paper"""
SHOWN = 300
"""rows of a table on a page; the CSV has all"""
SHOWN_PROSE = 100
"""rows of a table whose cells are sentences"""
PLAIN_CSV = 64 * 1024
"""bytes of a CSV from which on it is packed"""


@dataclass(frozen=True)
class Figure:
    """A plot with its words and numbers."""

    title: str
    lead: str
    """what to look for, one sentence"""
    plot: Any
    """plotly.graph_objects.Figure"""
    alt: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    height: int = 400
    """of the plot [px]"""


def page_style() -> str:
    """Return the style sheet that our pages share."""
    return resources.files("scalelab.core").joinpath("page.css").read_text(encoding="utf-8")


def figure_section(number: int, figure: Figure, *, height: int | None = None, has_csv: bool = True) -> str:
    """Return a figure as HTML: title, lead, plot with its alternative text, and the numbers, folded.

    Args:
        number: one of its own for each figure of a page.
        height: of the plot [px], instead of the figure's own.
        has_csv: offer the numbers as a file; without, the section holds no link.
    """
    style_plot(figure.plot, height or figure.height)
    plot = figure.plot.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"plot-{number}", default_width="100%",
        config={"displaylogo": False, "responsive": True},
    )  # fmt: skip
    numbers = csv_table(figure.title, figure.header, figure.rows) if has_csv else ""
    return (
        f'<section><div class="keep"><h2>{html.escape(figure.title)}</h2>'
        f'<p class="lead">{html.escape(figure.lead)}</p>'
        f'<div class="plot" role="img" aria-label="{html.escape(figure.alt, quote=True)}">{plot}</div></div>'
        "<details><summary>The numbers</summary>"
        f"{numbers or html_table(figure.header, figure.rows)}</details></section>"
    )


def style_plot(plot: Any, height: int) -> None:
    """Give a plot our margins, its legend below, and colours that are seen on light and dark paper."""
    plot.update_layout(
        margin={"l": 70, "r": 20, "t": 30, "b": 60}, height=height, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", font={"family": "system-ui"},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        legend={"orientation": "h", "y": -62 / (height - 90), "yanchor": "top"},
    )  # fmt: skip
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zerolinecolor": "rgba(128,128,128,0.5)"}
    plot.update_xaxes(**grid)
    plot.update_yaxes(**grid)


def csv_table(
    name: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "numbers"
) -> str:
    """Return `html_table` with a link that saves all rows as `name`.csv; of many rows the first are shown."""
    shown = SHOWN if kind == "numbers" else SHOWN_PROSE
    more = len(rows) - shown
    cut = f'<p class="lead">{more:,} more rows are in the CSV.</p>' if more > 0 else ""
    return html_table(header, rows[:shown], kind=kind) + cut + csv_link(name, header, rows)


def csv_link(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a link that saves a table, which lies in the link itself: no server, no script.

    A large one is packed (``.csv.gz``, which pandas and DuckDB read as it is). The byte-order mark lets
    Excel read the letters right.
    """
    data = b"\xef\xbb\xbf" + csv_text(header, rows).encode()
    file = "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split()) + ".csv"
    kind = "text/csv"
    if len(data) > PLAIN_CSV:
        data, file, kind = gzip.compress(data, 6, mtime=0), file + ".gz", "application/gzip"
    file, address = html.escape(file), f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return f'<a class="download" download="{file}" href="{address}">Download {file}</a>'


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, kind: str = "numbers") -> str:
    """Return rows of plain text as an HTML table that scrolls by itself.

    Args:
        kind: ``numbers`` keeps a row on one line; ``prose`` breaks lines, and stacks cells on a phone;
            ``prose labelled`` says there what each cell is.
    """
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    labels = [f' data-label="{html.escape(cell)}"' if "labelled" in kind else "" for cell in header]
    body = "".join(
        "<tr>"
        + "".join(f"<td{label}>{html.escape(cell)}</td>" for label, cell in zip(labels, row, strict=True))
        + "</tr>"
        for row in rows
    )
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{table}</table></div>'


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as CSV; a cell that a spreadsheet would take for a formula gets a quote before it.

    What begins a formula is OWASP's list ("CSV Injection"); numbers stay numbers.
    """
    into = io.StringIO()
    csv.writer(into, lineterminator="\n").writerows(
        [cell if _is_number(cell) else safe_cell(cell) for cell in row] for row in (header, *rows)
    )
    return into.getvalue().replace("\r", " ")  # which would end a line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def write_whole(path: Path, text: str) -> Path:
    """Write a text file so that a reader finds the old or the new one, never a half; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
    return path
