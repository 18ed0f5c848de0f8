"""What the learner has done, in one file that only grows: predictions, measurements, checks, hints, words.

It lies in ``$SCALELAB_HOME`` or in the place that the system has for a user's data. Where it cannot be
written (a full or read-only disk), events are kept in memory, tried again at the next one, and the learner
is told once: everything else goes on.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scalelab.core.jsonl import TornRecordWarning, append_line

SCHEMA_VERSION = 1
_lock = threading.Lock()


@dataclass(frozen=True)
class Event:
    """One thing that the learner did in a lab."""

    kind: str
    """question, prediction, measurement, check, hint, gave-up, explanation, cost, started or reset"""
    lab: str
    name: str
    """the prediction, task or question that it belongs to"""
    facts: Mapping[str, Any]
    when: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    schema: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Return the event as one line."""
        text = json.dumps(vars(self), separators=(",", ":"), ensure_ascii=False, default=str)
        return text.encode(errors="backslashreplace")  # half a surrogate pair becomes JSON's own escape


def home() -> Path:
    """Return the folder of the learner's own data."""
    given = os.environ.get("SCALELAB_HOME", "")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "scalelab"


class Ledger:
    """The learner's events, oldest first. Several notebooks may write and read it at once."""

    def __init__(self, path: Path | None = None):
        self.path = path or home() / "ledger.jsonl"
        self.problem = ""
        """why events are only in memory, a sentence; empty while all is well"""
        self._unwritten: list[Event] = []
        self._read_to = 0
        self._on_disk: list[Event] = []

    def append(self, kind: str, lab: str, name: str, **facts: Any) -> Event:
        """Add an event; never raises for a disk that cannot be written (see `problem`)."""
        event = Event(kind, lab, name, facts)
        with _lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", TornRecordWarning)  # what a killed kernel left is moved aside
            self._unwritten.append(event)
            try:
                while self._unwritten:
                    append_line(self.path, self._unwritten[0].to_json())
                    self._unwritten.pop(0)
                self.problem = ""
            except OSError as error:
                self.problem = (
                    f"{self.path} cannot be written ({error.strerror or error}): what you do now is kept "
                    "only until Python ends. Free some space, or set SCALELAB_HOME to a folder of yours."
                )
        return event

    def read(
        self, *, lab: str | None = None, kind: str | None = None, name: str | None = None
    ) -> list[Event]:
        """Return the events, oldest first; lines that are no event of this version are passed over."""
        with _lock:
            events = [*self._events_on_disk(), *self._unwritten]
        return [
            event
            for event in events
            if (lab is None or event.lab == lab)
            and (kind is None or event.kind == kind)
            and (name is None or event.name == name)
        ]

    def _events_on_disk(self) -> list[Event]:
        """Read on from where the last look ended: whole lines never change, only what follows them may."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read_to:  # somebody put another file in its place
                    self._read_to, self._on_disk = 0, []
                file.seek(self._read_to)
                new = file.read()
        except OSError:
            return self._on_disk
        *lines, unfinished = new.split(b"\n")
        self._read_to += len(new) - len(unfinished)
        self._on_disk += [event for line in lines if (event := _read_event(line)) is not None]
        return self._on_disk


def _read_event(line: bytes) -> Event | None:
    try:
        raw = json.loads(line)
        if raw["schema"] != SCHEMA_VERSION or not isinstance(raw["facts"], dict):
            return None
        return Event(**raw)
    except (ValueError, KeyError, TypeError):
        return None
