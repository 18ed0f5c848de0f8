"""Text for tables that a spreadsheet will open, and ids that a person must be able to tell apart."""

from __future__ import annotations

import unicodedata

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""what begins a formula, in Japanese Excel the wide forms too. Source: OWASP, "CSV Injection" """
JOINERS = "\u200c\u200d"
"""invisible, but part of the spelling in Indic and Arabic scripts"""
EXCEL_LIMIT = 32_000
"""characters of a cell: Excel cuts at 32,767"""


def safe_cell(value: object) -> object:
    """Return `value` so that no spreadsheet takes it for a formula: a quote before what would begin one.

    What cannot be seen before the first sign (blanks, zero-width characters) does not hide the sign. Numbers
    stay numbers.
    """
    if isinstance(value, str) and _seen(value).startswith(FORMULA_STARTS):
        return "'" + value
    return value


def original_cell(text: str) -> str:
    """Return what `safe_cell` was given."""
    return text[1:] if text.startswith("'") and safe_cell(text[1:]) == text else text


def visible_id(text: str) -> str:
    r"""Return an id with everything invisible written out: ``ann\u200b`` is not ``ann``.

    Unlike ids stay unlike, since a backslash is doubled.
    """
    return "".join(_written_out(sign) for sign in text)


def plain_text(text: str) -> str:
    """Return text without the signs that change the order of what stands around it (``U+202E`` and its kin).

    Line ends are ``\\n``, other control characters are gone, and joiners stay.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        sign
        for sign in text
        if sign in "\n\t" or sign in JOINERS or unicodedata.category(sign) not in _UNSEEN
    )


_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _written_out(sign: str) -> str:
    if sign == "\\":
        return "\\\\"
    is_unseen = unicodedata.category(sign) in _UNSEEN or (sign.isspace() and sign != " ")
    return f"\\u{ord(sign):04x}" if is_unseen else sign


def _seen(text: str) -> str:
    """Return `text` from its first sign that can be seen on; a tab or line end counts as one."""
    for place, sign in enumerate(text):
        if sign in "\t\r\n" or not (sign.isspace() or unicodedata.category(sign) in _UNSEEN):
            return text[place:]
    return text
