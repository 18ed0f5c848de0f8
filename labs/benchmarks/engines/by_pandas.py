"""pandas: everything in memory, one thread."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from engines.question import LATE_MIN, Row, rows

COLUMNS = ["month", "carrier", "dest", "dep_delay", "arr_delay"]


def answer(flights: Path, airlines: Path, threads: int) -> list[Row]:
    """Answer the question; pandas has no use for more threads."""
    del threads
    table = pd.read_csv(flights, usecols=COLUMNS).merge(pd.read_csv(airlines), on="carrier")
    table["cancelled"] = table["dep_delay"].isna()
    table["late"] = table["arr_delay"] > LATE_MIN
    groups = table.groupby(["name", "month"])
    found = groups.agg(
        flights=("carrier", "size"),
        cancelled=("cancelled", "sum"),
        late=("late", "sum"),
        delay_min=("arr_delay", "sum"),
        places=("dest", "nunique"),
    )
    return rows(found.reset_index().itertuples(index=False))
