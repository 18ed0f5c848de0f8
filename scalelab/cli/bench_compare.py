"""``scalelab bench compare A B``: what became better or worse, and a gate on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalelab.cli.load_options import COULD_NOT_TELL, OBJECTIVE_MISSED, read_share, warn
from scalelab.core.errors import RunFailed

if TYPE_CHECKING:
    from scalelab.bench.compare import Comparison
    from scalelab.bench.row import Row

COLOURS = {"better": "green", "worse": "red", "same": "default", "inconclusive": "yellow"}


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--fail-over", metavar="PER CENT", callback=lambda _c, _o, text: read_share(text),
              help="Exit with 5 if B is worse than A by more than this, such as 10%.")  # fmt: skip
@click.option("--metric", "metrics", multiple=True, metavar="NAME",
              help="Show and judge this one; may be repeated.  [default: all, and the headline]")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 6 if a judged metric could not be told.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("--markdown", "markdown_file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the comparison to this file too, for a comment.")  # fmt: skip
def compare(
    a: Path, b: Path, fail_over: float | None, metrics: tuple[str, ...], strict: bool, as_json: bool,
    markdown_file: Path | None,
) -> None:  # fmt: skip
    """Compare the results in B with the baseline A, and gate on it.

    A and B are folders of results or files of records, of the same suite. A difference is called if the whole
    95 % interval of the ratio B / A says so, from six rounds on (bench run --rounds 6); within 5 % it is
    called the same. Results of other machines are compared as multiples of the reference workload.

    \b
    scalelab bench compare runs/before runs/after
    scalelab bench compare runs/before runs/after --fail-over 10% --metric latency_p95

    Exit codes: 0 nothing is worse by more than the limit (or none was given), 2 wrong input, 4 a point of A
    did not finish in B, 5 worse by more than the limit, 6 could not tell (--strict).
    """
    from scalelab.bench.compare import compare_results
    from scalelab.bench.results import read_results

    sides = [read_results(path) for path in (a, b)]
    warn([
        f"{side.path}, line {line.line} is left out: {line.why}" for side in sides for line in side.damaged
    ])  # fmt: skip
    found = compare_results(sides[0], sides[1], metrics=metrics)
    judged = () if fail_over is None else found.judged(fail_over, metrics)
    words = "" if fail_over is None else _sentence(found, judged, fail_over)
    if markdown_file is not None:
        from scalelab.core.page import write_whole

        write_whole(markdown_file, found.markdown("B against A", words))
    if as_json:
        click.echo(json.dumps(found.to_json() | _gate_json(found, judged, fail_over, metrics), indent=1))
    else:
        _show(found)
    if fail_over is None:
        return
    verdicts = {verdict.value for _, verdict in judged}
    is_pass = verdicts == {"PASS"} and not found.broken and not found.only_a
    word, colour = (
        ("FAIL", "red") if "FAIL" in verdicts else ("PASS", "green") if is_pass else ("warning", "yellow")
    )
    click.secho(f"{word}: {words}", fg=colour, err=True)
    if "FAIL" in verdicts:
        raise SystemExit(OBJECTIVE_MISSED)
    if found.broken:
        raise SystemExit(RunFailed.exit_code)
    if strict and verdicts != {"PASS"}:
        raise SystemExit(COULD_NOT_TELL)


def _sentence(found: Comparison, judged: tuple[tuple[Row, Any], ...], limit: float) -> str:
    """Say in one line what the gate found."""
    names = {
        word: [f"{row.subject} {row.metric}" for row, verdict in judged if verdict.value == word]
        for word in ("FAIL", "INCONCLUSIVE")
    }
    per_cent = f"{100 * limit:g} %"
    said = []
    if names["FAIL"]:
        said.append(f"{len(names['FAIL'])} worse by more than {per_cent}: {_some(names['FAIL'])}")
    if found.broken:
        said.append(f"{len(found.broken)} did not finish in B: {_some(found.broken)}")
    if names["INCONCLUSIVE"]:
        said.append(f"{len(names['INCONCLUSIVE'])} could not be told: {_some(names['INCONCLUSIVE'])}")
    if judged and not said:
        said.append(f"none of {len(judged)} judged metrics is worse by more than {per_cent}")
    if found.only_a:
        said.append(f"{len(found.only_a)} not in B: {_some(found.only_a)}")
    if not judged:
        said.append("nothing was judged: no headline metric is in both (name one by --metric)")
    return "; ".join(said)


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _gate_json(
    found: Comparison, judged: tuple[tuple[Row, Any], ...], limit: float | None, metrics: tuple[str, ...]
) -> dict[str, Any]:
    if limit is None:
        return {}
    rows = [
        {"subject": row.subject, "metric": row.metric, "verdict": verdict.value} for row, verdict in judged
    ]
    return {"gate": {"fail_over": limit, "verdict": found.gate(limit, metrics).value, "rows": rows}}


def _show(found: Comparison) -> None:
    """Print the rows, then why some are inconclusive, each reason once, then the notes."""
    from collections import Counter

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from scalelab.bench.compare_text import STARRED, counted

    console = Console(highlight=False)
    text = found.table()
    table = Table(box=None, padding=(0, 1, 0, 0))
    for place, title in enumerate(text.header):
        table.add_column(title, justify="right" if 2 <= place <= 5 else "left")
    for row, cells in zip(found.rows, text.rows, strict=True):
        colour = COLOURS[row.change.value]
        table.add_row(*map(escape, cells[:-1]), f"[{colour}]{row.change.value}[/]")
    if found.rows:
        console.print(table)
    console.print(f"\nB against A: {counted(found.rows)}")
    for why, count in Counter(row.why for row in found.rows if row.why).most_common():
        console.print(f"  {count} inconclusive: {escape(why)}")
    if any(row.basis == "reference" for row in found.rows):
        console.print(f"  {STARRED}")
    for note in found.notes:
        console.print(f"- {escape(note)}")
