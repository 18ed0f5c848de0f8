"""``scalelab serve up | status | down``: the service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scalelab.serve.settings import StackSettings
    from scalelab.serve.state import StackState


@click.group()
def serve() -> None:
    """Run the reader as a service: gateway, broker and workers, or the naive app."""


@serve.command()
@click.option("--model-path", required=True, type=click.Path(path_type=Path), help="Model file to serve.")
@click.option("--model", help="Factory that loads it, MODULE:FACTORY.  [default: the PIN reader's]")
@click.option("--workers", default=1, show_default=True, help="Worker processes.")
@click.option("--threads", default=1, show_default=True, help="Threads of the model in each worker.")
@click.option("--max-batch", default=16, show_default=True, help="Most images in one run of the model.")
@click.option("--max-depth", default=20_000, show_default=True, help="Most tasks queued; then 429.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, help="Port to listen on.  [default: a free one]")
@click.option(
    "--broker", default="", envvar="SCALELAB_BROKER", help="redis://HOST:PORT/0.  [default: our own]"
)
@click.option("--naive", is_flag=True, help="Model inside the web server, nothing else: the baseline.")
@click.option("--detach", is_flag=True, help="Return when it is ready; `scalelab serve down` ends it.")
def up(
    model_path: Path,
    model: str | None,
    workers: int,
    threads: int,
    max_batch: int,
    max_depth: int,
    host: str,
    port: int,
    broker: str,
    naive: bool,
    detach: bool,
) -> None:
    """Start the service; Ctrl-C ends all of it."""
    from scalelab.core.paths import make_folder
    from scalelab.serve.batching import BatchPolicy
    from scalelab.serve.broker import BrokerLimits
    from scalelab.serve.service import DEFAULT_MODEL
    from scalelab.serve.settings import StackSettings
    from scalelab.serve.stack import default_folder, start_stack
    from scalelab.serve.state import clean_stale

    settings = StackSettings(
        model_path=str(model_path.resolve()),
        model=model or DEFAULT_MODEL,
        workers=workers,
        threads=threads,
        host=host,
        port=port,
        naive=naive,
        policy=BatchPolicy(max_batch=max_batch),
        limits=BrokerLimits(max_depth=max_depth),
    )
    settings.check(broker)
    folder = make_folder(default_folder())
    if _say_if_running(folder):
        return
    if cleaned := clean_stale(folder):
        click.echo(cleaned, err=True)
    if detach:
        stack = start_stack(settings, folder=folder, broker=broker, detached=True)
        _show(stack.state())
        click.echo("end it with: scalelab serve down")
    else:
        _run_here(settings, folder, broker)


@serve.command()
def status() -> None:
    """Say what runs; exit code 1 if nothing does."""
    from scalelab.core.units import format_bytes
    from scalelab.serve.stack import Stack, default_folder
    from scalelab.serve.state import running

    folder = default_folder()
    state = running(folder)
    if state is None:
        click.echo(f"nothing runs ({folder})")
        raise SystemExit(1)
    _show(state)
    memory = Stack(folder).memory_bytes()
    click.echo(f"memory    {format_bytes(sum(memory.values()))} in {len(memory)} processes")
    if "gateway" in state.children:
        try:
            facts = Stack(folder).stats()
        except OSError as error:
            click.echo(f"gateway   does not answer: {error}")
        else:
            click.echo("tasks     " + ", ".join(f"{name} {value}" for name, value in facts.items()))


@serve.command()
def down() -> None:
    """End the service; queued tasks stay in its journal for the next `up`."""
    from scalelab.serve.stack import Stack, default_folder
    from scalelab.serve.state import clean_stale, running

    folder = default_folder()
    state = running(folder)
    if state is not None:
        Stack(folder).stop()
        click.echo(f"ended the stack at {state.url} ({len(state.children) + 1} processes)")
        return
    cleaned = clean_stale(folder) if folder.exists() else ""
    click.echo(cleaned or f"nothing runs ({folder})")


def _run_here(settings: StackSettings, folder: Path, broker: str) -> None:
    import logging

    from scalelab.core.errors import RunFailed
    from scalelab.serve.state import take_lock
    from scalelab.serve.supervisor import Supervisor, stop_on_signals

    lock = take_lock(folder)
    if lock is None:  # another `up` was faster by a moment
        if not _say_if_running(folder):
            raise RunFailed(
                f"another process uses {folder}", hint="it may be starting: try again in a moment"
            )
        return
    with lock:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")  # says who died and was restarted
        supervisor = Supervisor(settings, folder, broker=broker)
        stop_on_signals(supervisor)
        members = "the naive app" if settings.naive else f"broker, gateway, {settings.workers} worker(s)"
        click.echo(f"starting {members} ...", err=True)
        supervisor.run(on_ready=_show_foreground)
    click.echo("ended; nothing is left running", err=True)


def _say_if_running(folder: Path) -> bool:
    from scalelab.serve.state import running

    state = running(folder)
    if state is None:
        return False
    _show(state)
    click.echo("it runs already, nothing was changed; for other settings: scalelab serve down, then up")
    return True


def _show_foreground(state: StackState) -> None:
    _show(state)
    click.echo("Ctrl-C ends it")


def _show(state: StackState) -> None:
    click.echo(f"service   {state.url}  ({state.phase}; docs at {state.url}/docs)")
    if state.broker:
        click.echo(f"broker    {state.broker}")
    pids = ", ".join(f"{name} {child.pid}" for name, child in sorted(state.children.items()))
    click.echo(f"processes supervisor {state.supervisor.pid}, {pids}")
    if state.restarts:
        click.echo(f"restarts  {state.restarts}")
