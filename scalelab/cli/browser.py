"""Open a page in the browser, where there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


def show_page(page: Path) -> None:
    """Show a page; without a display or a browser, say where it lies."""
    shows = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    is_blind = sys.platform.startswith("linux") and not any(map(os.environ.get, shows))
    if is_blind or click.launch(page.resolve().as_uri()) != 0:
        click.echo(f"no browser can be opened from here: open {page.resolve()} in one", err=True)
