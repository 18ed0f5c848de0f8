"""``scalelab serve chaos`` and ``scalelab serve soak``: what the service bears, with the account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from scalelab.serve.drills.drill import DrillResult

LOST = 5
"""exit code: measured, and the promise was not kept"""


@click.command()
@click.argument("faults", nargs=-1)
@click.option("--requests", default=2000, show_default=True, help="Requests under each fault.")
@click.option("--rate", default=400.0, show_default=True, help="Requests a second.")
@click.option("--workers", default=2, show_default=True, help="Worker processes.")
@click.option("--broker", default="", help="As for `serve up`.  [default: our own]")
@click.option("--out", type=click.Path(path_type=Path), help="Records.  [default: runs/chaos.jsonl]")
def chaos(
    faults: tuple[str, ...], requests: int, rate: float, workers: int, broker: str, out: Path | None
) -> None:
    """Break a stack under load, and account for every request.

    It is a stack of its own.

    \b
    FAULTS are worker, broker, poison, memory, freeze, disk; without any, all.
      worker  killed (SIGKILL) in the middle of a batch
      broker  killed (SIGKILL); it comes back
      poison  five items raise in the model
      memory  an item takes all memory of its worker, another is refused memory
      freeze  a worker is stopped (SIGSTOP) in the middle of a batch
      disk    nothing can be written for 1.5 s (RLIMIT_FSIZE; Linux)

    Requests have idempotency keys and are sent again while they are refused. The model counts its runs.
    Exit code 5 if anything was lost, answered twice or answered wrongly, or the stack did not recover.
    """
    from rich.console import Console

    from scalelab.core.errors import ConfigError, RunFailed, did_you_mean
    from scalelab.core.paths import runs_folder
    from scalelab.core.records import RecordStore
    from scalelab.serve.drills import FAULTS, run_drill

    names = faults or tuple(FAULTS)
    for name in names:
        if name not in FAULTS:
            raise ConfigError(f"there is no fault {name!r}", hint=did_you_mean(name, FAULTS))
    store = RecordStore(out or runs_folder() / "chaos.jsonl")
    console, results, skipped = Console(stderr=True), [], {}
    for name in names:
        if why := FAULTS[name].is_possible(broker):
            skipped[name] = why
            continue
        with console.status(f"{name}: {FAULTS[name].about}"):
            result = run_drill(name, requests=requests, rate=rate, workers=workers, broker=broker)
        store.append(result.to_record(rate=rate, workers=workers, broker=broker))
        results.append(result)
        for death in result.deaths:
            click.echo(f"{name}: {death}", err=True)
    if results:
        Console().print(_table(results, requests, rate))
    for name, why in skipped.items():
        click.echo(f"{name}: not run, {why}")
    click.echo(f"records: {store.path}")
    if not results:
        raise RunFailed("no fault was possible here", hint="use the default broker")
    if failed := [result.fault for result in results if not result.is_passed]:
        click.echo(f"FAILED: {', '.join(failed)}")
        raise SystemExit(LOST)


_COLUMNS = {
    "accepted": "accepted", "answered": "answered", "lost": "lost", "wrong": "wrong",
    "answered_twice": "answered\ntwice", "run_twice": "run\ntwice", "refusals": "sent\nagain",
}  # fmt: skip


def _table(results: list[DrillResult], requests: int, rate: float) -> Table:
    from rich.table import Table

    from scalelab.core.units import format_rate

    table = Table(
        title=f"{requests:,} requests at {format_rate(rate)} under each fault", box=None, padding=(0, 1)
    )
    table.add_column("fault")
    for head in (*_COLUMNS.values(), "whole\nafter, s"):
        table.add_column(head, justify="right")
    for result in results:
        counts = [f"{getattr(result, name):,}" for name in _COLUMNS]
        table.add_row(result.fault, *counts, _seconds(result.recovery_s))
    return table


def _seconds(value: float) -> str:
    return "never" if value == float("inf") else f"{value:.2f}"


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="Length of the load.")
@click.option("--rate", type=float, help="Requests a second.  [default: 70 % of what it bears, measured]")
@click.option("--model-path", type=click.Path(path_type=Path), help="File to serve.  [default: the demo's]")
@click.option("--model", help="As for `serve up`.")
@click.option("--workers", default=1, show_default=True, help="Worker processes.")
@click.option("--broker", default="", help="As for `serve up`.  [default: our own]")
@click.option("--out", type=click.Path(path_type=Path), help="Records.  [default: runs/soak.jsonl]")
def soak(
    minutes: float, rate: float | None, model_path: Path | None, model: str | None, workers: int, broker: str,
    out: Path | None,
) -> None:  # fmt: skip
    """Load a stack for long: does its memory stay flat?

    It is a stack of its own.

    Memory is sampled each second; the verdict is on the line through the samples of the last four fifths.
    Exit code 5 if it grows by more than 5 %, or a request failed.
    """
    from rich.console import Console

    from scalelab.cli.serve import default_model
    from scalelab.core.paths import runs_folder
    from scalelab.core.records import RecordStore
    from scalelab.serve.drills import run_soak
    from scalelab.serve.service import DEFAULT_MODEL

    path = model_path or default_model(model)
    options: dict[str, Any] = {"model": model or DEFAULT_MODEL, "workers": workers, "broker": broker}
    with Console(stderr=True).status("starting a stack") as status:
        result = run_soak(path, seconds=minutes * 60, rate=rate, on_progress=status.update, **options)
    store = RecordStore(out or runs_folder() / "soak.jsonl")
    store.append(result.to_record())
    for line in result.lines():
        click.echo(line)
    click.echo(f"record: {store.path}")
    if not result.is_passed:
        raise SystemExit(LOST)
