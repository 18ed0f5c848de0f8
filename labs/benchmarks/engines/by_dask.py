"""Dask: pandas in blocks, each a task; on the threads of one process here, or of a cluster."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.dataframe as dd
import pandas as pd

from engines.by_pandas import COLUMNS
from engines.question import LATE_MIN, Row, rows

BLOCK = "16MB"
"""of the file, for one task"""


def answer(flights: Path, airlines: Path, threads: int) -> list[Row]:
    """Answer the question; delays are floats, since a block without an empty cell would guess otherwise."""
    kinds = {"dep_delay": "float64", "arr_delay": "float64"}
    table = dd.read_csv(str(flights), usecols=COLUMNS, dtype=kinds, blocksize=BLOCK)
    table = table.merge(pd.read_csv(airlines), on="carrier")
    table = table.assign(
        flights=1,
        cancelled=table["dep_delay"].isna().astype(int),
        late=(table["arr_delay"] > LATE_MIN).astype(int),
    )
    groups = table.groupby(["name", "month"])
    sums = groups[["flights", "cancelled", "late", "arr_delay"]].sum()
    with dask.config.set(scheduler="threads", num_workers=threads):
        counted, places = dask.compute(sums, groups["dest"].nunique())
    found = counted.assign(places=places)
    return rows(found.reset_index().itertuples(index=False))
