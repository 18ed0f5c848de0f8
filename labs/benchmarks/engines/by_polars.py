"""Polars: a lazy plan, of which only the columns and rows that count are read, on all threads."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from engines.question import LATE_MIN, Row, rows


def answer(flights: Path, airlines: Path, threads: int) -> list[Row]:
    """Answer the question; the number of threads is set by POLARS_MAX_THREADS, before the import."""
    del threads
    delay = pl.col("arr_delay")
    found = (
        pl.scan_csv(flights)
        .join(pl.scan_csv(airlines), on="carrier")
        .group_by("name", "month")
        .agg(
            pl.len().alias("flights"),
            pl.col("dep_delay").null_count().alias("cancelled"),
            (delay > LATE_MIN).sum().alias("late"),
            delay.sum().alias("delay_min"),
            pl.col("dest").n_unique().alias("places"),
        )
        .collect(engine="streaming")
    )
    return rows(found.iter_rows())
