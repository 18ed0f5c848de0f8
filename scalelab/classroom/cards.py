"""What the classroom shows: small HTML cards with the same words as plain text.

Styles are inline and colours lean on the front end's own (JupyterLab, VS Code, Colab), so that a card reads
in light and dark, in a narrow window, and where style sheets are stripped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from scalelab.core.shell import running_shell

TONES = {
    "good": ("#1a7f37", "26,127,55"),
    "bad": ("#b3261e", "179,38,30"),
    "warn": ("#8a5a00", "191,135,0"),
    "calm": ("#57606a", "110,119,129"),
    "info": ("#0b61a4", "11,97,164"),
}
"""solid colour for a badge (white on it: contrast of 5 or more) and red, green, blue for the tint"""
_BOX = (
    "box-sizing:border-box;max-width:46em;margin:.3em 0;padding:.6em .9em;border-radius:6px;"
    "border:1px solid rgba({rgb},.45);border-left:5px solid rgb({rgb});background:rgba({rgb},.09);"
    "font-family:var(--jp-content-font-family,system-ui,sans-serif);font-size:14px;line-height:1.5;"
    "color:var(--jp-content-font-color1,var(--vscode-editor-foreground,inherit));overflow-wrap:anywhere"
)
_BADGE = (
    "display:inline-block;padding:.05em .6em;border-radius:1em;background:{solid};color:#fff;"
    "font-weight:600;font-size:12px;white-space:nowrap"
)
_PRE = (
    "margin:.3em 0;padding:.4em .6em;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;"
    "border-radius:4px;background:rgba(127,127,127,.14);color:inherit;font-family:var(--jp-code-font-family,monospace);"
    "font-size:13px"
)
FAINT = "opacity:.75;font-size:12px"


_ENGLISH = re.compile(r"(a|after|all|an|both|each|every|got|no|only|some|the|there|these|this|with|your)\s")
_WORD = re.compile(r"[a-z][a-z'-]*[,:;]?(\s|$)")
_NAME = re.compile(
    r"(?<![\w./'\"])([A-Za-z_]\w*_\w*(?:\.\w+)*(?:\([^()]*\))?|[A-Za-z_]\w*(?:\(\)|\[[\d, ]+\]))(?![\w('\"])"
)


@dataclass
class Card:
    """Something to read, as HTML and as text. It shows itself once in a cell."""

    html: str
    text: str
    _shown_in: int | None = field(default=None, repr=False)

    def show(self, place: str = "", *, is_new: bool = False) -> Card:
        """Show it now, where a notebook runs; elsewhere whoever called prints or leaves it.

        Args:
            place: a name for where it stands; what was shown there before is replaced.
            is_new: nothing stands at that place yet.
        """
        shell = running_shell()
        if shell is not None:
            from IPython.display import display

            self._shown_in = shell.execution_count
            where = {"display_id": place, "update": not is_new} if place else {}
            display({"text/html": self.html, "text/plain": self.text}, raw=True, **where)
        return self

    def _ipython_display_(self) -> None:
        shell = running_shell()
        if shell is None or shell.execution_count != self._shown_in:
            self.show()

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


def make_card(
    tone: str, badge: str, title: str, lines: Sequence[str] = (), *, html: str = "", footer: str = ""
) -> Card:
    """Build a card.

    Args:
        tone: a key of `TONES`.
        badge: one or two words, coloured.
        title: what it is about.
        lines: paragraphs of plain text.
        html: more, already HTML (a table, a picture).
        footer: small print.
    """
    body = "".join(f"<div style='margin-top:.35em'>{_inline(line)}</div>" for line in lines if line)
    return Card(
        box(
            tone,
            badge,
            title,
            body + html + (f"<div style='{FAINT};margin-top:.5em'>{_inline(footer)}</div>" if footer else ""),
        ),
        "\n".join(filter(None, [f"[{badge}] {title}", *lines, footer])),
    )


def sentence(text: str, *, is_prose: bool = True) -> str:
    """Return `text` with a capital letter and an end; an identifier at its begin stays as it is.

    Args:
        is_prose: whether a plain word at its begin is certainly a word; a name of a value is one, too.
    """
    text = text.strip()
    begin = text[:1].upper() + text[1:] if (_WORD if is_prose else _ENGLISH).match(text) else text
    return begin if begin.endswith(("?", "!", ".", "`")) else f"{begin}."


def names_as_code(text: str) -> str:
    """Put identifiers (``run_id``, ``item()``, ``weights[0]``) in backticks, where they are not yet."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return text
    parts[::2] = [_NAME.sub(r"`\1`", part) for part in parts[::2]]
    return "`".join(parts)


def box(tone: str, badge: str, title: str, body: str) -> str:
    """Return the HTML of a card with a body that is HTML."""
    solid, rgb = TONES[tone]
    return (
        f"<div role='group' aria-label='{escape(badge)}' style=\"{_BOX.format(rgb=rgb)}\">"
        f"<div style='display:flex;flex-wrap:wrap;gap:.2em .6em;align-items:baseline'>"
        f"<span style='{_BADGE.format(solid=solid)}'>{escape(badge)}</span>"
        f"<span style='font-weight:600'>{_inline(title)}</span></div>{body}</div>"
    )


def preformatted(text: str) -> str:
    """Return code or output as HTML."""
    return f'<pre style="{_PRE}">{escape(text)}</pre>'


def details(summary: str, body: str) -> str:
    """Return HTML that is folded until it is asked for."""
    return (
        f"<details style='margin-top:.35em'><summary style='cursor:pointer'>{escape(summary)}</summary>"
        f"{body}</details>"
    )


def table(rows: Sequence[Mapping[str, Any]], *, caption: str = "") -> str:
    """Return rows of equal keys as an HTML table."""
    if not rows:
        return ""
    names = list(rows[0])
    cell = "style='padding:.15em .7em;text-align:{};border-bottom:1px solid rgba(127,127,127,.3)'"
    head = "".join(f"<th scope='col' {cell.format('left')}>{escape(str(name))}</th>" for name in names)
    lines = [
        "".join(
            f"<td {cell.format('right' if isinstance(row.get(name), int | float) else 'left')}>"
            f"{escape(_cell(row.get(name)))}</td>"
            for name in names
        )
        for row in rows
    ]
    return (
        "<div style='overflow-x:auto;overflow-wrap:normal'>"  # a narrow column must not break its words
        "<table style='border-collapse:collapse;font-size:13px;color:inherit'>"
        + (f"<caption style='text-align:left'>{escape(caption)}</caption>" if caption else "")
        + f"<thead><tr>{head}</tr></thead><tbody>"
        + "".join(f"<tr style='background:none'>{line}</tr>" for line in lines)
        + "</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.4g}"
    return "" if value is None else str(value)


def _inline(text: str) -> str:
    """Escape text; what stands in backticks becomes code, as in the notebooks' prose."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    style = "background:rgba(127,127,127,.16);border-radius:3px;padding:0 .25em;color:inherit"
    return "".join(
        f"<code style='{style}'>{part}</code>" if place % 2 else part for place, part in enumerate(parts)
    )
