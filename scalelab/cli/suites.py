"""How the command line runs suites, and shows their results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalelab.cli.browser import show_page
from scalelab.cli.suite_progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

    from scalelab.bench.suite import Suite
    from scalelab.bench.tables import Table
    from scalelab.core.records import RunRecord


def run_and_show(
    suite_path: Path, *, out: Path | None, tier: str, fresh: bool, open_page: bool = False, gate: bool = False
) -> None:
    """Run one suite, print its table, build its page; exit 4 if a point broke."""
    from scalelab.bench import load_suite
    from scalelab.core.paths import runs_folder

    suite = load_suite(suite_path, tier=tier)
    folder = out or runs_folder() / suite.name
    run_suites([(suite, folder)], page=None, fresh=fresh, open_page=open_page, gate=gate)


def find_suite(named: str) -> Path:
    """Return the path of a suite: a file, or the name of one that ships with ScaleLab.

    Raises:
        ConfigError: there is neither.
    """
    from scalelab.core.errors import ConfigError, did_you_mean
    from scalelab.core.paths import shipped

    path, ours = Path(named), {path.stem: path for path in shipped("benchmarks").glob("*.toml")}
    if path.suffix == ".toml" or path.is_file():
        return path
    if named not in ours:
        raise ConfigError(f"there is no suite {named!r}", hint=did_you_mean(named, ours))
    return ours[named]


def run_suites(
    suites: Sequence[tuple[Suite, Path]],
    *,
    page: Path | None,
    fresh: bool = False,
    executor: str = "",
    open_page: bool = False,
    gate: bool = False,
) -> None:
    """Run suites into their folders, print their tables, build their pages; exit 4 if a point broke.

    Args:
        page: one page of all of them besides; None: there is one suite.
        executor: address of a cluster that runs the points; empty: they run here.
        gate: exit 1 if a claim came out FAIL.
    """
    from scalelab.bench import build_report
    from scalelab.bench.results import read_results
    from scalelab.bench.road import read_claims
    from scalelab.bench.runner import check_suite, run_suite

    for suite, _ in suites:
        check_suite(suite)  # the last one's typo is told before the first one's hour
    broken: list[str] = []
    try:
        with _executor(executor) as opened:
            for suite, folder in suites:
                if len(suites) > 1:
                    click.secho(f"\n{suite.title}", bold=True)
                with Progress() as progress:
                    result = run_suite(suite, folder, watcher=progress, fresh=fresh, executor=opened)
                for damage in result.damaged:
                    click.echo(f"{folder}, line {damage.line} is no record, left out: {damage.why}", err=True)
                broken += [
                    name for name, status in result.statuses.items() if status in ("failed", "skipped")
                ]
    except KeyboardInterrupt:
        again = "without --fresh it goes on from there" if fresh else "the same command goes on from there"
        click.echo(f"\nwhat is done is kept: {again}", err=True)
        raise
    failed = []
    for suite, folder in suites:
        show_table(folder)
        failed += [claim for claim in read_claims(read_results(folder).records) if claim["verdict"] == "FAIL"]
        own = build_report(folder, title=suite.title)
        click.echo(f"\nThe page:       {own}")
        click.echo(f"The notebooks:  {folder / 'notebooks'}")
        click.echo(f"The records:    {folder / 'records.jsonl'}")
    if page is not None:
        own = build_report([folder for _, folder in suites], out=page)
        click.echo(f"\nAll on one page: {own}")
    if open_page:
        show_page(own)
    if broken:
        click.secho(f"did not finish: {', '.join(broken)} (the page says why)", fg="red", err=True)
        raise SystemExit(4)
    if failed and gate:
        told = "; ".join(claim["claim"] for claim in failed)
        click.secho(f"{len(failed)} claims failed: {told}", fg="red", err=True)
        raise SystemExit(1)


def _executor(address: str) -> Any:
    if not address:
        return nullcontext()
    from scalelab.bench.executors import open_executor

    return open_executor(address)


def show_table(folder: Path) -> None:
    """Print a folder's results: the road as a row a rung, pairs side by side, claims with their verdicts."""
    from rich.console import Console

    from scalelab.bench.compare import compare_pairs
    from scalelab.bench.results import newest_of, read_results
    from scalelab.bench.road import read_rungs
    from scalelab.bench.tables import report_tables

    results = read_results(folder)
    records = results.records
    console = Console(highlight=False)
    if any(rung.p50_s is not None or rung.throughput is not None for rung in read_rungs(records)):
        _show_road(console, records)
    else:
        tables = report_tables(records)
        for table in [table for table in tables if not table.name.endswith("-metrics")] or tables:
            _show(console, table)
    if any(record.run.get("pair") and record.status == "done" for record in records):
        _show(console, compare_pairs(results).table())
    for subject, record in newest_of(records).items():
        if record.status != "done":
            problem = str(record.notes.get("error") or record.notes.get("reason", ""))
            console.print(f"{subject} {record.status}: {problem}", style="red", markup=False)
    _show_claims(console, records)


def _show_road(console: Console, records: Sequence[RunRecord]) -> None:
    from rich.markup import escape
    from rich.table import Table as Rows

    from scalelab.bench.road import (
        TERMINAL_HEADER,
        bought_table,
        read_rungs,
        terminal_table,
        throughput_legend,
    )

    rungs = read_rungs(records)
    table = Rows(box=None, padding=(0, 1, 0, 0))
    for place, title in enumerate(TERMINAL_HEADER):
        table.add_column(title, justify="left" if place == 0 else "right", no_wrap=True)
    for row in terminal_table(rungs):
        table.add_row(*map(escape, row))
    console.print(table)
    console.print("\n[dim]per second counts[/]")
    for line in throughput_legend(rungs):
        console.print(f"[dim]  {escape(line)}[/]")
    bought = Rows.grid(padding=(0, 2))
    for title, text in bought_table(rungs):
        bought.add_row(escape(title), escape(text))
    console.print("\nwhat each step bought", bought, sep="\n")


def _show(console: Console, table: Table) -> None:
    from rich.markup import escape
    from rich.table import Table as Rows

    rows = Rows(*map(escape, table.header), box=None, padding=(0, 1, 0, 0))
    for row in table.rows:
        rows.add_row(*map(escape, row))
    console.print(f"\n{escape(table.title)}", rows, sep="\n")


def _show_claims(console: Console, records: Sequence[RunRecord]) -> None:
    from rich.markup import escape
    from rich.table import Table as Rows

    from scalelab.bench.road import read_claims

    colours = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
    claims = Rows.grid(padding=(0, 1))
    for claim in read_claims(records):
        verdict = f"[{colours[claim['verdict']]}]{claim['verdict']}[/]"
        claims.add_row(verdict, escape(f"{claim['claim']}: {claim['detail']}"))
    console.print()
    console.print(claims)
