"""``scalelab bench replay``: does what a bundle claims hold on this machine?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalelab.cli.load_options import COULD_NOT_TELL, read_share, warn

if TYPE_CHECKING:
    from scalelab.bench.replay import Replay

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
WORDS = {
    "PASS": "It holds here.",
    "FAIL": "It does not hold here.",
    "INCONCLUSIVE": "It could not be told whether it holds here.",
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sample", default=3, show_default=True, help="How many points to run again.")
@click.option("--seed", default=0, show_default=True, help="Draws the points.")
@click.option("--within", metavar="PER CENT", default="10%", show_default=True,
              callback=lambda _c, _o, text: read_share(text),
              help="By so much may a headline number be worse here.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Folder for the new results.  [default: runs/replay-NAME-HASH]")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Run again what an earlier replay of this bundle did.")
@click.option("--trust", is_flag=True, help="Run programs in FILE that do not ship with this version.")
def replay(
    file: Path, sample: int, seed: int, within: float, out: Path | None, fresh: bool, trust: bool
) -> None:
    """Run a sample of a bundle's points again, and judge its claims.

    Points are drawn from those that succeeded in FILE, and run as often as there, with what they need. A
    claim that passed there must pass here; a headline number must not be worse by more than --within,
    on another machine as a multiple of the reference workload's time. Numbers need six rounds to be judged.

    Without --trust only notebooks, modules and suites that ship with this version are run; of others it is
    said what would be run, and where to read them.

    Exit codes: 0 it holds here, 1 it does not, 2 wrong input or no --trust, 6 could not tell.
    """
    from scalelab.bench.replay import replay as run_again
    from scalelab.bench.sealed import unseal
    from scalelab.cli.suites import Progress
    from scalelab.core.paths import runs_folder

    sha256 = unseal(file).sha256
    folder = out or runs_folder() / f"replay-{file.name.partition('.')[0]}-{sha256[:8]}"
    with Progress() as progress:
        found = run_again(
            file, sample=sample, seed=seed, folder=folder, watcher=progress, trust=trust, within=within,
            fresh=fresh,
        )  # fmt: skip
    _show(found)
    click.echo(f"The new results: {folder / 'results'}")
    click.secho(WORDS[found.verdict.value], fg=COLOURS[found.verdict.value])
    if found.verdict.value != "PASS":
        raise SystemExit(1 if found.verdict.value == "FAIL" else COULD_NOT_TELL)


def _show(found: Replay) -> None:
    """Print the claims there and here, the numbers of both, and the notes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from scalelab.bench.compare_text import table_of

    console = Console(highlight=False)
    claims = Table("point", "claim", "there", "here", "measured here", box=None, padding=(0, 1, 0, 0))
    for claim in found.claims:
        there, here = (f"[{COLOURS[v.value]}]{v.value}[/]" for v in (claim.there, claim.here))
        claims.add_row(escape(claim.subject), escape(claim.text), there, here, escape(claim.detail))
    if found.claims:
        console.print(claims)
    if found.numbers:
        text = table_of([row for row, _ in found.numbers])
        numbers = Table(*map(escape, (*text.header[:-1], "here")), box=None, padding=(0, 1, 0, 0))
        for cells, (_, vote) in zip(text.rows, found.numbers, strict=True):
            shown = "no vote" if vote is None else f"[{COLOURS[vote.value]}]{vote.value}[/]"
            numbers.add_row(*map(escape, cells[:-1]), shown)
        console.print("\nThe headline numbers: A in the bundle, B here")
        console.print(numbers)
    warn(list(found.notes))
