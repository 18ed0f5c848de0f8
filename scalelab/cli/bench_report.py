"""``scalelab bench report``: the page and the table of folders of results."""

from __future__ import annotations

from pathlib import Path

import click

from scalelab.cli.browser import show_page


@click.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--against", metavar="BASE", type=click.Path(path_type=Path), help="Compare with an earlier folder."
)
@click.option("--title", help="Of the page; by default the suite's own.")
@click.option("--out", type=click.Path(path_type=Path), help="[default: FOLDER/report.html]")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
def report(
    folders: tuple[Path, ...], against: Path | None, title: str | None, out: Path | None, open_page: bool
) -> None:
    """Build report.html from FOLDER's records, and print the table.

    Several folders become one page, beside the first. With --against the page begins with a comparison:
    BASE is A, what was before; FOLDER is B. Exit codes: 0 well, 2 wrong input.
    """
    from scalelab.bench import build_report
    from scalelab.bench.compare import compare_results
    from scalelab.bench.results import read_results
    from scalelab.cli.suites import show_table

    if against is not None and len(folders) > 1:
        raise click.UsageError(f"--against compares one folder, you gave {len(folders)}")
    comparison = None
    if against is not None:
        comparison = compare_results(read_results(against), read_results(folders[0]))
    for folder in folders:
        for damage in read_results(folder).damaged:
            click.echo(f"{folder}, line {damage.line} is no record, left out: {damage.why}", err=True)
    page = build_report(folders, title=title, comparison=comparison, out=out)
    for folder in folders:
        show_table(folder)
    click.echo(f"report: {page}")
    if open_page:
        show_page(page)
