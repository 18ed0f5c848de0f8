"""Three hints in steps, and the solution after passing or giving up."""

from __future__ import annotations

import json

from scalelab.classroom import cards
from scalelab.classroom.catalog import LabInfo
from scalelab.classroom.ledger import Ledger
from scalelab.grading.checks import Check, Outcome
from scalelab.grading.expectations import GENERAL

SOLUTIONS = ".solutions"
"""in a lab's folder, where a course provides it: JSON, task name -> source; never part of a package"""


def seen(ledger: Ledger, lab: str, name: str) -> int:
    """Return how many hints of a task the learner has seen; the card of a wrong answer shows the first."""
    asked = [int(event.facts.get("number", 0)) for event in ledger.read(lab=lab, kind="hint", name=name)]
    is_shown = any(
        event.facts.get("outcome") == Outcome.FAILED.value and event.facts.get("code") not in GENERAL
        for event in ledger.read(lab=lab, kind="check", name=name)
    )
    return max([*asked, int(is_shown)])


def hint_card(check: Check, count: int) -> cards.Card:
    """Return the first `count` hints."""
    lines = [f"{number}. {text}" for number, text in enumerate(check.hints[:count], start=1)]
    lines.append(
        f'That was the last one. `lab.give_up("{check.name}")` ends the task; that is recorded.'
        if count == len(check.hints)
        else "Hints cost nothing; run this cell again for the next one."
    )
    return cards.make_card("info", f"hint {count} of {len(check.hints)}", check.name, lines)


def may_see_solution(ledger: Ledger, lab: str, name: str) -> bool:
    """Tell whether the task was passed or given up."""
    if ledger.read(lab=lab, kind="gave-up", name=name):
        return True
    checks = ledger.read(lab=lab, kind="check", name=name)
    return any(event.facts.get("outcome") == Outcome.PASSED.value for event in checks)


def solution_card(info: LabInfo, check: Check, *, gave_up: bool = False) -> cards.Card:
    """Return the solution of a task, or that this course keeps none here."""
    first = ["Given up, which is recorded. You may still pass it, for all its points."] if gave_up else []
    source = _read_solutions(info).get(check.name)
    if source is None:
        told = "This copy of the course comes without solutions: ask whoever gave it to you."
        lines = [*first, told, f"The last hint: {check.hints[-1]}"]
        return cards.make_card("calm", "no solution here", check.name, lines)
    card = cards.make_card("info", "solution", check.name, first, html=cards.preformatted(source))
    card.text += f"\n{source}"
    return card


def _read_solutions(info: LabInfo) -> dict[str, str]:
    try:
        raw = json.loads((info.folder / SOLUTIONS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(source) for name, source in raw.items()} if isinstance(raw, dict) else {}
