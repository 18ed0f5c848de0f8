"""Two folders of results, or the pairs of one, side by side: what became better, worse, or stays the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scalelab.bench.compare_notes import different_places, note_unlike, notes_of
from scalelab.bench.results import Results, newest_of, rounds_of
from scalelab.bench.row import Change, Pair, Row, compare_metric
from scalelab.bench.tables import Table
from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.ratios import holm
from scalelab.core.records import RunRecord
from scalelab.core.stats import Estimate, Verdict

__all__ = ["Change", "Comparison", "Row", "compare_pairs", "compare_results"]


@dataclass(frozen=True)
class Comparison:
    """B against A, metric by metric; A is the baseline."""

    rows: tuple[Row, ...]
    only_a: tuple[str, ...] = ()
    """points that only A has finished"""
    only_b: tuple[str, ...] = ()
    is_same_machine: bool = True
    notes: tuple[str, ...] = ()
    """what a reader must know, a sentence each"""
    broken: tuple[str, ...] = field(default=())
    """points that A has finished and whose newest run in B failed or was skipped"""

    def judged(self, fail_over: float, metrics: Sequence[str] = ()) -> tuple[tuple[Row, Verdict], ...]:
        """Judge for each gated row the claim "B is at most `fail_over` (0.1: ten per cent) worse than A".

        Gated are the rows of `metrics`, else those of the headline quantities. PASS: the whole interval is
        within the limit. FAIL: all of it is beyond, also when all gated rows together may err in 2.5 % only
        (Holm). Otherwise INCONCLUSIVE, as is a row that could not be compared.

        Raises:
            ConfigError: a limit below zero, a metric that no row has, or one that has no better side.
        """
        if not 0 <= fail_over < math.inf:
            raise ConfigError(f"{fail_over} is no limit", hint="give a share of 0 or more, such as 0.1")
        self._check(metrics)
        gated = [row for row in self.rows if _is_gated(row, metrics)]
        p_values = [_p_of_worse(row, fail_over) for row in gated]
        tested = holm([p for p in p_values if p is not None])
        rejected = iter(tested)
        found = []
        for row, p in zip(gated, p_values, strict=True):
            is_worse = p is not None and next(rejected)
            found.append((row, Verdict.FAIL if is_worse else _within(row, fail_over)))
        return tuple(found)

    def gate(self, fail_over: float, metrics: Sequence[str] = ()) -> Verdict:
        """Return FAIL if a gated row fails, else INCONCLUSIVE if one could not tell, a point broke in B, or
        nothing is gated, else PASS (see `judged`).
        """  # fmt: skip
        verdicts = {verdict for _, verdict in self.judged(fail_over, metrics)}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        return Verdict.PASS if verdicts == {Verdict.PASS} and not self.broken else Verdict.INCONCLUSIVE

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; a ratio that does not exist is null."""
        rows = [
            {
                "subject": row.subject, "metric": row.metric, "unit": row.unit, "better": row.better,
                "pairs": row.pairs, "a": _interval(row.a), "b": _interval(row.b),
                "ratio": _interval(row.ratio), "basis": row.basis, "change": row.change.value, "why": row.why,
            }
            for row in self.rows
        ]  # fmt: skip
        lists = {name: list(getattr(self, name)) for name in ("only_a", "only_b", "broken", "notes")}
        return {"rows": rows, "is_same_machine": self.is_same_machine, **lists}

    def table(self) -> Table:
        """Return the rows as text."""
        from scalelab.bench.compare_text import table_of

        return table_of(self.rows)

    def markdown(self, title: str, said: str = "") -> str:
        """Return the comparison in GitHub's Markdown: what a gate said, the headline rows, all rows."""
        from scalelab.bench.compare_text import markdown_of

        return markdown_of(self, title, said)

    def _check(self, metrics: Sequence[str]) -> None:
        known = {row.metric: row for row in self.rows}
        for name in metrics:
            if self.rows and name not in known:
                raise ConfigError(f"no point has a metric {name!r} to judge", hint=did_you_mean(name, known))
            if name in known and not known[name].better:
                raise ConfigError(
                    f"nobody has said which side of {name!r} is better, so it cannot be judged",
                    hint="name a time, a rate, an accuracy or a count of errors",
                )


