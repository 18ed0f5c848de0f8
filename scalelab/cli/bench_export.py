"""``scalelab bench export``: the records of a folder as one Parquet file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write.  [default: records.parquet beside the records]")  # fmt: skip
def export(folder: Path, out: Path | None) -> None:
    """Write FOLDER's records as one Parquet table, a row a value.

    \b
    scalelab bench export runs/road
    duckdb -c "select point, metric, median(value) from 'runs/road/records.parquet' group by all"

    Exit codes: 0 written, 2 no records, or a file that cannot be written.
    """
    from scalelab.bench.export import to_parquet
    from scalelab.bench.results import read_results
    from scalelab.cli.load_options import warn
    from scalelab.core.units import format_bytes

    results = read_results(folder)
    warn([f"{results.path}, line {line.line} is left out: {line.why}" for line in results.damaged])
    out = out or results.path.with_suffix(".parquet")
    rows = to_parquet(results, out)
    click.echo(
        f"{out}: {rows:,} values of {len(results.records):,} records, {format_bytes(out.stat().st_size)}"
    )
