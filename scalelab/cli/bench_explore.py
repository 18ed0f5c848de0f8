"""``scalelab bench explore``: a folder of results in JupyterLab, to turn over by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
@click.option("--open/--no-open", "opens", default=True, show_default=True, help="Open JupyterLab there.")
def explore(folder: Path, jupyter: tuple[str, ...], opens: bool) -> None:
    """Open FOLDER's records in JupyterLab, with widgets.

    Writes FOLDER/explore.ipynb, unless it is there; its one cell shows the explorer. What follows a `--` is
    passed on to JupyterLab. Exit codes: 0 well, 2 wrong input.
    """
    from scalelab.bench.explorer import write_notebook
    from scalelab.classroom.jupyterlab import lab_command

    path = write_notebook(folder)
    click.echo(f"{path}: run its cell (Shift+Enter)")
    if not opens:
        return
    command, variables = lab_command(path)
    environment = {**os.environ, **variables}
    if sys.platform == "win32":
        raise SystemExit(subprocess.call([*command, *jupyter], env=environment))
    # Ctrl-C is JupyterLab's own: it asks before it ends
    os.execve(command[0], [*command, *jupyter], environment)
