"""How the command line shows a running suite and its results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scalelab.bench.suite import Point


def run_and_show(
    suite_path: Path, *, out: Path | None, tier: str, fresh: bool, open_page: bool = False, gate: bool = False
) -> None:
    """Run a suite with a progress display, print its table, build its page; exit 4 if a point broke."""
    from scalelab.bench import build_report, load_suite, run_suite
    from scalelab.bench.road import read_claims
    from scalelab.core.paths import runs_folder
    from scalelab.core.records import RecordStore

    suite = load_suite(suite_path, tier=tier)
    folder = out or runs_folder() / suite.name
    try:
        with Progress() as progress:
            result = run_suite(suite, folder, watcher=progress, fresh=fresh)
    except KeyboardInterrupt:
        click.echo("\nwhat is done is kept: the same command goes on from there", err=True)
        raise
    show_table(folder)
    page = build_report(folder, title=suite.title)
    click.echo(f"\nThe page:       {page}")
    click.echo(f"The notebooks:  {folder / 'notebooks'}")
    click.echo(f"The records:    {folder / 'records.jsonl'}")
    if open_page:
        click.launch(page.resolve().as_uri())
    if not result.is_complete:
        broken = [name for name, status in result.statuses.items() if status in ("failed", "skipped")]
        click.secho(f"did not finish: {', '.join(broken)} (the page says why)", fg="red", err=True)
        raise SystemExit(4)
    records = RecordStore(folder / "records.jsonl").read()
    failed = [claim["claim"] for claim in read_claims(records) if claim["verdict"] == "FAIL"] if gate else []
    if failed:
        click.secho(f"{len(failed)} claims failed: {'; '.join(failed)}", fg="red", err=True)
        raise SystemExit(1)


def show_table(folder: Path) -> None:
    """Print the road as a table, one row a rung, and the claims with their verdicts."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from scalelab.bench.road import (
        TERMINAL_HEADER,
        bought_table,
        read_claims,
        read_rungs,
        terminal_table,
        throughput_legend,
    )
    from scalelab.core.records import RecordStore

    records = RecordStore(folder / "records.jsonl").read()
    rungs = read_rungs(records)
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0))
    for place, title in enumerate(TERMINAL_HEADER):
        table.add_column(title, justify="left" if place == 0 else "right", no_wrap=True)
    for row in terminal_table(rungs):
        table.add_row(*map(escape, row))
    console.print(table)
    console.print("\n[dim]per second counts[/]")
    for line in throughput_legend(rungs):
        console.print(f"[dim]  {escape(line)}[/]")
    bought = Table.grid(padding=(0, 2))
    for title, text in bought_table(rungs):
        bought.add_row(escape(title), escape(text))
    console.print("\nwhat each step bought", bought, sep="\n")
    for rung in rungs:
        if rung.status != "done":
            console.print(f"[red]{escape(rung.title)} {rung.status}:[/] {escape(rung.problem)}")
    console.print()
    colours = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
    claims = Table.grid(padding=(0, 1))
    for claim in read_claims(records):
        verdict = f"[{colours[claim['verdict']]}]{claim['verdict']}[/]"
        claims.add_row(verdict, escape(f"{claim['claim']}: {claim['detail']}"))
    console.print(claims)


class Progress:
    """A line for each point: what runs, since when; then how it ended. Plain lines where no terminal is."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._status: Any = None
        self._label = ""
        self._started = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def started(self, point: Point, number: int, total: int) -> None:
        """Show that a point begins."""
        from rich.markup import escape

        self._started = time.monotonic()
        self._label = escape(f"{number}/{total}  {point.title}")
        if self._console.is_terminal:
            self._status = self._console.status(self._label)
            self._status.start()
        else:
            self._console.print(f"{self._label} ...")

    def tick(self) -> None:
        """Refresh the elapsed time."""
        if self._status is not None:
            self._status.update(f"{self._label}  {time.monotonic() - self._started:.0f} s")

    def ended(self, point: Point, status: str, seconds: float, detail: str) -> None:
        """Leave one line that says how a point ended."""
        from rich.markup import escape

        self._stop()
        words = {
            "done": f"[green]done[/] in {seconds:.0f} s",
            "kept": "[green]kept[/] from an earlier run",
        }
        shown = words.get(status, f"[red]{status}[/]")
        self._console.print(f"{self._label}  {shown}  {escape(detail)}")

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
