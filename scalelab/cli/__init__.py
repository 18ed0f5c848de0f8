"""The command line: every command parses its words, calls one function of the package and prints.

A command lives in the module of its name and is imported when it is called or when help is asked for;
whatever is heavy is imported inside the command function.
"""

from __future__ import annotations

import errno
import warnings
from typing import Any

import click

from scalelab import __version__
from scalelab.cli.lazy_group import LazyGroup
from scalelab.core.errors import ScalelabError

COMMANDS = (
    "doctor", "demo", "lab", "data", "train", "serve", "load", "bench", "cost", "author", "grade",
    "gradebook", "course",
)  # fmt: skip
"""in the order of the road; ``scalelab/cli/NAME.py`` holds ``NAME``, a click command or group"""

INTERRUPTED = 130
"""exit code after Ctrl-C, as shells have it"""
_OF_THE_MACHINE = {errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
"""what the file system refuses although the program is right"""


class Road(LazyGroup):
    """Turns our errors into two lines and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our own errors end it with a message, a hint and their exit code.

        So do Ctrl-C and a file system that refuses (no space, no permission); whatever else is raised is
        a mistake of ours and keeps its traceback.
        """
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except ScalelabError as error:
            _end(ctx, error.message, error.hint, error.exit_code)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; nothing is left running", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno not in _OF_THE_MACHINE:
                raise
            where = f"{error.filename}: " if error.filename else ""
            _end(ctx, f"{where}{error.strerror}", "free some space there, or choose another folder", 2)


def _end(ctx: click.Context, message: str, hint: str, code: int) -> None:
    click.secho(f"error: {message}", fg="red", err=True)
    if hint:
        click.secho(f"hint: {hint}", err=True)
    ctx.exit(code)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    """Show a warning of ours as one line; those of others keep the place they come from."""
    if category.__module__.startswith("scalelab"):
        click.secho(f"warning: {message}", fg="yellow", err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, nl=False)


@click.group(
    cls=Road,
    prefix="scalelab.cli.",
    names=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="scalelab")
def main() -> None:
    """Take one model from notebook prototype to load-tested service, and measure what every step buys."""
