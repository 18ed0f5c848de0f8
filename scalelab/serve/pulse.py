"""A worker's sign of life: a small file that it touches, and that the supervisor looks at.

Touching needs no room on the disk, and the supervisor measures silence on its own clock, from the last change
that it saw: neither a full disk nor a clock that jumps makes a worker look dead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PULSE_VARIABLE = "SCALELAB_PULSE"
"""where a worker that has a supervisor puts its sign of life"""


class Pulse:
    """The worker's end."""

    def __init__(self, path: Path | None):
        self._path = path

    @classmethod
    def from_environment(cls) -> Pulse:
        """Return the pulse that a supervisor asked for; without one (in a container) nobody listens."""
        path = os.environ.get(PULSE_VARIABLE, "")
        return cls(Path(path) if path else None)

    def say(self, **facts: Any) -> None:
        """Tell the supervisor that the model is loaded and served, with some facts about it."""
        if self._path is not None:
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(facts))
            os.replace(fresh, self._path)

    def beat(self) -> None:
        """Show that this process runs."""
        if self._path is not None:
            try:
                os.utime(self._path)
            except OSError:  # the folder was removed, or nothing was said yet
                return


class PulseWatch:
    """The supervisor's end."""

    def __init__(self, path: Path):
        path.unlink(missing_ok=True)
        self.path = path
        self._seen_ns = 0
        self._heard_s = 0.0

    def facts(self) -> Mapping[str, Any] | None:
        """Return what the worker said when it was ready; None until then."""
        try:
            said = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None
        return said if isinstance(said, dict) else None

    def silent_s(self, now_s: float) -> float:
        """Return for how long nothing was heard; 0 until the worker has spoken for the first time."""
        try:
            seen_ns = self.path.stat().st_mtime_ns
        except OSError:
            return 0.0
        if seen_ns != self._seen_ns:
            self._seen_ns, self._heard_s = seen_ns, now_s
        return now_s - self._heard_s

    def forgive(self, now_s: float) -> None:
        """Begin to count anew: the watcher itself had slept (a suspended laptop)."""
        self._heard_s = now_s
