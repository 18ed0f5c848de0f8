"""Whose work is there and has no row yet: beside the results, so that nobody takes it for none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from scalelab.core.errors import DataError

FILE = "waiting.json"


def write_waiting(out: Path, students: Iterable[str]) -> None:
    """Keep the ids of those whose submission has no row; with none of them there is no such file."""
    names = sorted(students)
    path = out / FILE
    if names:
        path.write_text(json.dumps(names) + "\n", encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def read_waiting(out: Path) -> list[str]:
    """Return the ids of those whose submission has no row.

    Raises:
        DataError: the file is damaged.
    """
    path = out / FILE
    if not path.exists():
        return []
    try:
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        raise DataError(f"{path} is damaged", hint="delete it; `scalelab grade` writes it anew") from None
