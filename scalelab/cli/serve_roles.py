"""``scalelab serve gateway | worker | alive``: one process of the service, as containers run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_CONTEXT = {"auto_envvar_prefix": "SCALELAB"}


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that gateway and worker have in common."""
    for option in (
        click.option(
            "--broker", default="", help="redis://HOST:6379/0, rediss://, amqp://", show_envvar=True
        ),
        click.option(
            "--contract",
            default="scalelab.serve.pins:CONTRACT",
            help="What the model takes.",
            show_default=True,
            show_envvar=True,
        ),
        click.option(
            "--queue",
            default="pins",
            help="Gateways and workers of one queue share its work.",
            show_default=True,
            show_envvar=True,
        ),
        click.option(
            "--host", default="127.0.0.1", help="Address to listen on.", show_default=True, show_envvar=True
        ),
    ):
        command = option(command)
    return command


@click.command(context_settings=_CONTEXT)
@_shared
@click.option("--port", default=8000, show_default=True, show_envvar=True, help="Port to listen on.")
@click.option(
    "--max-depth", default=20_000, show_default=True, show_envvar=True, help="Most tasks queued; then 429."
)
@click.option(
    "--rate-limit",
    default=0.0,
    show_envvar=True,
    help="Most requests a second of one client.  [default: no limit]",
)
@click.option("--api-key-file", default="", show_envvar=True, help="Ask for a key from this file.")
def gateway(
    broker: str,
    contract: str,
    queue: str,
    host: str,
    port: int,
    max_depth: int,
    rate_limit: float,
    api_key_file: str,
) -> None:
    """Run one gateway, without workers, until SIGTERM."""
    from scalelab.serve.broker import BrokerLimits
    from scalelab.serve.roles import run_role
    from scalelab.serve.settings import StackSettings

    settings = StackSettings(
        model_path="",
        contract=contract,
        queue=queue,
        host=host,
        port=port,
        rate_limit=rate_limit,
        api_key_file=api_key_file,
        limits=BrokerLimits(max_depth=max_depth),
    )
    raise SystemExit(run_role("gateway", settings, broker=broker, port=port))


@click.command(context_settings=_CONTEXT)
@_shared
@click.option(
    "--model-path",
    type=click.Path(path_type=Path),
    required=True,
    show_envvar=True,
    help="Model file to serve.",
)
@click.option(
    "--model",
    default="",
    show_envvar=True,
    help="Factory that loads it, MODULE:FACTORY.  [default: the PIN reader's]",
)
@click.option("--threads", default=1, show_default=True, show_envvar=True, help="Threads of the model.")
@click.option("--max-batch", default=16, show_default=True, show_envvar=True, help="Most items in one run.")
@click.option("--metrics-port", default=0, show_envvar=True, help="Port for Prometheus.  [default: none]")
def worker(
    broker: str,
    contract: str,
    queue: str,
    host: str,
    model_path: Path,
    model: str,
    threads: int,
    max_batch: int,
    metrics_port: int,
) -> None:
    """Run one worker until SIGTERM.

    The batch in hand is answered first.
    """
    from scalelab.serve.batching import BatchPolicy
    from scalelab.serve.roles import run_role
    from scalelab.serve.service import DEFAULT_MODEL, check_model
    from scalelab.serve.settings import StackSettings

    settings = StackSettings(
        model_path=str(model_path),
        model=model or DEFAULT_MODEL,
        contract=contract,
        queue=queue,
        host=host,
        threads=threads,
        policy=BatchPolicy(max_batch=max_batch),
    )
    check_model(settings.model, settings.model_path)
    raise SystemExit(run_role("worker", settings, broker=broker, metrics_port=metrics_port))


@click.command(context_settings=_CONTEXT)
@click.argument("role", type=click.Choice(["gateway", "worker"]))
@click.option("--port", default=8000, show_default=True, show_envvar=True, help="Of the gateway.")
@click.option("--metrics-port", default=9100, show_default=True, show_envvar=True, help="Of the worker.")
def alive(role: str, port: int, metrics_port: int) -> None:
    """Ask whether this container's process lives.

    Its gateway or worker; exit code 1 if not.
    """
    from scalelab.serve.roles import check_alive

    if wrong := check_alive(role, port if role == "gateway" else metrics_port):
        click.echo(wrong, err=True)
        raise SystemExit(1)
