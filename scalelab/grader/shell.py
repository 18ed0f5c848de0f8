"""An IPython shell without a kernel: magics, top-level await and display, but nothing is shown or kept."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

from scalelab.core.lazy import require
from scalelab.grader.inert import InertLab, PassedOver
from scalelab.grading.expectations import in_words
from scalelab.grading.limits import OverLimit, time_limit

_INSTALL = re.compile(r"\b(pip3?|uv|conda|mamba|apt|apt-get)\b.*\binstall\b")
_SHOW_NOTHING = {"MPLBACKEND": "agg", "PLOTLY_RENDERER": "json"}


def make_shell() -> Any:
    """Return the shell of this process; `scalelab.Lab` is inert from now on."""
    shell_module = require("IPython.core.interactiveshell", extra="grade")
    publisher_module = require("IPython.core.displaypub", extra="grade")
    formatter_module = require("IPython.core.formatters", extra="grade")
    config = require("traitlets.config", extra="grade").Config()
    config.HistoryManager.update(enabled=False, hist_file=":memory:")

    class SilentPublisher(publisher_module.DisplayPublisher):
        def publish(self, *_: Any, **__: Any) -> None:
            pass

        def clear_output(self, wait: bool = False) -> None:
            pass

    class SilentFormatter(formatter_module.DisplayFormatter):
        def format(self, *_: Any, **__: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            return {}, {}

    class Shell(shell_module.InteractiveShell):
        def init_display_formatter(self) -> None:
            self.display_formatter = SilentFormatter(parent=self)
            self.configurables.append(self.display_formatter)

        def system(self, cmd: str) -> None:
            if not _INSTALL.search(cmd):  # there is no network, and all that a lab needs is here
                super().system(cmd)

        def init_profile_dir(self, profile_dir: Any) -> None:
            self.profile_dir = profile_dir  # nothing is read from a home folder, and nothing written there

        def init_ipython_dir(self, ipython_dir: Any) -> None:
            pass

        def showtraceback(self, *_: Any, **__: Any) -> None:
            pass  # `run_cell` tells of errors

        def showsyntaxerror(self, *_: Any, **__: Any) -> None:
            pass

        def ask_exit(self) -> None:
            raise SystemExit

    for name, value in _SHOW_NOTHING.items():
        os.environ.setdefault(name, value)
    import scalelab

    scalelab.Lab = InertLab  # type: ignore[attr-defined]
    parts: dict[str, Any] = {"config": config, "display_pub_class": SilentPublisher}
    if require("IPython", extra="grade").version_info >= (9,):
        return _without_plots(Shell.instance(**parts))
    with tempfile.TemporaryDirectory() as folder:  # IPython 8 wants one while it starts
        profile = require("IPython.core.profiledir", extra="grade").ProfileDir.create_profile_dir(folder)
        return _without_plots(Shell.instance(**parts, profile_dir=profile, ipython_dir=folder))


def _without_plots(shell: Any) -> Any:
    """Let ``%matplotlib inline`` do nothing: nothing is shown, and matplotlib may not be here."""
    for magic in ("matplotlib", "pylab"):
        shell.register_magic_function(lambda line: None, "line", magic)
    return shell


def run_cell(shell: Any, source: str, *, limit_s: float) -> str:
    """Run one cell; return what it ended in, in a line, or nothing where all is well."""
    try:
        with time_limit(limit_s):
            result = shell.run_cell(source, store_history=False)
    except OverLimit:
        return f"stopped after {limit_s:g} s"
    error = result.error_before_exec or result.error_in_exec
    if error is None or isinstance(error, PassedOver):
        return ""
    if isinstance(error, OverLimit):
        return f"stopped after {limit_s:g} s"
    return in_words(error)
