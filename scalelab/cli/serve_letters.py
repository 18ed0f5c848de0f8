"""``scalelab serve dead-letters list | retry | drop``: the tasks that were given up, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from scalelab.serve.broker import DeadLetters

_MANY = 1_000_000


@click.group("dead-letters")
def dead_letters() -> None:
    """See, retry or forget the tasks that were given up.

    They are those of the service that runs here, or of the queue that --broker and --queue name.
    """


def _on_queue(command: Callable[..., Any]) -> Callable[..., Any]:
    broker = click.option(
        "--broker", default="", envvar="SCALELAB_BROKER", help="URL.  [default: that of the service here]"
    )
    queue = click.option("--queue", default="", help="Its name.  [default: the service's, else pins]")
    return broker(queue(command))


@dead_letters.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Most letters shown.")
@_on_queue
def list_letters(limit: int, broker: str, queue: str) -> None:
    """Show the newest letters, newest last."""
    from datetime import datetime

    from scalelab.core.units import format_bytes

    letters = _open(broker, queue).list(limit)
    for letter in letters:
        when = datetime.fromtimestamp(letter.at_s).astimezone().isoformat(" ", "seconds")
        click.echo(f"{letter.task_id}  {when}  {format_bytes(len(letter.payload)):>9}  {letter.reason}")
    if not letters:
        click.echo("no dead letters")
    else:
        click.echo("try them again: scalelab serve dead-letters retry ID..., or --all", err=True)


@dead_letters.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All letters.")
@_on_queue
def retry(ids: tuple[str, ...], everything: bool, broker: str, queue: str) -> None:
    """Queue the tasks IDS anew, with all their attempts before them.

    What made a task fail must be mended first, or it comes back. Its answer "failed" is taken back.
    """
    letters = _open(broker, queue)
    wanted = _wanted(letters, ids, everything)
    _report(letters.retry(wanted), wanted, "queued again")


@dead_letters.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All letters.")
@_on_queue
def drop(ids: tuple[str, ...], everything: bool, broker: str, queue: str) -> None:
    """Forget the letters IDS; the answer "failed" stays."""
    letters = _open(broker, queue)
    wanted = _wanted(letters, ids, everything)
    _report(letters.drop(wanted), wanted, "forgotten")


def _open(broker: str, queue: str) -> DeadLetters:
    """Open the letters of the queue that was named, or of the stack that runs here."""
    from scalelab.serve.broker import open_dead_letters, reach
    from scalelab.serve.settings import StackSettings
    from scalelab.serve.stack import default_folder
    from scalelab.serve.state import kept_broker, running

    folder = default_folder()
    if not broker:
        if running(folder) is None:
            raise ConfigError(
                f"no service runs here ({folder}), so its queue cannot be asked",
                hint="start it: scalelab serve up; or name a queue elsewhere: --broker redis://HOST:PORT/0",
            )
        broker = kept_broker(folder)
        queue = queue or StackSettings.read(folder / "settings.json").queue
    reach(broker)
    return open_dead_letters(broker, queue=queue or "pins")


def _wanted(letters: DeadLetters, ids: tuple[str, ...], everything: bool) -> list[str]:
    if bool(ids) == everything:
        raise ConfigError(
            "which letters? Both IDS and --all were given" if ids else "which letters? No ID was given",
            hint="give the ids that `scalelab serve dead-letters list` shows, or --all",
        )
    return [letter.task_id for letter in letters.list(_MANY)] if everything else list(dict.fromkeys(ids))


def _report(count: int, wanted: list[str], what: str) -> None:
    """Say how many letters there were; exit code 1 if one was named that is not there."""
    click.echo(f"{count} {what}")
    if count < len(wanted):
        click.echo(
            f"{len(wanted) - count} of {len(wanted)} are no dead letters; "
            "see: scalelab serve dead-letters list",
            err=True,
        )
        raise SystemExit(1)
