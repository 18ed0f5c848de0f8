"""One page for each student: what was right, what came back, what it looks like, where to go on.

Hidden checks are shown by goal and outcome only: no message of theirs, and with it no input, gets out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from scalelab.core.page import page_style, write_whole
from scalelab.core.table_cells import plain_text, visible_id
from scalelab.gradebook.classbook import NO_SUBMISSION, Classbook, Entry
from scalelab.gradebook.page_names import page_names
from scalelab.gradebook.rubric import Question
from scalelab.grading.checks import COMES_AFTER, Outcome

FOLDER = "feedback"
SHOWN = 4_000
"""characters of one text on the page"""
_BADGES = {
    Outcome.PASSED.value: "right",
    Outcome.FAILED.value: "not yet",
    Outcome.CRASHED.value: "stopped",
    Outcome.NOT_ATTEMPTED.value: "not begun",
    Outcome.INCONCLUSIVE.value: "too noisy to tell",
}
_TOLD = {
    Outcome.CRASHED.value: "Your code stopped before there was a result to look at.",
    Outcome.INCONCLUSIVE.value: "The machine was too busy to measure it. Not your fault: ask for a new run.",
}
_STATUS = {
    "refused": "Your file could not be graded, so there are no points for it.",
    "crashed": "Grading stopped before it was done.",
    "timed out": "Your notebook took longer than the time it has, so it was stopped.",
    NO_SUBMISSION: "Nothing arrived from you. If you did hand it in, tell your instructor when and where.",
}
_NEXT = {
    "crashed": "Your instructor sees this too, and can grade it once more.",
    "timed out": "Restart the kernel, run all cells, and look for the cell that does not come to an end.",
}
_WORD = re.compile(r"[a-z][a-z'-]*[,:;]?(\s|$)")
_CODE = re.compile(r"`([^`\n]+)`")


def write_feedback(book: Classbook, out: Path) -> Path:
    """Write a page for each student into ``feedback/``; return the folder."""
    page = Template(
        resources.files("scalelab.gradebook").joinpath("feedback.html").read_text(encoding="utf-8")
    )
    style = page_style()
    names = page_names(entry.student for entry in book.entries)
    for entry in book.entries:
        text = page.substitute(style=style, **_parts(book, entry))
        path = out / FOLDER / names[entry.student]
        if not path.exists() or path.read_bytes() != text.encode():
            write_whole(path, text)
    return out / FOLDER


def _parts(book: Classbook, entry: Entry) -> dict[str, str]:
    name = plain_text(entry.person.full_name)
    student = visible_id(entry.student)
    who = f"{_inline(name)} · {_inline(student)}" if name and name != student else _inline(student)
    return {
        "heading": escape(plain_text(book.title)),
        "who": who,
        "summary": _summary(book, entry),
        "body": "\n".join([*_tasks(book, entry), *_answers(book, entry), *_notes(entry)]),
    }


def _summary(book: Classbook, entry: Entry) -> str:
    share = min(max(book.percent(entry), 0.0), 100.0)
    total = f"{entry.points:.10g} of {book.max_points:.10g} points"
    lines = [
        f'<p class="total">{total}</p>',
        f'<div class="bar" role="img" aria-label="{total}"><i style="width:{share:.1f}%"></i></div>',
    ]
    if entry.percent_off:
        told = f"Handed in late: {entry.percent_off:g} % of {entry.raw_points:.10g} points are off."
        lines.append(f'<p class="warning">{told}</p>')
    waiting = sum(entry.waits_for_mark(question.name) for question in book.questions)
    if waiting:
        told = (
            "One of your answers in words is" if waiting == 1 else f"{waiting} of your answers in words are"
        )
        lines.append(f'<p class="meaning">{told} still to be read.</p>')
    if entry.status in _STATUS:
        reason = plain_text(entry.grade.reason) if entry.grade else ""
        steps = [_STATUS[entry.status], reason and _sentence(reason), _NEXT.get(entry.status, "")]
        lines.append(f'<p class="warning">{" ".join(_inline(step) for step in steps if step)}</p>')
    elif entry.points >= book.max_points > 0:
        lines.append("<p>Everything is right. Well done.</p>")
    return "\n".join(lines)


def _tasks(book: Classbook, entry: Entry) -> Iterator[str]:
    found = [
        (check, task.is_hidden or check["is_hidden"])
        for task in book.tasks
        if (check := entry.check(task.name))
    ]
    for title, is_hidden in (("Tasks", False), ("Further checks", True)):
        cards = [_card(check, is_hidden) for check, hidden in found if hidden == is_hidden]
        if cards:
            yield f"<section><h2>{title}</h2>"
            if is_hidden:
                yield '<p class="lead">Your code was also tried on cases that the notebook does not show.</p>'
            yield from cards
            yield "</section>"


def _card(check: dict[str, Any], is_hidden: bool) -> str:
    outcome = str(check["outcome"])
    lines = [f"<p>{_TOLD[outcome]}</p>"] if outcome in _TOLD else []
    if not is_hidden and outcome != Outcome.PASSED.value:
        for name, before in (("message", ""), ("meaning", "It looks like this: "), ("hint", "Hint: ")):
            if text := plain_text(str(check.get(name) or "")).strip():
                lines.append(f'<p class="{name}">{_inline(_sentence(before + text))}</p>')
    elif is_hidden and check["code"] == COMES_AFTER:
        lines.append(f"<p>{_inline(_sentence(str(check['message'])))}</p>")
    elif is_hidden and outcome == Outcome.FAILED.value:
        lines.append("<p>Think of the corners of what is asked here, and try your code there.</p>")
    if not is_hidden:
        lines.append(f'<p class="name">{_inline(str(check["name"]))}</p>')
    points = f"{check['points']:.10g}/{check['max_points']:.10g}"
    return _article(
        outcome.replace(" ", "-"), _BADGES.get(outcome, outcome), str(check["goal"]), points, lines
    )


def _article(tone: str, badge: str, title: str, points: str, lines: Sequence[str]) -> str:
    return (
        f'<article class="{escape(tone, quote=True)}"><h3><span class="badge">{_inline(badge)}</span>'
        f'<span class="points">{points}</span><span class="goal">{_inline(title)}</span></h3>'
        f"{''.join(lines)}</article>"
    )


def _answers(book: Classbook, entry: Entry) -> Iterator[str]:
    shown = [q for q in book.questions if entry.answer(q.name).strip() or q.name in entry.marks]
    if shown:
        yield "<section><h2>Your answers in words</h2>"
        yield from (_answer(entry, question) for question in shown)
        yield "</section>"


def _answer(entry: Entry, question: Question) -> str:
    mark = entry.marks.get(question.name)
    is_open = entry.waits_for_mark(question.name)
    tone, badge = ("waits", "still to be read") if is_open else ("plain", "read")
    points = f"{mark.points:.10g}/{question.points:.10g}" if mark else ""
    lines = [f"<p>{_inline(question.text)}</p>"] if question.text else []
    if answer := plain_text(entry.answer(question.name)):
        lines.append(f"<blockquote>{escape(_cut(answer))}</blockquote>")
    if mark and is_open:
        lines.append('<p class="meaning">The points are those of your earlier answer.</p>')
    if mark and mark.criteria:
        limits = {each.name: f" of {each.points:.10g}" for each in question.criteria}
        parts = [(name, f"{points:.10g}{limits.get(name, '')}") for name, points in mark.criteria.items()]
        lines.append(f"<ul>{''.join(f'<li>{_inline(name)}: {points}</li>' for name, points in parts)}</ul>")
    if mark and mark.comment:
        lines.append(f'<p class="hint">{_inline(mark.comment)}</p>')
    return _article(tone, badge, question.name, points, lines)


def _notes(entry: Entry) -> Iterator[str]:
    grade = entry.grade
    if grade is None:
        return
    items = [plain_text(note) for note in grade.notes]
    if older := len(grade.attempts):
        times = "once more" if older == 1 else f"{older} times more"
        items.append(f"You handed in {times} before this: the newest counts.")
    if grade.late:
        items.append("This was handed in after the due date.")
    if items:
        yield (
            "<section><h2>Notes</h2><ul>"
            + "".join(f"<li>{_inline(item)}</li>" for item in items)
            + "</ul></section>"
        )


def _sentence(text: str) -> str:
    """Return text with an end, and with a capital letter if it begins with an ordinary word."""
    begin = text[:1].upper() + text[1:] if _WORD.match(text) else text
    return begin if begin.endswith((".", "?", "!")) else f"{begin}."


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text) - SHOWN:,} more characters)"


def _inline(text: str) -> str:
    """Return plain text as HTML, what stands in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(_cut(plain_text(text)), quote=True))
