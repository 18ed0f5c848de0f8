"""How far the learner is: tasks, points, and whether their intervals hold what they should."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from scalelab.classroom import cards
from scalelab.classroom.calibration import calibration_html, calibration_line
from scalelab.classroom.catalog import LabInfo
from scalelab.classroom.ledger import Event, Ledger
from scalelab.classroom.notebooks import read_notebook
from scalelab.classroom.predictions import read_predictions
from scalelab.core.errors import DataError
from scalelab.grading.checks import Check, Outcome

_ENDED = {Outcome.PASSED.value, "given up"}
_PARTS = {"measure": "measurement", "explain": "explanation", "cost": "cost"}
"""what a notebook calls, and the event that it leaves"""
_CALLS = re.compile(r"""\blab\.(measure|explain|cost)\((?:\s*["']([\w-]+)["'])?""")
_TONES = {"passed": "good", "failed": "bad", "crashed": "bad", "inconclusive": "warn"}


@dataclass(frozen=True)
class TaskState:
    """Where a task stands: passed once is passed."""

    name: str
    goal: str
    points: float
    max_points: float
    state: str
    """an outcome's value, ``given up``, or ``not begun``"""


def task_states(info: LabInfo, checks: Mapping[str, Check], ledger: Ledger) -> list[TaskState]:
    """Return the state of every task, in the order of the lab."""
    events = ledger.read(lab=info.slug)
    return [
        _state(check, [event for event in events if event.name == check.name]) for check in checks.values()
    ]


def _state(check: Check, events: Iterable[Event]) -> TaskState:
    outcomes = [str(event.facts.get("outcome")) for event in events if event.kind == "check"]
    given_up = any(event.kind == "gave-up" for event in events)
    if Outcome.PASSED.value in outcomes:
        return TaskState(check.name, check.goal, check.points, check.points, Outcome.PASSED.value)
    state = "given up" if given_up else outcomes[-1] if outcomes else "not begun"
    return TaskState(check.name, check.goal, 0.0, check.points, state)


def points_of(info: LabInfo, ledger: Ledger) -> tuple[float, str]:
    """Return the points that were earned in a lab, and ``new``, ``begun`` or ``done``."""
    events = _work(ledger.read(lab=info.slug))
    earned = {
        event.name: float(event.facts.get("points", 0))
        for event in events
        if event.kind == "check" and event.facts.get("outcome") == Outcome.PASSED.value
    }
    points = sum(earned.values())
    if not events:
        return 0.0, "new"
    return points, "done" if points >= info.points else "begun"


def next_lab(labs: Sequence[LabInfo], ledger: Ledger) -> LabInfo | None:
    """Return the lab to go on with: the one last worked on that is not done, else the first that is not."""
    waiting = {info.slug: info for info in labs if points_of(info, ledger)[1] != "done"}
    last = next((event.lab for event in reversed(_work(ledger.read())) if event.lab in waiting), None)
    return waiting[last] if last else next(iter(waiting.values()), None)


def _work(events: Iterable[Event]) -> list[Event]:
    """Leave out what only makes a copy."""
    return [event for event in events if event.kind not in {"started", "reset"}]


def next_step(info: LabInfo, checks: Mapping[str, Check], ledger: Ledger) -> str:
    """Say what comes after a task that was just passed: the next one, or the part of the lab after them."""
    states = task_states(info, checks, ledger)
    if any(state.state not in _ENDED for state in states):
        return _next(states).replace("Next:", "Next task:")
    earned, total = sum(state.points for state in states), sum(state.max_points for state in states)
    then = still_open(info, ledger) or "The lab is done: `scalelab lab list` shows the next one."
    return f"All tasks are done, {earned:g} of {total:g} points. {then}"


def still_open(info: LabInfo, ledger: Ledger) -> str:
    """Say which cells of the released notebook, beside the tasks, still wait; empty if none does."""
    try:
        cells = read_notebook(info.notebook).cells
    except DataError:
        return ""
    calls = dict.fromkeys(call for cell in cells for call in _CALLS.findall(cell.source))
    done = {(event.kind, name) for event in ledger.read(lab=info.slug) for name in (event.name, "")}
    left = [call for call in calls if (_PARTS[call[0]], "" if call[0] == "cost" else call[1]) not in done]
    told = [f"{verb} `{name}`" if name else verb for verb, name in left]
    return f"Still open: {', '.join(told)}." if told else ""


def progress_card(info: LabInfo, checks: Mapping[str, Check], ledger: Ledger) -> cards.Card:
    """Return the strip of tasks, and the calibration of all predictions in all labs."""
    states = task_states(info, checks, ledger)
    earned, total = sum(state.points for state in states), sum(state.max_points for state in states)
    predictions = read_predictions(ledger)
    left = still_open(info, ledger)
    lines = [_next(states), left, calibration_line(predictions)]
    tone = "good" if earned == total and not left else "info"
    card = cards.make_card(
        tone, f"{earned:g}/{total:g} points", f"Lab {info.number:02d}: {info.title}", lines,
        html=_strip(states) + calibration_html(predictions),
    )  # fmt: skip
    card.text += "".join(
        f"\n  {state.name}: {state.state} ({state.points:g}/{state.max_points:g})" for state in states
    )
    return card


def _next(states: Iterable[TaskState]) -> str:
    waiting = [state for state in states if state.state not in _ENDED]
    return f"Next: `{waiting[0].name}`: {waiting[0].goal}" if waiting else "All tasks are done."


def _strip(states: Iterable[TaskState]) -> str:
    chips = []
    for state in states:
        tone = _TONES.get(state.state, "calm")
        _, rgb = cards.TONES[tone]
        chips.append(
            f"<span title='{escape(state.goal)}' style='border:1px solid rgba({rgb},.6);border-radius:4px;"
            f"background:rgba({rgb},.16);padding:.1em .5em'>{escape(state.name)} · {escape(state.state)} "
            f"{state.points:g}/{state.max_points:g}</span>"
        )
    return f"<div style='display:flex;flex-wrap:wrap;gap:.35em;margin-top:.45em'>{''.join(chips)}</div>"
