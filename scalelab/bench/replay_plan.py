"""What of a bundle would be run again: which points, of which files, and which of these are a stranger's."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalelab.bench.bundle import open_bundle
from scalelab.bench.evidence import (
    GET_ANOTHER,
    RECORDS,
    SOURCES,
    SUITE,
    parse_records,
    plain,
    read_json,
)
from scalelab.bench.keys import code_hash, file_hash
from scalelab.bench.results import Results, rounds_of
from scalelab.bench.suite import Suite, load_suite
from scalelab.bench.unpacked import check_suite, lay_out
from scalelab.core.errors import ConfigError
from scalelab.core.paths import make_folder, shipped
from scalelab.core.records import RunRecord

_MARK = "bundle.json"


@dataclass(frozen=True)
class Plan:
    """What would be run; so far nothing was."""

    suite: Suite
    """the sampled points, and those that they need"""
    sampled: tuple[str, ...]
    """subjects"""
    foreign: tuple[str, ...]
    """files that do not ship with this version"""
    there: Results
    """the bundle's records of the sampled points"""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(
            f"  {point.title}: {point.notebook.name}, {point.rounds} x at most {point.timeout_s:g} s, "
            f"{plain(json.dumps(dict(point.parameters), default=str))}"
            for point in self.suite.points
        )


def plan_replay(path: Path, *, sample: int, seed: int, folder: Path) -> Plan:
    """Lay the sources of the bundle at `path` out in `folder` and draw the points; nothing of them is run.

    Raises:
        DataError: it is no bundle, or has changed.
        ConfigError: it has nothing to run, or the folder holds something else.
    """
    if sample < 1:
        raise ConfigError(f"a sample of {sample} points says nothing", hint="give 1 or more")
    members = open_bundle(path)
    records, _ = parse_records(members[RECORDS])
    rounds = rounds_of(records)
    if SUITE not in members or not rounds:
        what = "point that succeeded" if SUITE in members else "suite"
        raise ConfigError(
            f"{path} has no {what}: nothing can be replayed", hint="bundle what `bench run` made"
        )
    check_suite(members)
    path_of_suite, foreign = _lay_out(path, members, folder)
    suite, notes = _load(path_of_suite, rounds)
    candidates = [point.name for point in suite.points if f"{suite.name}/{point.name}" in rounds]
    if not candidates:
        raise ConfigError(f"no point that succeeded in {path} is in its suite", hint=GET_ANOTHER)
    drawn = random.Random(seed).sample(candidates, min(sample, len(candidates)))
    drawn += [partner for name in drawn if (partner := suite.point(name).pair) and partner not in drawn]
    subjects = tuple(f"{suite.name}/{name}" for name in drawn)
    if any(record.run.get("code") != code_hash() for name in subjects for record in rounds.get(name, ())):
        notes.append("measured there by another version, or with other libraries, than those here")
    return Plan(
        _only(suite, drawn, {name: len(rounds.get(f"{suite.name}/{name}", ())) for name in drawn}),
        subjects,
        foreign,
        Results(path, tuple(record for record in records if record.subject in subjects)),
        tuple(notes),
    )


def _lay_out(path: Path, members: Mapping[str, bytes], folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the suite to run, and which of its files are foreign: what ships with this version runs there.

    Otherwise suite and sources go into `folder`, which is new or holds those of this very bundle.
    """
    mark = {"sha256": file_hash(path)}
    if any(make_folder(folder).iterdir()) and _mark(folder) != mark:
        raise ConfigError(f"{folder} holds something else", hint="give another folder: --out")
    (folder / _MARK).write_text(json.dumps(mark), encoding="utf-8")
    ours = shipped("benchmarks")
    suite = next((toml for toml in ours.glob("*.toml") if toml.read_bytes() == members[SUITE]), None)
    foreign = [] if suite else [SUITE]
    for name in (name.removeprefix(SOURCES) for name in members if name.startswith(SOURCES)):
        if not (ours / name).is_file() or (ours / name).read_bytes() != members[SOURCES + name]:
            foreign.append(name)
    if suite and not foreign:
        return suite, ()
    return lay_out(members, folder / SOURCES), tuple(foreign)


def _mark(folder: Path) -> object:
    try:
        return read_json((folder / _MARK).read_bytes())
    except OSError:
        return None


def _load(path: Path, rounds: Mapping[str, Sequence[RunRecord]]) -> tuple[Suite, list[str]]:
    """Read the suite for the tier that was run last."""
    newest = [found[-1] for found in rounds.values()]
    last = max(newest, key=lambda record: record.when)
    tier = str(last.run.get("tier", ""))
    suite = replace(load_suite(path, tier=tier), name=last.subject.partition("/")[0])
    others = {str(record.run.get("tier", "")) for record in newest} - {tier}
    return suite, ["its points were run at several tiers: those of other ones differ here"] if others else []


def _only(suite: Suite, drawn: Collection[str], times: Mapping[str, int]) -> Suite:
    """Return the suite of the drawn points, each as often as it ran there, and of those they need, once."""
    needed = set(drawn)
    for point in reversed(suite.points):  # what is needed stands above
        if point.name in needed:
            needed.update(point.needs)
    points = tuple(
        replace(
            point,
            title=plain(point.title),
            rounds=max(times.get(point.name, 1), times.get(point.pair, 1)),
            pair=point.pair if point.name in drawn else "",
        )
        for point in suite.points
        if point.name in needed
    )
    return replace(suite, points=points, pairs=tuple(pair for pair in suite.pairs if pair.a in drawn))
