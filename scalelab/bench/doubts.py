"""What these results leave open, why, and what would settle it: read from the records, said in one table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from scalelab.bench.measured import Measured
from scalelab.bench.tables import Table
from scalelab.core.machine import machine_key
from scalelab.core.records import Damage

DRIFT = 0.10
"""the reference workload's times may differ by this share, on a machine that kept its speed"""
ROUNDS = 6
"""with fewer there is no interval between runs"""
NAMED = 8
"""points that one line names"""

Doubt = tuple[str, str, str]


def doubts_table(
    points: Sequence[Measured], damaged: Sequence[Damage] = (), comparison: Any = None
) -> Table | None:
    """Return what is not certain: a line a doubt, with its reason and what would settle it."""
    sources = (
        _claims(points),
        _knees(points),
        _quiet(points),
        _busy(points),
        _drift(points),
        _machines(points),
        _absent(points),
        _rounds(points),
        _damaged(damaged),
        _comparison(comparison) if comparison is not None else iter(()),
    )
    rows = tuple(chain.from_iterable(sources))
    header = ("what", "why it is open", "what would settle it")
    return Table("doubts", "What is not certain, and why", header, rows) if rows else None


def _claims(points: Sequence[Measured]) -> Iterator[Doubt]:
    for point in points:
        for claim in point.newest.notes.get("claims", ()):
            if claim["verdict"] == "INCONCLUSIVE":
                what, cure = f"{point.title}: {claim['claim']}", "more rounds, or a quieter machine"
                yield what, f"measured {claim['detail']}", cure


def _knees(points: Sequence[Measured]) -> Iterator[Doubt]:
    cases = (
        ("is_lower_bound", True, "it did not bend up to there: a lower bound", "a longer search"),
        ("is_confirmed", False, "a second window at this rate did not agree", "a longer search (budget_s)"),
        ("generator_limited", True, "the load generator, not the service, was the limit",
         "drive it from another machine"),
    )  # fmt: skip
    for name, when, why, cure in cases:
        found = [
            point.title
            for point in points
            if isinstance(knee := point.newest.notes.get("knee"), dict) and knee.get(name) is when
        ]
        if found:
            yield f"Knee of {_named(found)}", why, cure


def _quiet(points: Sequence[Measured]) -> Iterator[Doubt]:
    found = [point.title for point in points if point.newest.notes.get("quiet") is False]
    if found:
        why = "the median of the pairs and the ratio of the fastest runs are more than 5 % apart"
        yield f"Ratios of {_named(found)}", why, "the same again on a quieter machine"


def _busy(points: Sequence[Measured]) -> Iterator[Doubt]:
    found = [
        f"{point.title} ({point.newest.notes['busy_cores_before']:.1f} cores)"
        for point in points
        if point.is_busy
    ]
    if found:
        yield (
            f"Rates of {_named(found)}",
            "other work ran when it began: read them as lower bounds",
            ("measure again on an idle machine (--fresh)"),
        )


def _drift(points: Sequence[Measured]) -> Iterator[Doubt]:
    """The same fixed work, timed around every point, took unlike times: the machine changed its speed."""
    held = [(p.title, r) for p in points for r in (p.rounds or (p.newest,)) if r.reference_s]
    inside = [
        title
        for title, r in held
        if len(r.reference_s) > 1 and max(r.reference_s) > (1 + DRIFT) * min(r.reference_s)
    ]
    if inside:
        yield (
            _named(list(dict.fromkeys(inside))),
            (f"the reference workload took over {DRIFT:.0%} longer on one side of it than on the other"),
            "the same again on a quieter machine",
        )
    by_machine: dict[str, list[float]] = {}
    for _, record in held:
        by_machine.setdefault(machine_key(record.machine), []).append(statistics.median(record.reference_s))
    for times in by_machine.values():
        if max(times) > (1 + DRIFT) * min(times):
            yield (
                "Points beside each other",
                (
                    f"the reference workload took {1e3 * min(times):.0f} to {1e3 * max(times):.0f} ms: the "
                    "machine was not equally fast for all of them"
                ),
                "compare points as a [[pair]], which runs in turns",
            )


def _machines(points: Sequence[Measured]) -> Iterator[Doubt]:
    keys = {machine_key(record.machine) for point in points for record in (point.rounds or (point.newest,))}
    if len(keys) > 1:
        yield (
            "Points beside each other",
            (f"they come from {len(keys)} machines: times compare only as ratios to the reference workload"),
            "one machine, or `scalelab bench compare`",
        )


def _absent(points: Sequence[Measured]) -> Iterator[Doubt]:
    for point in points:
        absent = point.newest.notes.get("absent")
        for name, why in absent.items() if isinstance(absent, dict) else ():
            yield f"{point.title}: {name}", f"not measured: {why}", "install it, and run the point again"


def _rounds(points: Sequence[Measured]) -> Iterator[Doubt]:
    few = [point for point in points if 0 < len(point.rounds) < ROUNDS]
    if few:
        yield (
            f"Spread between runs of {_named([point.title for point in few])}",
            (f"fewer than {ROUNDS} rounds: an interval is of the values within a run, or their range"),
            f"--rounds {ROUNDS}",
        )


def _damaged(damaged: Sequence[Damage]) -> Iterator[Doubt]:
    for damage in damaged[:NAMED]:
        yield (
            f"Line {damage.line} of the store",
            f"it is no record and is left out: {damage.why}",
            ("mend or remove that line"),
        )
    if len(damaged) > NAMED:
        yield f"{len(damaged) - NAMED} more lines of the store", "they are no records", "as above"


def _comparison(comparison: Any) -> Iterator[Doubt]:
    reasons: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.change.value.lower() == "inconclusive":
            reasons.setdefault(row.why or "the interval reaches over both sides of 1", []).append(
                f"{row.subject} {row.metric}"
            )
    for why, found in reasons.items():
        yield f"Compared: {_named(found)}", why, "more rounds of both, in turn"


def _named(titles: Sequence[str]) -> str:
    more = f" and {len(titles) - NAMED:,} more" if len(titles) > NAMED else ""
    return ", ".join(titles[:NAMED]) + more
