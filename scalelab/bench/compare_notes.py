"""What a reader must know before the numbers of a comparison: other machines or parameters, lost points."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from scalelab.bench.row import Pair, reference_of
from scalelab.core.machine import machine_key
from scalelab.core.records import RunRecord
from scalelab.core.units import format_bytes

APART = 0.10
"""reference times of two machines of one kind that differ by more are those of two machines"""


def different_places(pairs: Sequence[Pair], *, is_in_turn: bool = False) -> list[str]:
    """Return why the two sides count as run on different machines; empty: each round's ran on one.

    Machines of one kind cannot be told apart by their facts: there the reference workload decides, unless
    both sides ran in turn, where a machine that slows down slows both.
    """
    apart = [pair for pair in pairs if _place(pair[0], is_in_turn) != _place(pair[1], is_in_turn)]
    if apart:
        records = [record for pair in apart for record in pair]
        facts = {machine_key(record.machine): record for record in records}
        workers = {str(record.run.get("worker", "")) for record in records}
        names = [_machine(record) for record in facts.values()]
        if len(set(names)) < len(names):  # they differ in what a person would not look at
            names = [f"{name}, {key[:6]}" for name, key in zip(names, facts, strict=True)]
        names += sorted(filter(None, workers)) if len(facts) == 1 else []
        return [
            f"more than one machine ({'; '.join(names)}): times and rates are compared as multiples of the "
            "reference workload, which is not the points' own work: small differences prove little"
        ]
    medians = [_median_reference(pair[side] for pair in pairs) for side in (0, 1)]
    if is_in_turn or not all(medians):
        return []
    slower = medians[1] / medians[0]
    if max(slower, 1 / slower) <= 1 + APART:
        return []
    return [
        f"the reference workload took {slower:.2f} times as long in B as in A, on machines of one kind: "
        "another machine, or one that was busy; times and rates are compared as multiples of it"
    ]


def note_unlike(subject: str, a: RunRecord, b: RunRecord) -> str:
    """Say which parameters of a point differ between A and B; empty: none."""
    differing = [
        f"{name} = {_shown(a.parameters, name)} in A, {_shown(b.parameters, name)} in B"
        for name in dict.fromkeys([*a.parameters, *b.parameters])
        if _shown(a.parameters, name) != _shown(b.parameters, name)
    ]
    return f"{subject} ran with other parameters, not compared: {'; '.join(differing)}" if differing else ""


def notes_of(pairs: Mapping[str, Sequence[Pair]], broken: Sequence[RunRecord]) -> list[str]:
    """Return the notes on points that broke, on what one side alone measured, on how the sides were run."""
    notes = [
        f"{record.subject} {record.status} in B: {record.notes.get('error') or record.notes.get('reason')}"
        for record in broken
    ]
    notes += [f"{subject}: no round is in both A and B" for subject, found in pairs.items() if not found]
    every = [pair for found in pairs.values() for pair in found]
    if not every:
        return notes
    for side, word in ((0, "A"), (1, "B")):
        only = [
            f"{subject}: {name}"
            for subject, found in pairs.items()
            for name in _names(found, side)
            if name not in _names(found, 1 - side)
        ]
        if only:
            more = f" and {len(only) - 5} more" if len(only) > 5 else ""
            notes.append(f"only {word} has {', '.join(only[:5])}{more}")
    if all(a.id == b.id for a, b in every):
        return [*notes, "A and B are the same records"]
    last_a, first_a = (pick(a.when for a, _ in every) for pick in (max, min))
    last_b, first_b = (pick(b.when for _, b in every) for pick in (max, min))
    if last_a < first_b or last_b < first_a:
        notes.append(
            "A and B were not run in turn: what the machine did in between is in the ratios, and no interval "
            "shows it"
        )
    versions = [_versions(record) for record in every[-1]]
    changed = [name for name in dict.fromkeys([*versions[0], *versions[1]]) if _differ(versions, name)]
    if changed:
        told = (f"{name} {versions[0].get(name)} in A, {versions[1].get(name)} in B" for name in changed)
        notes.append(f"other versions: {'; '.join(told)}")
    return notes


def _place(record: RunRecord, with_worker: bool) -> tuple[str, str]:
    return machine_key(record.machine), str(record.run.get("worker", "")) if with_worker else ""


def _machine(record: RunRecord) -> str:
    facts = record.machine
    memory = f", {format_bytes(facts['ram_bytes'])}" if facts.get("ram_bytes") else ""
    return f"{facts.get('cpu', 'unknown processor')}, {facts.get('cores', '?')} cores{memory}"


def _median_reference(records: Iterable[RunRecord]) -> float:
    seconds = [taken for record in records if (taken := reference_of(record))]
    return statistics.median(seconds) if seconds else 0.0


def _shown(parameters: Mapping[str, object], name: str) -> str:
    return repr(parameters[name]) if name in parameters else "absent"


def _names(pairs: Sequence[Pair], side: int) -> dict[str, None]:
    return dict.fromkeys(metric.name for pair in pairs for metric in pair[side].metrics)


def _versions(record: RunRecord) -> dict[str, str]:
    return {"python": str(record.machine.get("python")), **record.machine.get("versions", {})}


def _differ(versions: Sequence[Mapping[str, str]], name: str) -> bool:
    return versions[0].get(name) != versions[1].get(name)
