"""One page about the class, for the instructor: what went well, what to explain again, where to look."""

from __future__ import annotations

from collections import Counter, defaultdict
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from scalelab.core.lazy import require
from scalelab.core.page import FOLLOW_THEME, figure_section, html_table, page_style, write_whole
from scalelab.core.table_cells import plain_text, visible_id
from scalelab.gradebook.class_figures import EXTRA, TASK_FIGURES, class_figures
from scalelab.gradebook.classbook import Classbook
from scalelab.gradebook.item_analysis import FEWEST, analyse_items
from scalelab.gradebook.similarity import FEWEST_SHARED, LEAST, common_limit, similar_pairs
from scalelab.grading.checks import COMES_AFTER, Outcome

SHOWN = 20
"""rows of a table that says what is frequent"""
PROBLEMS = 100
"""students without a grade that are listed"""
CELL = 300
"""characters of a cell"""


def write_dashboard(book: Classbook, out: Path) -> Path:
    """Write ``dashboard.html``, which opens offline; return its path.

    Raises:
        MissingDependency: plotly is not installed.
    """
    items = analyse_items(book)
    figures = class_figures(book, items)
    page = Template(
        resources.files("scalelab.gradebook").joinpath("dashboard.html").read_text(encoding="utf-8")
    )
    return write_whole(
        out / "dashboard.html",
        page.substitute(
            title=escape(plain_text(book.title)),
            style=page_style(),
            paint=FOLLOW_THEME,
            plotly=require("plotly.offline", extra=EXTRA).get_plotlyjs(),
            lead=f"{len(book.entries)} students, {book.max_points:.10g} points",
            tiles=_tiles(book),
            notes=_notes(book),
            figures="\n".join(
                figure_section(number, figure, height=_height(figure.title, len(items)), has_csv=False)
                for number, figure in enumerate(figures)
            ),
            misconceptions=_misconceptions(book),
            problems=_problems(book),
            similar=_similar(book),
            introspection=_introspection(book),
            fewest=str(FEWEST),
        ),
    )


def _height(title: str, tasks: int) -> int:
    return max(280, 130 + 34 * tasks) if title in TASK_FIGURES else 400


def _tiles(book: Classbook) -> str:
    counts = Counter(entry.status for entry in book.entries)
    order = ["graded", *sorted(set(counts) - {"graded"})]
    late = sum(bool(entry.grade and entry.grade.late) for entry in book.entries)
    waiting = sum(entry.waits_for_mark(q.name) for entry in book.entries for q in book.questions)
    tiles = [(counts[status], status) for status in order]
    tiles += [(count, name) for count, name in ((late, "late"), (waiting, "answers to mark")) if count]
    return "".join(
        f'<div class="tile"><b>{count}</b><span>{escape(name)}</span></div>' for count, name in tiles
    )


def _notes(book: Classbook) -> str:
    lines = "".join(f"<li>{escape(plain_text(note))}</li>" for note in book.notes)
    return f'<div class="warning"><ul>{lines}</ul></div>' if lines else ""


def _misconceptions(book: Classbook) -> str:
    told: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    tried: Counter[str] = Counter()
    for entry in book.entries:
        for check in entry.grade.checks if entry.grade else ():
            tried[check["name"]] += 1
            is_wrong = check["outcome"] in (Outcome.FAILED.value, Outcome.CRASHED.value)
            if is_wrong and check["code"] not in ("", COMES_AFTER):
                looks = check["meaning"] or f"for example: {check['message']}"
                told[check["name"], check["code"]][looks] += 1
    if not told:
        return ""
    counts = {key: looks.total() for key, looks in told.items()}
    rows = [
        (task, str(count), f"{100 * count / tried[task]:.0f} %", code,
         _cell(min(told[task, code].most_common(), key=lambda item: (-item[1], item[0]))[0]))
        for (task, code), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    ]  # fmt: skip
    return (
        "<section><h2>What to explain again</h2>"
        '<p class="lead">Wrong answers by what they look like, the most frequent first; a good begin for the '
        "next lecture.</p>"
        + html_table(
            ("task", "students", "of those tried", "feedback code", "what it looks like"),
            rows,
            kind="prose labelled",
        )
        + "</section>"
    )


def _problems(book: Classbook) -> str:
    rows = [
        (_cell(visible_id(e.student)), e.status, _cell(e.reason))
        for e in book.entries
        if e.status != "graded"
    ]
    if not rows:
        return ""
    table = html_table(("student", "status", "reason"), rows[:PROBLEMS], kind="prose labelled")
    more = f"<p>and {len(rows) - PROBLEMS} more, in gradebook.csv</p>" if len(rows) > PROBLEMS else ""
    return f"<section><h2>Not graded</h2>{table}{more}</section>"


def _introspection(book: Classbook) -> str:
    rows = [
        (_cell(visible_id(entry.student)), _cell("; ".join(entry.grade.introspection)))
        for entry in book.entries
        if entry.grade and entry.grade.introspection
    ]
    if not rows:
        return ""
    return (
        "<section><h2>Python's own workings</h2>"
        '<p class="lead">Code that names frames, closures or objects of its process. What is seen beside '
        "it can be forged that way, and few exercises need these words. A place to look, never a verdict.</p>"
        + html_table(("student", "where"), rows[:PROBLEMS], kind="prose labelled")
        + "</section>"
    )


def _similar(book: Classbook) -> str:
    grades = [entry.grade for entry in book.entries if entry.grade]
    known = sum(bool(grade.fingerprints) for grade in grades)
    if not known:
        return ""
    pairs = similar_pairs(grades, limit=SHOWN)
    rows = [
        (_cell(visible_id(pair.left)), _cell(visible_id(pair.right)), f"{100 * pair.likeness:.0f} %",
         str(pair.shared), ", ".join(pair.tasks[:6]))
        for pair in pairs
    ]  # fmt: skip
    table = (
        html_table(("one", "other", "likeness", "passages", "in"), rows, kind="prose labelled")
        if rows
        else "<p>No pair stands out.</p>"
    )
    return (
        "<section><h2>Places to look</h2>"
        '<p class="lead">Pairs of submissions that share passages which hardly anybody else has. This is no '
        "verdict: pair work, one tutor or one book look like this too. Read both before you ask.</p>"
        f'{table}<p class="lead">{known} submissions compared. Code that was handed out, and what more than '
        f"{common_limit(known)} students have, is left out; shown from {FEWEST_SHARED} passages and "
        f"{100 * LEAST:.0f} % on.</p></section>"
    )


def _cell(text: str) -> str:
    text = " ".join(plain_text(text).split())
    return text if len(text) <= CELL else f"{text[:CELL]} …"
