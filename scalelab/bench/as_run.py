"""Do a bundle's records, its executed notebooks and its sources belong together?"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalelab.bench.evidence import SOURCES, SUITE, read_json, tables_of
from scalelab.bench.keys import code_hash, point_key
from scalelab.bench.results import newest_of
from scalelab.bench.suite import load_suite
from scalelab.bench.unpacked import check_suite, lay_out
from scalelab.core.errors import UserError
from scalelab.core.records import RunRecord


def unlike_their_run(members: Mapping[str, bytes], records: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Yield members that are not what the records came of, each with the reason.

    Looked at are the code of the executed notebooks beside that of the sources; their parameters beside the
    record's; and, for points that need no other and ran by this code, the record's key, which has the modules
    in it too. Outputs of notebooks are not: nothing else says what they should be.
    """
    if SUITE not in members:
        return
    for name, record in {str(record.run.get("executed", "")): record for record in records}.items():
        if name in members:
            yield from _unlike(name, members, record)
    yield from _other_keys(members, records)


def notebook_of(subject: str, suite: bytes) -> str:
    """Return the notebook of a point, as its suite names it; empty: the suite has no such point."""
    named = {str(point.get("name")): str(point.get("notebook")) for point in tables_of(suite, "point")}
    point = subject.partition("/")[2]
    return named.get(point) or named.get(point.partition("[")[0], "")  # [k=v] is of a matrix


def _unlike(name: str, members: Mapping[str, bytes], record: RunRecord) -> Iterator[tuple[str, str]]:
    source = members.get(SOURCES + notebook_of(record.subject, members[SUITE]))
    if source is not None and _code_cells(members[name]) != _code_cells(source):
        yield name, f"its code is not that of the notebook {record.subject} is said to be of"
    for key, value in _given(members[name]).items():
        if key in record.parameters and record.parameters[key] != value:
            yield name, f"it ran with {key} = {value!r}, its record says {record.parameters[key]!r}"


def _other_keys(members: Mapping[str, bytes], records: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    suite, code = hashlib.sha256(members[SUITE]).hexdigest(), code_hash()
    newest = [
        r for r in newest_of(records).values() if (r.run.get("suite"), r.run.get("code")) == (suite, code)
    ]
    with tempfile.TemporaryDirectory(prefix="scalelab-bundle-") as temporary:
        try:
            check_suite(members)
            path = lay_out(members, Path(temporary))
            for tier in sorted({str(record.run.get("tier", "")) for record in newest}):
                points = {point.name: point for point in load_suite(path, tier=tier).points}
                for record in newest:
                    point = points.get(record.subject.partition("/")[2])
                    if record.run.get("tier") != tier or point is None or point.needs:
                        continue
                    if point_key(point, code, []) != record.run.get("key"):
                        notebook = point.notebook.relative_to(path.parent).as_posix()
                        yield SOURCES + notebook, f"{record.subject} ran with another one, or other modules"
        except UserError as error:
            yield SUITE, error.message


def _code_cells(notebook: bytes) -> list[str] | None:
    """Return a notebook's code, cell by cell, without the parameters put in; None: it is none."""
    raw = read_json(notebook)
    try:
        return [
            source if isinstance(source := cell["source"], str) else "".join(source)
            for cell in raw["cells"]
            if cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"].get("tags", ())
        ]
    except (KeyError, TypeError, AttributeError):
        return None


def _given(notebook: bytes) -> dict[str, Any]:
    """Return the parameters that papermill put into a notebook."""
    raw = read_json(notebook)
    try:
        return dict(raw["metadata"]["papermill"]["parameters"])
    except (KeyError, TypeError, ValueError):
        return {}
