"""What a hostile, broken or noisy submission is, for the tables in ``cases_*.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "grader"))

from grader_tiny import HALF, LAB, POINTS, RIGHT, TASKS, WRONG, code_cell, notebook

__all__ = [
    "HALF", "LAB", "POINTS", "RIGHT", "STEAL", "TASKS", "WRONG", "Case", "Link", "Pipe", "all_tasks",
    "changed", "code_cell", "honest", "notebook",
]  # fmt: skip


@dataclass(frozen=True)
class Link:
    """A symbolic link in a submission's folder."""

    target: str


@dataclass(frozen=True)
class Pipe:
    """A named pipe in a submission's folder."""


Files = Mapping[str, "bytes | Link | Pipe"]


@dataclass(frozen=True)
class Case:
    """One student of the class. Tasks that `answers` does not name get a wrong one: no points are due."""

    id: str
    """begins with its class: a tampering, b leaving, c reading the checker, d files and others, e time, f
    metadata and protocol, g resources, h malformed files, y honest but noisy, z controls"""
    before: str = ""
    """an extra cell in front of the first task"""
    answers: Mapping[str, str] = field(default_factory=dict)
    after: str = ""
    """an extra cell at the end"""
    change: Callable[[bytes], bytes | Files] | None = None
    """what is done with the finished notebook"""
    points: float = 0.0
    """exactly what it is worth"""
    is_rough: bool = False
    """eats the machine, or runs until it is stopped"""
    statuses: tuple[str, ...] = ()
    """how it has to end, where that is not open"""

    def files(self) -> Files:
        """Return what this student hands in."""
        book = notebook(
            {**WRONG, **self.answers},
            before=(self.before,) if self.before else (),
            after=(self.after,) if self.after else (),
        )
        raw = json.dumps(book).encode()
        made = self.change(raw) if self.change else raw
        return made if isinstance(made, Mapping) else {"lab1.ipynb": made}


def all_tasks(body: str) -> dict[str, str]:
    """Answer every task by a function of any arguments with this body (one line)."""
    return {name: f"def {name}(*args, **kwargs):\n    {body}" for name in TASKS}


def honest(change: Callable[[str, str], str] = lambda name, text: text, **more: str) -> dict[str, str]:
    """Return right answers, each changed by ``change(name, text)``; `more` replaces some."""
    return {**{name: change(name, text) for name, text in RIGHT.items()}, **more}


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Make a change of a notebook's bytes from one of its JSON, in place or returned."""

    def apply(raw: bytes) -> bytes:
        book = json.loads(raw)
        return json.dumps(change(book) or book).encode()

    return apply


STEAL = """\
import os
def every_file(*roots, most=20000):
    seen = 0
    for root in roots or ("/",):
        for folder, folders, names in os.walk(root):
            folders[:] = set(folders) - {"proc", "sys", "dev", "site-packages", "usr", "lib"}
            for name in names:
                seen += 1
                if seen > most:
                    return
                yield os.path.join(folder, name)
def text_of(path):
    try:
        if os.path.getsize(path) < 4e6:
            with open(path, "rb") as file:
                return file.read().decode("utf8", "replace")
    except OSError:
        pass
    return ""
def shout(stolen):
    "the only way out: a message that the feedback shows"
    def task(*args, **kwargs):
        raise ValueError(str(stolen)[:3000])
    return task
"""
"""helpers for a case that looks for what it should not see, and tells it by its feedback"""
