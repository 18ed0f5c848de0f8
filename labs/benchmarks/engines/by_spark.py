"""Spark: a Java server that Python sends plans to, here on the threads of this machine."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from engines.question import LATE_MIN, Row, rows


def answer(flights: Path, airlines: Path, threads: int) -> list[Row]:
    """Answer the question; to start and stop the server is part of it."""
    builder = SparkSession.builder.master(f"local[{threads}]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.shuffle.partitions", threads).getOrCreate()
    try:
        read = spark.read.option("header", True).option("inferSchema", True)
        late = F.when(F.col("arr_delay") > LATE_MIN, 1)
        found = (
            read.csv(str(flights))
            .join(read.csv(str(airlines)), "carrier")
            .groupBy("name", "month")
            .agg(
                F.count("*"),
                F.count("*") - F.count("dep_delay"),
                F.count(late),
                F.coalesce(F.sum("arr_delay"), F.lit(0)),
                F.countDistinct("dest"),
            )
        )
        return rows(tuple(row) for row in found.collect())
    finally:
        spark.stop()
