"""Run a sample of a bundle's points again, and say whether what it claims holds here.

Two kinds of claims are judged: those that the notebooks wrote down with a verdict, and the headline numbers,
round by round, on another machine as multiples of the reference workload's time.

A bundle's notebooks are somebody's programs. They run unasked only if they, the modules beside them and the
suite are byte for byte those that ship with this version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.bench.compare import Change, Comparison, Row, compare_results
from scalelab.bench.evidence import plain
from scalelab.bench.replay_plan import plan_replay
from scalelab.bench.results import Results, newest_of, read_results, rounds_of
from scalelab.core.errors import ConfigError
from scalelab.core.ratios import ENOUGH_PAIRS
from scalelab.core.records import RunRecord
from scalelab.core.stats import Verdict

if TYPE_CHECKING:
    from scalelab.bench.runner import Watcher

WITHIN = 0.10
"""by so much may a headline number be worse than in the bundle"""


@dataclass(frozen=True)
class Claim:
    """What a notebook claimed, there (in the bundle) and here."""

    subject: str
    text: str
    there: Verdict
    here: Verdict
    detail: str
    """what was measured here"""


@dataclass(frozen=True)
class Replay:
    """What came out here."""

    comparison: Comparison | None
    """here (B) against the bundle (A); None: no drawn point succeeded here"""
    claims: tuple[Claim, ...]
    verdict: Verdict
    """PASS: all that could be judged holds here. FAIL: something does not. INCONCLUSIVE: could not tell"""
    notes: tuple[str, ...]
    numbers: tuple[tuple[Row, Verdict | None], ...] = ()
    """the headline rows of the comparison, each with its vote; None: it has none"""


def replay(
    path: Path,
    *,
    sample: int = 3,
    seed: int = 0,
    folder: Path,
    watcher: Watcher,
    trust: bool = False,
    within: float = WITHIN,
    fresh: bool = False,
) -> Replay:
    """Run `sample` points of the bundle at `path`, and those they need, as often as there, and judge.

    Args:
        seed: draws the points.
        folder: for the bundle's sources and the new results; a replay that was stopped goes on there.
        trust: also run what does not ship with this version.
        within: by so much may a headline number be worse (0.1: ten per cent).
        fresh: run again what an earlier replay in `folder` did.

    Raises:
        DataError: it is no bundle, or has changed.
        ConfigError: it has nothing to replay, or foreign programs and no `trust`.
    """
    from scalelab.bench.runner import run_suite

    plan = plan_replay(path, sample=sample, seed=seed, folder=folder)
    if plan.foreign and not trust:
        raise ConfigError(
            f"nothing was run: {', '.join(plan.foreign)} in {path.name} do not ship with this version. "
            f"They would run as you, with your rights:\n{plan}",
            hint=f"read them in {plan.suite.path.parent}; if you trust whoever wrote them: --trust",
        )
    run_suite(plan.suite, folder / "results", watcher=watcher, fresh=fresh)
    here = read_results(folder / "results")
    drawn = tuple(record for record in here.records if record.subject in plan.sampled)
    return judge_replay(plan.there, Results(here.path, drawn), within=within, notes=plan.notes)


def judge_replay(
    there: Results, here: Results, *, within: float = WITHIN, notes: Sequence[str] = ()
) -> Replay:
    """Say whether the claims and the headline numbers of `there` hold in `here`.

    A claim that passed there must pass here; one that did not promised nothing. A headline number must not
    be worse by more than `within`; one of too few rounds, or that means nothing on another machine, has no
    vote. FAIL if anything fails; PASS if all votes are PASS and there is one; else INCONCLUSIVE.
    """
    said = list(notes)
    rounds = rounds_of(there.records), rounds_of(here.records)
    claims = tuple(_claims(*rounds))
    votes = [claim.here for claim in claims if claim.there is Verdict.PASS]
    for record in newest_of(here.records).values():
        if record.status != "done":
            why = plain(str(record.notes.get("error") or record.notes.get("reason")))
            said.append(f"{record.subject} {record.status} here: {why}")
            votes.append(Verdict.INCONCLUSIVE)
    comparison, numbers = None, []
    if rounds[0].keys() & rounds[1].keys():
        comparison = compare_results(there, here)
        for row, verdict in comparison.judged(within):
            numbers.append((row, verdict if _has_vote(row) else None))
        voting = [vote for _, vote in numbers if vote is not None]
        votes += voting
        if silent := len(numbers) - len(voting):
            said.append(
                f"{silent} of {len(numbers)} headline numbers have no vote: under {ENOUGH_PAIRS} rounds, "
                "or no number that means the same on both machines"
            )
        said += map(plain, comparison.notes)
    if Verdict.FAIL in votes:
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.PASS if set(votes) == {Verdict.PASS} else Verdict.INCONCLUSIVE
    return Replay(comparison, claims, verdict, tuple(dict.fromkeys(said)), tuple(numbers))


def _has_vote(row: Row) -> bool:
    is_comparable = row.basis != "none" or row.change is not Change.INCONCLUSIVE
    return row.pairs >= ENOUGH_PAIRS and is_comparable


def _claims(
    there: Mapping[str, Sequence[RunRecord]], here: Mapping[str, Sequence[RunRecord]]
) -> Iterator[Claim]:
    """Lay the claims of each point that ran on both sides next to each other."""
    for subject, records in there.items():
        if subject not in here:
            continue
        anew = _judged(here[subject])
        for text, (verdict, _) in _judged(records).items():
            ours, detail = anew.get(text, (Verdict.INCONCLUSIVE, "not judged here"))
            yield Claim(subject, plain(text), verdict, ours, plain(detail))


def _judged(rounds: Sequence[RunRecord]) -> dict[str, tuple[Verdict, str]]:
    """Return each claim's verdict over all rounds, inconclusive if they differ, and what was measured."""
    found: dict[str, list[tuple[Verdict, str]]] = {}
    for record in rounds:
        claims = record.notes.get("claims", ())
        for claim in claims if isinstance(claims, list) else ():
            try:
                verdict = Verdict(claim["verdict"])
                found.setdefault(str(claim["claim"]), []).append((verdict, str(claim["detail"])))
            except (KeyError, TypeError, ValueError):  # a stranger's
                continue
    judged = {}
    for text, each in found.items():
        verdicts = {verdict for verdict, _ in each}
        told = (
            f"{sum(v is Verdict.PASS for v, _ in each)} of {len(each)} rounds pass" if len(each) > 1 else ""
        )
        one = verdicts.pop() if len(verdicts) == 1 else Verdict.INCONCLUSIVE
        judged[text] = (one, "; ".join(filter(None, (told, each[-1][1]))))
    return judged
