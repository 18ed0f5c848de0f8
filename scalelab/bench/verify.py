"""Check a bundle: is each byte as it was packed, and do its parts follow from each other?

What nothing in the file can show: that somebody changed the records and packed a whole bundle of them anew.
Then the file's own sha256 is another one. Compare it with the one that was published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalelab.bench.as_run import unlike_their_run
from scalelab.bench.bundle import CODE, NOTEBOOKS, check_format
from scalelab.bench.evidence import (
    MACHINE,
    RECORDS,
    REPORT,
    SOURCES,
    SUITE,
    TABLES,
    derived,
    drawing_hash,
    parse_records,
    plain,
    read_json,
)
from scalelab.bench.keys import code_files, code_hash
from scalelab.bench.sealed import unseal
from scalelab.core.errors import DataError
from scalelab.core.records import RunRecord

Changed = tuple[str, str]


@dataclass(frozen=True)
class Findings:
    """What was found in a bundle."""

    sha256: str
    """of the file"""
    changed: tuple[Changed, ...]
    """(member, why) that is not as it was packed, or does not follow from the others"""
    tables_differ: tuple[str, ...]
    """names of the tables that its records do not give"""
    notes: tuple[str, ...]
    """what should be known, and is no change"""
    unjudged: tuple[str, ...] = ()
    """names of the tables that were made by other code and come out otherwise here"""

    @property
    def is_whole(self) -> bool:
        """Nothing was found."""
        return not self.changed and not self.tables_differ


def verify_bundle(path: Path, *, sha256: str = "") -> Findings:
    """Look for any byte of the bundle at `path` that has changed, and make its tables and page anew.

    Args:
        sha256: the published hash of the file; empty: not known.

    Raises:
        DataError: it is no bundle, one of a later format, or one that nobody packed honestly (bomb, link).
    """
    found = unseal(path)
    changed = list(found.changed)
    if sha256 and found.sha256 != sha256.strip().lower():
        changed.insert(0, ("the file", f"its sha256 is {found.sha256}, the published one {sha256}"))
    if found.changed:  # what follows from torn parts says nothing
        return Findings(found.sha256, tuple(changed), (), ())
    members = found.members
    check_format(path, members)
    changed += _strange(members)
    records, damaged = parse_records(members[RECORDS])
    notes = [f"{RECORDS}, line {line}: {why}: left out" for line, why in damaged]
    told = read_json(members.get(TABLES, b""))
    is_same_code = isinstance(told, dict) and told.get("code") == drawing_hash()
    tables, others = _follow(members, records, told)
    if is_same_code:
        changed += others
    else:
        notes.append(f"other code made tables and page: {REPORT} was not judged, open it as a stranger's")
    changed += unlike_their_run(members, records)
    notes += _origin(members, records)
    judged, unjudged = (tables, ()) if is_same_code else ((), tables)
    return Findings(found.sha256, tuple(changed), judged, tuple(notes), unjudged)


def _strange(members: Mapping[str, bytes]) -> Iterator[Changed]:
    known = {RECORDS, SUITE, CODE, MACHINE, TABLES, REPORT}
    for name in sorted(known - members.keys() - {SUITE}):
        yield name, "it is missing"
    code = read_json(members[CODE])
    if code.get("hash") == code_hash() and code.get("files") != code_files():
        yield CODE, "not the files of the code that it names"
    for name in members:
        if name not in known and not name.startswith((NOTEBOOKS, SOURCES)):
            yield name, "no part of a bundle"


def _follow(
    members: Mapping[str, bytes], records: Sequence[RunRecord], told: object
) -> tuple[tuple[str, ...], list[Changed]]:
    """Return the tables, and the other members, that do not follow from the records."""
    try:
        anew = derived(members[RECORDS], records, members.get(SUITE, b""))
    except Exception as error:  # records of a stranger may break a page in ways that nobody thought of
        why = f"no tables can be made of them ({type(error).__name__}: {plain(str(error))})"
        return _tables_that_differ(told, None) or ("all",), [(RECORDS, why)]
    differ = _tables_that_differ(told, read_json(anew[TABLES]))
    others = {
        MACHINE: "not the machines of the records",
        TABLES: "not written as the records give it",
        REPORT: "not the page of these records",
    }
    return differ, [
        (name, why)
        for name, why in others.items()
        if name in members and members[name] != anew[name] and not (name == TABLES and differ)
    ]


def _tables_that_differ(told: object, anew: object) -> tuple[str, ...]:
    """Compare the tables by their names."""
    lists: list[list[object]] = []
    for tables in (told, anew):
        listed = tables.get("tables") if isinstance(tables, dict) else None
        lists.append(listed if isinstance(listed, list) else [])
    if lists[0] == lists[1]:
        return ()
    ours, theirs = ({str(t.get("name")): t for t in rows if isinstance(t, dict)} for rows in lists)
    differ = tuple(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    return differ or ("their order",)


def _origin(members: Mapping[str, bytes], records: Sequence[RunRecord]) -> Iterator[str]:
    """Say what the records name that the bundle does not hold, or holds in another version."""
    if SUITE not in members:
        yield f"there is no {SUITE}: these points cannot be replayed"
    code = read_json(members[CODE])
    suite = hashlib.sha256(members.get(SUITE, b"")).hexdigest()
    counts = {
        "their executed notebook is not in the bundle": [
            r for r in records if (name := r.run.get("executed")) and name not in members
        ],
        "they were run from another version of the suite": [
            r for r in records if r.run.get("suite", suite) != suite and SUITE in members
        ],
        f"they were measured by other code than {CODE} says": [
            r for r in records if r.run.get("code", code.get("hash")) != code.get("hash")
        ],
    }
    for why, found in counts.items():
        if found:
            yield f"{len(found)} of {len(records)} records: {why}"


def published(text: str) -> str:
    """Read the sha256 that somebody published.

    Raises:
        DataError: it is none.
    """
    told = text.strip().lower()
    if len(told) != 64 or set(told) - set("0123456789abcdef"):
        raise DataError(f"{text!r} is no sha256", hint="give its 64 digits, as `scalelab bench bundle` shows")
    return told
