"""Answers that can have something measured apart: in a clean process, by functions of the lab."""

from __future__ import annotations

from typing import Any

from scalelab.grader.remote import RemoteAnswers
from scalelab.grader.sandbox import WarmProcess


class HeardAnswers(RemoteAnswers):
    """`RemoteAnswers` beside the warm process, from which a process without the learner's code can come."""

    def __init__(self, channel: Any, *, warm: WarmProcess, inside_source: str = ""):
        super().__init__(channel, inside_source=inside_source)
        self._warm = warm

    def apart(self, function: str, **inputs: Any) -> Any:
        """Run a function of ``inside.py`` in a learner process in which no cell was run; it ends afterwards.

        A file from a learner is read there and nowhere else: what it does to its reader ends with that.
        """
        with self._warm.learner() as clean:
            answers = RemoteAnswers(clean.channel, inside_source=self._inside_source)
            answers._deadline = self._deadline
            value = answers.inside(function, **inputs)
        self.last = (f"`{function}` found", value)
        return value
