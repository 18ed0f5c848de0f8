"""A group whose commands are imported when one is called, or when the help of the group is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from scalelab.core.errors import did_you_mean


class LazyGroup(click.Group):
    """Loads commands by name: the module `prefix` + NAME holds NAME, a click command or group."""

    def __init__(self, *args: Any, prefix: str, names: Sequence[str], **attributes: Any):
        super().__init__(*args, **attributes)
        self.prefix = prefix
        self.names = tuple(names)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they were named."""
        return list(self.names)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command."""
        if name not in self.names:
            return None
        command: click.Command = getattr(importlib.import_module(self.prefix + name), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Say which command was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and args[0] not in self.names:
                hint = did_you_mean(args[0], self.names)
                raise click.UsageError(f"{error.message} {hint}", ctx) from None
            raise
