"""Three hints in steps, and the solution after passing or giving up."""

from __future__ import annotations

import re

from scalelab.classroom import cards
from scalelab.classroom.catalog import LabInfo
from scalelab.classroom.ledger import Ledger
from scalelab.classroom.notebooks import read_notebook
from scalelab.core.errors import DataError
from scalelab.grading.checks import Check, Outcome

_MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*(?:\n|\Z)", re.MULTILINE)


def seen(ledger: Ledger, lab: str, name: str) -> int:
    """Return how many hints of a task the learner has seen; a card may have shown the first."""
    asked = [int(event.facts.get("number", 0)) for event in ledger.read(lab=lab, kind="hint", name=name)]
    on_cards = [bool(event.facts.get("hinted")) for event in ledger.read(lab=lab, kind="check", name=name)]
    return max([*asked, int(any(on_cards))])


def hint_card(check: Check, count: int) -> cards.Card:
    """Return the first `count` hints."""
    lines = [f"{number}. {text}" for number, text in enumerate(check.hints[:count], start=1)]
    lines.append(
        f'That was the last one. `lab.give_up("{check.name}")` shows the solution where the course has one; '
        "that is recorded, and you may still pass the task."
        if count == len(check.hints)
        else "Hints cost nothing; run this cell again for the next one."
    )
    return cards.make_card("info", f"hint {count} of {len(check.hints)}", check.name, lines)


def may_see_solution(ledger: Ledger, lab: str, name: str) -> bool:
    """Tell whether the task was passed or given up."""
    return bool(ledger.read(lab=lab, kind="gave-up", name=name)) or is_passed(ledger, lab, name)


def is_passed(ledger: Ledger, lab: str, name: str) -> bool:
    """Tell whether the task was passed, now or earlier."""
    checks = ledger.read(lab=lab, kind="check", name=name)
    return any(event.facts.get("outcome") == Outcome.PASSED.value for event in checks)


def solution_card(
    info: LabInfo, check: Check, *, gave_up: bool = False, is_passed: bool = False
) -> cards.Card:
    """Return the solution of a task, or that this course keeps none here."""
    first = ["Given up, which is recorded. You may still pass it, for all its points."] if gave_up else []
    source = _read_solution(info, check.name)
    if not source:
        told = "This copy of the course comes without solutions: ask whoever gave it to you."
        lines = [*first, told, *([] if is_passed else [f"The last hint: {check.hints[-1]}"])]
        return cards.make_card("calm", "no solution here", check.name, lines)
    card = cards.make_card("info", "solution", check.name, first, html=cards.preformatted(source))
    card.text += f"\n{source}"
    return card


def _read_solution(info: LabInfo, name: str) -> str:
    """Return the task's code in a clone, where solutions/ lies beside labs/; empty in a package."""
    path = info.folder.parent.with_name("solutions") / info.slug / "solution.ipynb"
    try:
        cells = read_notebook(path).cells
    except DataError:
        return ""
    source = "\n\n".join(cell.source for cell in cells if cell.task == name)
    return _MARKER.sub("", source).strip("\n")
