"""``scalelab bench report``: the page and the table of a folder of results."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def report(folder: Path, open_page: bool) -> None:
    """Build report.html from FOLDER's records, and print the table."""
    from scalelab.bench import build_report
    from scalelab.cli.suites import show_table

    page = build_report(folder)
    show_table(folder)
    click.echo(f"report: {page}")
    if open_page:
        click.launch(page.resolve().as_uri())