def compare_results(
    a: Results, b: Results, *, margin: float = 0.05, metrics: Sequence[str] = (), seed: int = 0
) -> Comparison:
    """Compare the points that A (before) and B (after) both finished, metric by metric, round by round.

    A difference is called if the whole 95 % interval of the ratio b / a is on one side of 1; SAME if all of
    it is within `margin` of 1. On another machine, times and rates are compared as multiples of the
    reference workload's time. A point that ran with other parameters is not compared, and a note says so.

    Args:
        metrics: the only names to compare; empty: all.

    Raises:
        ConfigError: A and B have no point in common, or none of A's has one of `metrics`.
    """
    sides = rounds_of(a.records), rounds_of(b.records)
    common = [subject for subject in sides[0] if subject in sides[1]]
    if not common:
        names = [", ".join(side) or "nothing that succeeded" for side in sides]
        raise ConfigError(
            f"{a.path} and {b.path} have no point in common: {names[0]}; and {names[1]}",
            hint="compare two runs of one suite",
        )
    notes = [note for subject in common if (note := note_unlike(subject, *(s[subject][-1] for s in sides)))]
    alike = [s for s in common if not note_unlike(s, *(side[s][-1] for side in sides))]
    pairs = {subject: pair_rounds(*(side[subject] for side in sides)) for subject in alike}
    apart = different_places([pair for found in pairs.values() for pair in found])
    rows = [
        row for subject in alike for row in _rows(subject, pairs[subject], bool(apart), metrics, margin, seed)
    ]
    _check_known(metrics, [record for subject in common for record in sides[0][subject]])
    newest = newest_of(b.records)
    broken = [subject for subject in sides[0] if subject in newest and newest[subject].status != "done"]
    notes += [*apart, *notes_of(pairs, [newest[subject] for subject in broken])]
    return Comparison(
        tuple(rows),
        tuple(subject for subject in sides[0] if subject not in sides[1]),
        tuple(subject for subject in sides[1] if subject not in sides[0]),
        not apart,
        tuple(notes),
        tuple(broken),
    )


def compare_pairs(results: Results, *, margin: float = 0.05, seed: int = 0) -> Comparison:
    """Compare the points that stand in pairs in one suite, which ran in turn: A is the first named.

    A pair of which one side never succeeded has no row, and a note says so.

    Raises:
        ConfigError: no record stands in a pair.
    """
    rounds = rounds_of(results.records)
    rows: list[Row] = []
    notes: list[str] = []
    is_same = True
    for first, second in _pairs_named(rounds):
        pairs = pair_rounds(rounds[first], rounds[second])
        apart = different_places(pairs, is_in_turn=True)
        is_same &= not apart
        subject = f"{second} against {first.partition('/')[2]}"
        rows += _rows(subject, pairs, bool(apart), (), margin, seed)
        notes += [f"{subject}: {note}" for note in apart]
        if any(a.run.get("id") != b.run.get("id") for a, b in pairs):
            notes.append(f"{subject}: some rounds were not taken in turn, but in different calls")
    alone = [subject for subject in _paired(results.records) if subject not in rounds]
    notes += [f"{subject} stands in a pair and never succeeded: nothing to compare" for subject in alone]
    if not rows and not alone:
        raise ConfigError(
            f"{results.path} has no pair of points to compare", hint="a suite names them: [[pair]]"
        )
    return Comparison(tuple(rows), is_same_machine=is_same, notes=tuple(notes))


