"""The records as one flat Parquet table, for DuckDB, pandas and whatever else reads it: a row a value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scalelab.bench.results import Results
from scalelab.bench.row import reference_of
from scalelab.core.lazy import require
from scalelab.core.machine import machine_key
from scalelab.core.records import RunRecord

_ROWS_AT_ONCE = 100_000
_COLUMNS = {
    "record_id": "string", "schema": "int64", "subject": "string", "suite": "string", "point": "string",
    "round": "int64", "status": "string", "when": "string", "git": "string", "seed": "int64",
    "machine_key": "string", "cpu": "string", "cores": "int64", "worker": "string", "tier": "string",
    "key": "string", "parameters": "string", "metric": "string", "unit": "string", "position": "int64",
    "value": "float64", "reference_s": "float64",
}  # fmt: skip


def to_parquet(results: Results, path: Path) -> int:
    """Write every value of every record to a Parquet file (zstd), whole or not at all; return its rows.

    A record's values are rows of their own, by ``metric`` and ``position`` (from 0); ``parameters`` is JSON
    text, ``reference_s`` the median time of the reference workload beside the record [s] or null. A record
    without values (failed, skipped) is one row whose metric, unit, position and value are null.

    Raises:
        MissingDependency: pyarrow is not installed.
        OSError: the file cannot be written; what was there before is kept.
    """
    arrow, parquet = require("pyarrow", extra="data"), require("pyarrow.parquet", extra="data")
    schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in _COLUMNS.items()])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    rows = 0
    try:
        with parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
            for part in _parts(results.records):
                writer.write_table(arrow.Table.from_pylist(part, schema=schema))
                rows += len(part)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return rows


def _parts(records: Sequence[RunRecord]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for record in records:
        part += _rows(record)
        if len(part) >= _ROWS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    suite, _, point = record.subject.partition("/")
    shared = {
        "record_id": record.id,
        "schema": record.schema,
        "subject": record.subject,
        "suite": suite,
        "point": point,
        "round": record.run.get("round"),
        "status": record.status,
        "when": record.when,
        "git": record.git,
        "seed": record.seed,
        "machine_key": machine_key(record.machine),
        "cpu": record.machine.get("cpu"),
        "cores": record.machine.get("cores"),
        "worker": record.run.get("worker"),
        "tier": record.run.get("tier"),
        "key": record.run.get("key"),
        "parameters": json.dumps(dict(record.parameters), ensure_ascii=False, sort_keys=True),
        "reference_s": reference_of(record),
    }
    values = [
        (metric, place, value) for metric in record.metrics for place, value in enumerate(metric.values)
    ]
    for metric, place, value in values:
        yield shared | {"metric": metric.name, "unit": metric.unit, "position": place, "value": value}
    if not values:
        yield shared
