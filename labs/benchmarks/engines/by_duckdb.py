"""DuckDB: SQL over the file itself, block by block, on all threads."""

from __future__ import annotations

from pathlib import Path

import duckdb

from engines.question import LATE_MIN, Row, rows

QUESTION = """
    SELECT name, month, count(*), count(*) - count(dep_delay), count(*) FILTER (arr_delay > ?),
           coalesce(sum(arr_delay), 0), count(DISTINCT dest)
    FROM read_csv(?) JOIN read_csv(?) USING (carrier)
    GROUP BY name, month
"""


def answer(flights: Path, airlines: Path, threads: int) -> list[Row]:
    """Answer the question."""
    with duckdb.connect(config={"threads": threads}) as connection:
        return rows(connection.execute(QUESTION, [LATE_MIN, str(flights), str(airlines)]).fetchall())
