"""What a bundle's parts say, and what follows from them; they may come from strangers."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from scalelab.bench.sealed import json_bytes
from scalelab.core.errors import DataError
from scalelab.core.machine import installed_version, machine_key
from scalelab.core.records import Damage, RecordStore, RunRecord

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECORDS, SUITE, SOURCES = "records.jsonl", "suite.toml", "sources/"
MACHINE, TABLES, REPORT = "machine.json", "tables.json", "report.html"
GET_ANOTHER = "ask for the file again, as `scalelab bench bundle` wrote it"
_TEXTS_OF_RUN = ("id", "pair", "worker", "key", "code", "tier", "suite", "reference", "executed")
_PACKAGE = Path(__file__).resolve().parents[1]


def derived(stored: bytes, records: Sequence[RunRecord], suite: bytes) -> dict[str, bytes]:
    """Return the members that follow from the records: the same records give the same bytes.

    Args:
        stored: the records' file.
        records: what `parse_records` made of it.
        suite: the suite's; empty: none.
    """
    from scalelab.bench.report import build_report
    from scalelab.bench.tables import report_tables

    title = _toml(suite).get("title")
    with tempfile.TemporaryDirectory(prefix="scalelab-bundle-") as temporary:
        folder = Path(temporary) / "results"  # the page must not depend on where the results lie
        folder.mkdir()
        (folder / RECORDS).write_bytes(_whole_lines(stored))
        page = build_report(folder, **({"title": title} if isinstance(title, str) else {})).read_bytes()
    machines = {machine_key(record.machine): record.machine for record in records if record.machine}
    tables = [asdict(table) for table in report_tables(records)]
    return {
        MACHINE: json_bytes(machines),
        TABLES: json_bytes({"code": drawing_hash(), "tables": tables}),
        REPORT: page,
    }


@cache
def drawing_hash() -> str:
    """Return the hash of the code that makes tables and pages of records: equal code, equal tables."""
    digest = hashlib.sha256()
    files = [path for name in ("bench", "core") for path in (_PACKAGE / name).rglob("*")]
    for path in sorted(path for path in files if path.suffix in (".py", ".html", ".css")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(str(installed_version("plotly")).encode())
    return digest.hexdigest()


def parse_records(stored: bytes) -> tuple[tuple[RunRecord, ...], tuple[Damage, ...]]:
    """Read a store's bytes, from whomever: records with fields of another kind are damage too.

    Raises:
        DataError: not one record.
    """
    damaged: list[Damage] = []
    with tempfile.TemporaryDirectory(prefix="scalelab-bundle-") as temporary:
        store = RecordStore(Path(temporary) / RECORDS)
        store.path.write_bytes(_whole_lines(stored))
        try:
            records = tuple(store.read(damaged=damaged))
        except (RecursionError, OverflowError) as error:
            raise DataError(f"{RECORDS} holds what no record does ({error})", hint=GET_ANOTHER) from None
    if not records:
        why = f": line {damaged[0].line}: {damaged[0].why}" if damaged else ""
        raise DataError(f"{RECORDS} has no records{why}", hint="run `scalelab bench run` first")
    for record in records:
        if not _is_sound(record):
            raise DataError(
                f"{RECORDS} holds a record whose fields are of another kind: {str(record.subject)[:60]!r}",
                hint=GET_ANOTHER,
            )
    if not stored.endswith(b"\n"):
        damaged.append(Damage(stored.count(b"\n") + 1, "half a line"))
    return records, tuple(damaged)


def read_json(text: bytes) -> Any:
    """Return the value of a JSON text from whomever; None: it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def plain(text: str) -> str:
    """Return a stranger's text as one line that a terminal shows as it is."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def tables_of(suite: bytes, key: str) -> list[dict[str, Any]]:
    """Return what stands under ``[[key]]`` in a suite: its points, its pairs."""
    tables = _toml(suite).get(key, [])
    return [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []


def _toml(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{SUITE} is not TOML: {error}", hint=GET_ANOTHER) from None


def _whole_lines(stored: bytes) -> bytes:
    return stored[: stored.rfind(b"\n") + 1]


def _is_sound(record: RunRecord) -> bool:
    """Tell whether a record's fields are of the kinds that its readers count on."""
    texts = [record.subject, record.status, record.git, record.when, record.id]
    texts += [text for metric in record.metrics for text in (metric.name, metric.unit)]
    numbers = [*record.reference_s, *(value for metric in record.metrics for value in metric.values)]
    tables = (record.parameters, record.notes, record.machine, record.run)
    try:
        return (
            all(text.isprintable() for text in texts)
            and all(isinstance(table, dict) for table in tables)
            and all(map(math.isfinite, numbers))
            and record.status in ("done", "failed", "skipped")
            and all(isinstance(record.run.get(name, ""), str) for name in _TEXTS_OF_RUN)
            and type(record.run.get("round", 0)) is int
            and isinstance(record.run.get("artifacts", {}), dict)
            and machine_key(record.machine) != ""
        )
    except (TypeError, AttributeError, OverflowError):
        return False
