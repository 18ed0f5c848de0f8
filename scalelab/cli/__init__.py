"""The command line: every command parses its words, calls one function of the package and prints.

A command lives in the module of its name and is imported when it is called or when help is asked for;
whatever is heavy is imported inside the command function.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from scalelab import __version__
from scalelab.core.errors import ScalelabError, did_you_mean

COMMANDS = ("doctor", "demo", "lab", "data", "train", "serve", "load", "bench", "cost", "author")
"""in the order of the road; ``scalelab/cli/NAME.py`` holds ``NAME``, a click command or group"""


class Road(click.Group):
    """Loads commands by name and turns our errors into two lines and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the road."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"scalelab.cli.{name}"), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Say which command was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and args[0] not in COMMANDS:
                raise click.UsageError(f"{error.message} {did_you_mean(args[0], COMMANDS)}", ctx) from None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors end it with a message, a hint and their exit code."""
        try:
            return super().invoke(ctx)
        except ScalelabError as error:
            click.secho(f"error: {error.message}", fg="red", err=True)
            if error.hint:
                click.secho(f"hint: {error.hint}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Road, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scalelab")
def main() -> None:
    """Take one model from notebook prototype to load-tested service, and measure what every step buys."""