def pair_rounds(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> list[Pair]:
    """Return the rounds of A with their partners of B: by their number, else the k-th with the k-th."""
    numbered = [{record.run.get("round"): record for record in side} for side in (a, b)]
    if any(None in side or len(side) < len(given) for side, given in zip(numbered, (a, b), strict=True)):
        return list(zip(a, b))  # noqa: B905  the longer side's rest has no partner
    return [(record, numbered[1][number]) for number, record in numbered[0].items() if number in numbered[1]]


def _rows(
    subject: str, pairs: Sequence[Pair], is_apart: bool, metrics: Sequence[str], margin: float, seed: int
) -> Iterable[Row]:
    names = dict.fromkeys(metric.name for pair in pairs for metric in pair[0].metrics)
    for name in names:
        if metrics and name not in metrics:
            continue
        row = compare_metric(subject, name, pairs, is_same_machine=not is_apart, margin=margin, seed=seed)
        if row is not None:
            yield row


def _paired(records: Iterable[RunRecord]) -> dict[str, None]:
    """Return the subjects that stand in pairs, whatever became of them."""
    found = [(record.subject, record.run.get("pair")) for record in records if record.run.get("pair")]
    partners = [f"{subject.partition('/')[0]}/{partner}" for subject, partner in found]
    return dict.fromkeys([*(subject for subject, _ in found), *partners])


def _pairs_named(rounds: dict[str, tuple[RunRecord, ...]]) -> list[tuple[str, str]]:
    """Return the pairs of subjects, the first named first."""
    found = {}
    for subject, records in rounds.items():
        suite, _, name = subject.partition("/")
        partner = f"{suite}/{records[-1].run.get('pair')}"
        if partner in rounds and rounds[partner][-1].run.get("pair") == name:
            both = (subject, partner) if _leads(pair_rounds(records, rounds[partner])) else (partner, subject)
            found[frozenset(both)] = both
    return list(found.values())


def _leads(pairs: Sequence[Pair]) -> bool:
    """Tell whether the left side is the first named: it ran first in the even rounds, last in the odd."""
    votes = 0
    for left, right in pairs:
        is_first = left.run.get("place", 0) < right.run.get("place", 0)
        is_same_call = left.run.get("id") == right.run.get("id")
        votes += is_same_call * (1 if is_first == (left.run.get("round", 0) % 2 == 0) else -1)
    return votes >= 0


def _check_known(metrics: Sequence[str], records: Iterable[RunRecord]) -> None:
    known = {metric.name for record in records for metric in record.metrics} if metrics else set()
    for name in metrics:
        if name not in known:
            raise ConfigError(f"no point has a metric {name!r}", hint=did_you_mean(name, known))


def _is_gated(row: Row, metrics: Sequence[str]) -> bool:
    if not row.better:
        return False
    return row.metric in metrics if metrics else row.quantity.is_headline


def _p_of_worse(row: Row, limit: float) -> float | None:
    """Return the p-value of "worse by at most `limit`", or None where no test is possible."""
    if row.logs is not None:
        return row.logs.p_above(1 + limit) if row.better == "lower" else row.logs.p_below(1 - limit)
    # no ratio, since values are zero, and every pair has the worse one in B: a sign test
    return 0.5**row.pairs if row.change is Change.WORSE else None


def _within(row: Row, limit: float) -> Verdict:
    if row.logs is None:
        return Verdict.PASS if row.change in (Change.BETTER, Change.SAME) else Verdict.INCONCLUSIVE
    holds = row.ratio.high <= 1 + limit if row.better == "lower" else row.ratio.low >= 1 - limit
    return Verdict.PASS if holds else Verdict.INCONCLUSIVE


def _interval(estimate: Estimate) -> dict[str, float | int | None]:
    values = {"median": estimate.median, "low": estimate.low, "high": estimate.high}
    return {name: None if math.isnan(value) else value for name, value in values.items()} | {"n": estimate.n}
