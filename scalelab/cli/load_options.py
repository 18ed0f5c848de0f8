"""The options and small pieces that the commands of ``scalelab load`` share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalelab.core.errors import ConfigError, RunFailed

if TYPE_CHECKING:
    from rich.table import Table

    from scalelab.core.records import RunRecord
    from scalelab.loadtest import Target

OBJECTIVE_MISSED = 5
COULD_NOT_TELL = 6
BODY_TYPES = {".png": "image/png", ".json": "application/json"}


def target_options(default_path: str, *, with_url: bool = True) -> Callable[[Any], Any]:
    """Add the options that say what is called, and where the result goes."""
    options = [
        click.option("--path", default=default_path, show_default=True, help="Path and query."),
        click.option("--body", "body_files", multiple=True, metavar="FILE",
                     type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="File to send; may be repeated, files rotate.  [default: 64 test images]"),
        click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header to send."),
        click.option("--method", default="", help="HTTP method; GET sends no body.  [default: POST]"),
        click.option("--insecure", is_flag=True, help="Do not check the certificate of an https address."),
        click.option("--seed", default=0, show_default=True, help="Draws the arrivals."),
        click.option("--record", "record_file", metavar="FILE",
                     type=click.Path(dir_okay=False, path_type=Path),
                     help="Append the result to this file of records (JSON lines)."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ]  # fmt: skip
    if with_url:
        options.insert(
            0,
            click.option("--url", help="Scheme, host and port of the service.  [default: the running stack]"),
        )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def processes_option(command: Any) -> Any:
    """Add ``--processes``; "auto" is None."""
    return click.option(
        "--processes", default="auto", show_default=True, callback=_read_processes, metavar="N|auto",
        help="Generators that share the schedule; auto: one, and more where it is the bottleneck.",
    )(command)  # fmt: skip


def _read_processes(_context: Any, _option: Any, text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--processes {text}", hint="give a number from 1 up, or auto")
    return int(text)


def make_target(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool,
) -> Target:  # fmt: skip
    """Build the target; without an address it is the running stack, without bodies images of PIN codes."""
    from scalelab.loadtest import Target

    if url is None:
        from scalelab.serve.stack import default_folder
        from scalelab.serve.state import running

        state = running(default_folder())
        if state is None:  # a state file alone may be that of a killed stack
            raise RunFailed(
                f"no stack runs in {default_folder()}",
                hint="start one: scalelab serve up --detach; or name another: --url http://127.0.0.1:8000",
            )
        url = state.url
    named = dict(_split_header(text) for text in headers)
    if method.upper() in ("GET", "HEAD"):
        return Target(url, path, (), named, method, verify_tls=not insecure)
    kind = "application/octet-stream"
    if body_files:
        bodies = [file.read_bytes() for file in body_files]
        kind = BODY_TYPES.get(body_files[0].suffix.lower(), kind)
    else:
        from scalelab.data import compose_pins

        bodies = [image.tobytes() for image in compose_pins(64, "test").images]
    if not any(name.lower() == "content-type" for name in named):
        named["Content-Type"] = kind
    return Target(url, path, tuple(bodies), named, method, verify_tls=not insecure)


def _split_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"--header {text!r} is no header", hint='write it as "Name: value"')
    return name.strip(), value.strip()


def read_share(text: str | None) -> float | None:
    """Read the share of --fail-over: ``10%`` or ``0.1``."""
    if text is None:
        return None
    number, per_cent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        share = float(number) / (100 if per_cent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 100:
        raise ConfigError(f"--fail-over {text!r} is no share", hint="write 10% or 0.1")
    return share


@contextmanager
def progress(what: str, seconds: float) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr for what takes over two seconds; yields the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn(f"of {seconds:g} s"),
    )
    console = Console(stderr=True)
    is_hidden = seconds < 2 or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def show(as_json: bool, values: dict[str, Any], *tables: Callable[[], Table]) -> None:
    """Print the result as JSON, or as tables."""
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    from rich.console import Console

    for table in tables:
        Console().print(table())


def warn(sentences: list[str]) -> None:
    """Say on stderr what a reader must know."""
    for sentence in sentences:
        click.secho(f"warning: {sentence}", fg="yellow", err=True)


def save(path: Path | None, record: Callable[[], RunRecord]) -> None:
    """Append the record, if a file was named."""
    if path is not None:
        from scalelab.core.records import RecordStore

        RecordStore(path).append(record())
        click.echo(f"record: {path}", err=True)


def leave(verdict: str, claim: str) -> None:
    """Say the verdict on stderr and end with its exit code: 0 PASS, 5 FAIL, 6 INCONCLUSIVE."""
    colour = {"PASS": "green", "FAIL": "red"}.get(verdict, "yellow")
    click.secho(f"{verdict}: {claim}", fg=colour, err=True)
    code = {"PASS": 0, "FAIL": OBJECTIVE_MISSED}.get(verdict, COULD_NOT_TELL)
    if code:
        raise SystemExit(code)
