"""What a written answer is marked by: a question's points, split over criteria, from ``rubric.toml``.

    [[question]]
    name = "residual"             # as in lab.explain("residual", ...)
    text = "Why does the median lie below the model?"
    criterion = [
      { name = "names the average", points = 2 },
      { name = "says what decides the ratio", points = 1 },
    ]

A question without criteria has ``points`` of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, did_you_mean

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

_KEYS = {"name", "text", "points", "criterion"}


@dataclass(frozen=True)
class Criterion:
    """One thing that a good answer has."""

    name: str
    points: float

    @property
    def column(self) -> str:
        """Heading of its column in ``written.csv``."""
        return f"{self.name} (of {self.points:g})"


@dataclass(frozen=True)
class Question:
    """One question that is answered in words and marked by hand."""

    name: str
    points: float
    text: str = ""
    criteria: tuple[Criterion, ...] = ()


def read_rubric(path: Path) -> dict[str, Question]:
    """Return the questions by name, in the file's order.

    Raises:
        ConfigError: the file cannot be read, or a question has no name, no points, or is there twice.
    """
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of a rubric"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="mend that line") from None
    entries = facts.get("question", [])
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} has no question", hint="begin each with the line [[question]]")
    questions: dict[str, Question] = {}
    for number, entry in enumerate(entries, 1):
        question = _question(f"{path}, question {number}", entry)
        if question.name in questions:
            raise ConfigError(f"{path} has the question {question.name!r} twice", hint="keep one of the two")
        questions[question.name] = question
    return questions


def _question(where: str, entry: Any) -> Question:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is {entry!r}", hint="begin it with the line [[question]]")
    if unknown := sorted(set(entry) - _KEYS):
        raise ConfigError(f"{where} has {unknown[0]!r}", hint=did_you_mean(unknown[0], _KEYS))
    name, text = entry.get("name"), entry.get("text", "")
    if not isinstance(name, str) or not name.strip() or not isinstance(text, str):
        raise ConfigError(f"{where} has no name", hint='write name = "...", as in lab.explain')
    where = f"{where} ({name})"
    criteria = tuple(_criterion(where, each) for each in entry.get("criterion", []))
    if len({each.name for each in criteria}) < len(criteria):
        raise ConfigError(f"{where} has a criterion twice", hint="give each a name of its own")
    if criteria and "points" in entry:
        raise ConfigError(f"{where} has points and criteria", hint="leave one out: the criteria add up")
    points = sum(each.points for each in criteria) if criteria else _points(where, entry.get("points"))
    return Question(name.strip(), points, text.strip(), criteria)


def _criterion(where: str, entry: Any) -> Criterion:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        raise ConfigError(f"{where}: a criterion is {entry!r}", hint='write { name = "...", points = 2 }')
    return Criterion(entry["name"].strip(), _points(f"{where}, {entry['name']}", entry.get("points")))


def _points(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{where} has points = {value!r}", hint="give a number above 0")
    return float(value)
