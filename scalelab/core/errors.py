"""Errors that say what is wrong, with which value, and what to do next.

ScalelabError                 exit code 1
├── UserError (ValueError)    exit code 2   something the user can change
│   ├── ConfigError                         a parameter, a file of settings, a command line
│   ├── DataError                           a data file is missing, torn or not what it should be
│   ├── MissingDependency                   a Python package or a program is not installed
│   └── ResourceError                       too little disk, memory or no free port
├── LabFileError              exit code 3   a file that we ship is wrong: tell the authors
└── RunFailed                 exit code 4   a child process, a stack or a benchmark point failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScalelabError(Exception):
    """A problem with its value (`message`) and the next step (`hint`)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UserError(ScalelabError, ValueError):
    """The user can mend this."""

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the two lines that help, without the way through our code."""
        lines = [f"{type(self).__name__}: {self.message}"]
        return [*lines, f"  hint: {self.hint}"] if self.hint else lines


class ConfigError(UserError):
    """A parameter, settings file or command line has a value that cannot work."""


class DataError(UserError):
    """A data file is missing, damaged or of another shape."""


class MissingDependency(UserError):
    """A package or program that this step needs is not installed."""


class ResourceError(UserError):
    """The machine has too little of something: disk, memory, ports."""


class LabFileError(ScalelabError):
    """A file that ships with ScaleLab is wrong."""

    exit_code = 3


class RunFailed(ScalelabError):
    """A child process, a stack or a benchmark point did not finish its work."""

    exit_code = 4


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Return a hint that names the closest of `options`, or lists them all."""
    names = sorted(options)
    close = difflib.get_close_matches(value, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
