"""``scalelab serve up | status | down``: the service on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalelab.cli import serve_drills, serve_images, serve_letters, serve_roles
from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from scalelab.serve.settings import StackSettings
    from scalelab.serve.state import StackState


@click.group()
def serve() -> None:
    """Run the reader as a service: gateway, broker and workers."""


for command in (
    serve_images.images,
    serve_roles.gateway,
    serve_roles.worker,
    serve_roles.alive,
    serve_letters.dead_letters,
    serve_drills.chaos,
    serve_drills.soak,
):
    serve.add_command(command)


@serve.command()
@click.option(
    "--model-path", type=click.Path(path_type=Path), help="Model file to serve.  [default: the demo's]"
)
@click.option("--model", help="Factory that loads it, MODULE:FACTORY.  [default: the PIN reader's]")
@click.option("--contract", help="What it takes and gives, MODULE:NAME.  [default: the PIN reader's]")
@click.option("--workers", default=1, show_default=True, help="Worker processes.")
@click.option("--threads", default=1, show_default=True, help="Threads of the model in each worker.")
@click.option("--worker-memory", default=0, help="MiB a worker may use.  [default: no limit]")
@click.option("--max-batch", default=16, show_default=True, help="Most images in one run of the model.")
@click.option("--max-depth", default=20_000, show_default=True, help="Most tasks queued; then 429.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, help="Port to listen on.  [default: a free one]")
@click.option("--max-body", default=64 * 1024, show_default=True, help="Most bytes in a request's body.")
@click.option("--rate-limit", default=0.0, help="Most requests a second of one client.  [default: no limit]")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="Serve only who sends a key from this file, one a line.",
)
@click.option(
    "--broker",
    default="",
    envvar="SCALELAB_BROKER",
    help="redis://HOST:PORT/0, amqp://HOST, or embedded: for a Valkey.  [default: inside the gateway]",
)
@click.option("--naive", is_flag=True, help="Model inside the web server: the baseline.")
@click.option("--detach", is_flag=True, help="Return when it is ready; `down` ends it.")
def up(
    model_path: Path | None,
    model: str | None,
    contract: str | None,
    workers: int,
    threads: int,
    worker_memory: int,
    max_batch: int,
    max_depth: int,
    host: str,
    port: int,
    max_body: int,
    rate_limit: float,
    api_key_file: Path | None,
    broker: str,
    naive: bool,
    detach: bool,
) -> None:
    """Start the service; Ctrl-C ends all of it.

    If it runs already with the same settings, say so; exit code 2 if it runs with others.
    """
    from scalelab.core.paths import make_folder
    from scalelab.serve.batching import BatchPolicy
    from scalelab.serve.broker import BrokerLimits
    from scalelab.serve.service import DEFAULT_MODEL
    from scalelab.serve.settings import StackSettings
    from scalelab.serve.stack import default_folder, start_stack
    from scalelab.serve.state import clean_stale

    running_model = _running_model(default_folder())
    path = model_path or running_model or default_model(model)
    settings = StackSettings(
        model_path=str(path.resolve()),
        model=model or DEFAULT_MODEL,
        contract=contract or StackSettings.contract,
        workers=workers,
        threads=threads,
        worker_memory_bytes=worker_memory << 20,
        host=host,
        port=port,
        max_body_bytes=max_body,
        rate_limit=rate_limit,
        api_key_file=str(api_key_file.resolve()) if api_key_file else "",
        naive=naive,
        policy=BatchPolicy(max_batch=max_batch),
        limits=BrokerLimits(max_depth=max_depth),
    )
    settings.check(broker)
    _warn_of_threads(workers, threads)
    folder = make_folder(default_folder())
    if _say_if_running(folder, settings, broker):
        return
    if model_path is None:
        click.echo(f"model     {path}")
    if cleaned := clean_stale(folder):
        click.echo(cleaned, err=True)
    if exposure := settings.exposure():
        click.echo(f"warning: {exposure}", err=True)
    if detach:
        stack = start_stack(settings, folder=folder, broker=broker, detached=True)
        _show(stack.state())
        _show_first_request(stack.state())
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
    versions = sorted({str(facts["model"]) for facts in state.facts.values() if "model" in facts})
    if settings := _settings_in(folder):
        click.echo(f"model     {settings.model_path}  (version {', '.join(versions) or 'unknown'})")
    starts = ", ".join(f"{facts['ready_s']:.2f} s {name}" for name, facts in sorted(state.facts.items()))
    click.echo(f"ready     after {state.ready_s:.2f} s: {starts}")
    memory = Stack(folder).memory_bytes()
    parts = ", ".join(f"{format_bytes(used)} {name}" for name, used in sorted(memory.items()))
    click.echo(f"memory    {format_bytes(sum(memory.values()))}: {parts}")
    for death in state.deaths:
        click.echo(f"ended     {death}")
    if "gateway" in state.children:
        try:
            facts = Stack(folder).stats()
        except OSError as error:
            click.echo(f"gateway   does not answer: {error}")
        else:
            click.echo("tasks     " + ", ".join(f"{name} {value}" for name, value in facts.items()))


@serve.command()
def down() -> None:
    """End the service; queued tasks stay for the next `up`."""
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


@serve.command()
@click.argument("model_path", type=click.Path(path_type=Path))
@click.option("--model", help="Factory that loads it, MODULE:FACTORY.  [default: the running one]")
@click.option("--timeout", "timeout_s", default=300.0, show_default=True, help="Limit on the swap [s].")
def swap(model_path: Path, model: str | None, timeout_s: float) -> None:
    """Serve another model without losing a request.

    Workers with the new MODEL_PATH load and warm up first, then take over one by one, and old ones finish
    what they hold. A file that cannot be served changes nothing; exit code 4 says so.
    """
    from scalelab.core.errors import RunFailed
    from scalelab.serve.service import check_model
    from scalelab.serve.stack import default_folder
    from scalelab.serve.swap import ask_swap

    folder = default_folder()
    settings = _settings_in(folder) if _running_model(folder) is not None else None
    if settings is None:
        raise RunFailed(f"no stack runs in {folder}", hint="start one: scalelab serve up --detach")
    if settings.naive:
        raise ConfigError("the naive app has no workers to swap", hint="serve without --naive")
    factory = model or settings.model
    check_model(factory, str(model_path))
    state = ask_swap(folder, model_path=str(model_path.resolve()), model=factory, timeout_s=timeout_s)
    names = [name for name in sorted(state.facts) if name.startswith("worker-")]
    versions = ", ".join(f"{name} {state.facts[name]['model']}" for name in names)
    click.echo(f"{model_path} is served: {versions}")


def _warn_of_threads(workers: int, threads: int) -> None:
    from scalelab.core.machine import usable_cores

    if workers * threads > usable_cores():
        budget = f"{workers} worker(s) of {threads} thread(s) on {usable_cores()} core(s)"
        click.secho(f"warning: {budget} get in each other's way", fg="yellow", err=True)


def _run_here(settings: StackSettings, folder: Path, broker: str) -> None:
    import logging

    from scalelab.core.errors import RunFailed
    from scalelab.serve.state import take_lock
    from scalelab.serve.supervisor import Supervisor, stop_on_signals

    lock = take_lock(folder)
    if lock is None:  # another `up` was faster by a moment
        if not _say_if_running(folder, settings, broker):
            raise RunFailed(
                f"another process uses {folder}", hint="it may be starting: try again in a moment"
            )
        return
    with lock:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")  # says who died and was restarted
        supervisor = Supervisor(settings, folder, broker=broker)
        stop_on_signals(supervisor)
        members = "the naive app" if settings.naive else f"gateway, {settings.workers} worker(s)"
        click.echo(f"starting {members} ...", err=True)
        supervisor.run(on_ready=_show_foreground)
    click.echo("ended; nothing is left running", err=True)


def _running_model(folder: Path) -> Path | None:
    """Return the model of the stack that runs, so that a plain `up` asks for no other one."""
    from scalelab.serve.state import running

    settings = _settings_in(folder) if running(folder) is not None else None
    return None if settings is None else Path(settings.model_path)


def default_model(model: str | None) -> Path:
    """Return the demo's model; a `model` factory of one's own needs a file of its own."""
    from scalelab.core.paths import runs_folder

    if model is not None:
        raise ConfigError(f"--model {model} has no file to load", hint="add --model-path FILE")
    folder = runs_folder() / "demo" / "artifacts"
    for name in ("reader-int8.onnx", "reader.onnx"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"there is no model to serve: {folder} has none",
        hint="`scalelab demo` makes one; or `scalelab train`, then add --model-path runs/reader.safetensors",
    )


def _settings_in(folder: Path) -> StackSettings | None:
    from scalelab.serve.settings import StackSettings

    try:
        return StackSettings.read(folder / "settings.json")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _say_if_running(folder: Path, asked: StackSettings, broker: str) -> bool:
    """Tell whether a stack with these settings runs, and say so.

    Raises:
        ConfigError: it runs with other settings; the message names each that differs.
    """
    from scalelab.serve.broker import shown_url
    from scalelab.serve.state import running

    state = running(folder)
    if state is None:
        return False
    found = _settings_in(folder)
    differences = ["its settings.json is lost"] if found is None else _differences(found, asked, state)
    if found is not None and not _is_broker_of(state, broker):
        differences.append(f"--broker {state.broker} (asked: {shown_url(broker) or 'our own'})")
    if differences:
        serves = f" and serves {Path(found.model_path).name}" if found else ""
        raise ConfigError(
            f"a stack runs at {state.url}{serves}, with other settings: {', '.join(differences)}",
            hint="use that one, or end it first: scalelab serve down",
        )
    _show(state)
    click.echo("it runs already, nothing was changed")
    return True


def _differences(found: StackSettings, asked: StackSettings, state: StackState) -> list[str]:
    """Return what differs, as "--option value (asked: value)"; port 0 asks for any."""
    from urllib.parse import urlsplit

    found = replace(found, port=(urlsplit(state.url).port or 0) if asked.port else 0)
    names = {"policy": "max_batch", "limits": "max_depth", "max_body_bytes": "max_body"}

    def shown(settings: StackSettings, name: str) -> Any:
        value = getattr(settings, name)
        return (
            getattr(value, names[name])
            if name in ("policy", "limits")
            else value
            if value != ""
            else "(none)"
        )

    return [
        f"--{names.get(name, name).replace('_', '-')} {shown(found, name)} (asked: {shown(asked, name)})"
        for name in vars(asked)
        if getattr(found, name) != getattr(asked, name)
    ]


def _is_broker_of(state: StackState, asked: str) -> bool:
    from scalelab.serve.broker import EMBEDDED, LOCAL, shown_url

    if asked in ("", LOCAL):
        return not state.broker or state.broker.startswith(LOCAL)
    return "broker" in state.children if asked == EMBEDDED else shown_url(asked) == state.broker


def _show_foreground(state: StackState) -> None:
    _show(state)
    _show_first_request(state)
    click.echo("Ctrl-C ends it")


def _show_first_request(state: StackState) -> None:
    from scalelab.serve.pins import curl_line

    click.echo(f"try it: scalelab data image --out image.png && {curl_line(state.url)}")


def _show(state: StackState) -> None:
    click.echo(f"service   {state.url}  ({state.phase}; docs at {state.url}/docs)")
    if state.broker:
        click.echo(f"broker    {state.broker}")
    pids = ", ".join(f"{name} {child.pid}" for name, child in sorted(state.children.items()))
    click.echo(f"processes supervisor {state.supervisor.pid}, {pids}")
    if state.restarts:
        click.echo(f"restarts  {state.restarts}")
