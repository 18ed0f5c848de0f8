"""Run a locustfile that somebody wrote, and read the log that it leaves.

The contract: it finds ``plan.json`` in its folder, and writes ``log.json`` there when it is done: a list with
a row ``[intended, sent, finished]`` for each request, in seconds from its start; finished is null where no
good answer came.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import DataError, RunFailed
from scalelab.core.lazy import need_installed
from scalelab.core.processes import run

STARTUP_S = 60.0
_COMMAND = ("-m", "locust", "-f", "locustfile.py", "--headless", "-u", "1", "-r", "1", "--only-summary")
_COMMAND += ("-L", "WARNING", "--stop-timeout", "0", "--host")


class _Done(Exception):
    """The log is there, or is not waited for any longer."""


def run_locustfile(
    text: str,
    url: str,
    plan: Mapping[str, Any],
    *,
    timeout_s: float,
    has_given_up: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Let locust run a locustfile with one user until its log is written; return the log.

    Args:
        text: the locustfile.
        url: the host that it is told.
        plan: JSON values, written as ``plan.json``.
        timeout_s: it is ended after this time, the start of locust (at most `STARTUP_S`) not counted.
        has_given_up: asked ten times a second; where it says yes, the log is not waited for any longer.

    Returns:
        ``(N, 3) float64`` [s]: intended, sent, finished; ``inf`` for null.

    Raises:
        RunFailed: it ended, or was ended, without a log; the message has the end of what it said.
        DataError: what it wrote is no such log.
    """
    need_installed(["locust"], extra="load")
    with tempfile.TemporaryDirectory(prefix="scalelab-locust-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "locustfile.py").write_text(text, encoding="utf-8")
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        written: list[Any] = []

        def look() -> None:
            try:
                written.append(json.loads((folder / "log.json").read_text(encoding="utf-8")))
            except (OSError, ValueError):  # not there yet, or half of it
                if has_given_up():
                    raise _Done from None
                return
            raise _Done

        told = "it was still running, with no log.json"
        try:
            done = run(
                [sys.executable, *_COMMAND, url],
                timeout_s=STARTUP_S + timeout_s,
                cwd=folder,
                on_poll=look,
            )
            told = (
                f"locust ended with {done.returncode} and no log.json; its last words:\n{done.output[-1500:]}"
            )
            look()
        except _Done:
            pass
        if not written:
            raise RunFailed(told, hint="the locustfile writes log.json when its last request is over")
        return read_log(written[0])


def read_log(rows: Any) -> np.ndarray:
    """Return the rows of a log as ``(N, 3) float64`` [s].

    Raises:
        DataError: it is no list of rows of three numbers.
    """
    try:
        numbers = [[np.inf if value is None else float(value) for value in row] for row in rows]
        return np.array(numbers, dtype=float).reshape(len(numbers), 3)
    except (TypeError, ValueError):
        shown = str(rows[:1] if isinstance(rows, list) else rows)[:80]
        raise DataError(
            f"log.json holds {shown}", hint="rows of [intended, sent, finished], seconds or null"
        ) from None
