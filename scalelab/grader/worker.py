"""A process that judges: submissions come in on stdin, rows go out on stdout.

It is apart from the run that reads folders and writes results, so that a judge that dies (of a submission's
sheer size, say) takes nothing with it. Messages are msgpack with their length before them.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from scalelab.core import errors
from scalelab.core.errors import RunFailed, ScalelabError
from scalelab.core.lazy import require
from scalelab.core.processes import start, stop_tree
from scalelab.grader.limits import Limits
from scalelab.grading.grades import Grade

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_BOOT = "import sys; sys.path[:0] = [sys.argv[1]]; from scalelab.grader.worker import main; main()"
_END_S = 15.0
_HANGS_AFTER = 5
"""times the limit of a submission, after which its judge counts as dead"""


class JudgeDied(RunFailed):
    """The judge's process ended, or did not answer, while it held a submission."""


class NoJudge(ScalelabError):
    """No judge's process can start: that concerns every submission."""

    exit_code = 4


def plan_for(
    folder: Path,
    *,
    limits: Limits | None = None,
    require_sandbox: bool = False,
    key: str = "",
    has_variants: bool = True,
) -> dict[str, Any]:
    """Return what a judge's process is told at its start, as plain data."""
    return {
        "folder": os.path.abspath(folder),
        "limits": asdict(limits or Limits()),
        "require_sandbox": require_sandbox,
        "key": key,
        "has_variants": has_variants,
    }


class JudgeProcess:
    """A judge in a process of its own, seen from the run.

    Start it from a thread that lives as long as it should: it ends with that thread.

    Raises:
        NoJudge: it ended before it could take a submission.
    """

    def __init__(self, plan: Mapping[str, Any]):
        self._limit_s = _HANGS_AFTER * plan["limits"]["submission_s"] + 120
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process
        self._process = start(
            [sys.executable, "-c", _BOOT, str(Path(errors.__file__).parents[2])],
            env=dict.fromkeys(_THREADS, "1"),
            output=self._said,
            pipes=True,
        )
        self._is_busy = False
        if self._ask(dict(plan)) is None:
            raise NoJudge(f"the judge's process cannot start: {self.close()}", hint="report this")

    def grade(self, handed: Mapping[str, Any]) -> Grade:
        """Judge what `Handed.to_plain` gave.

        Raises:
            JudgeDied: the process ended or hung, and is gone now.
            ScalelabError: what concerns every submission.
        """
        answer = self._ask(dict(handed))
        if answer is None:
            said = self.close()
            raise JudgeDied(f"the judge's process ended while it held {handed['submission']}: {said}")
        return Grade.from_json(answer["row"])

    def _ask(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Send a message and return the answer; None where the process ends or hangs, which ends it."""
        watch = threading.Timer(self._limit_s, self._process.kill)
        watch.daemon = True
        watch.start()
        self._is_busy = True
        try:
            write_message(self._process.stdin, message)  # type: ignore[arg-type]
            answer = read_message(self._process.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError):  # it is gone, or was closed from another thread
            return None
        finally:
            watch.cancel()
        if answer is not None:
            self._is_busy = False
            if "error" in answer:
                kind = getattr(errors, answer["error"], ScalelabError)
                raise kind(answer["message"], hint=answer["hint"])
        return answer

    def close(self) -> str:
        """End the process with all that it started; return the last line that it said on stderr."""
        if not self._is_busy and self._process.stdin is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.stdin.close()
                self._process.wait(_END_S)
        stop_tree(self._process.pid, grace_s=0)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        if self._said.closed:
            return ""
        self._said.seek(0)
        words = self._said.read()[-2000:].decode(errors="replace").strip().splitlines()
        self._said.close()
        hung = [line for line in words if line.startswith("Timeout (")]  # a check's, by `Hearing`
        return (hung or words or [""])[-1]


def write_message(pipe: IO[bytes], message: dict[str, Any]) -> None:
    """Send one message."""
    body = require("msgpack", extra="grade").packb(message)
    pipe.write(struct.pack("!Q", len(body)))
    pipe.write(body)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Return the next message; None if the other side has closed."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    (size,) = struct.unpack("!Q", head)
    body = pipe.read(size)
    if len(body) < size:
        return None
    message: dict[str, Any] = require("msgpack", extra="grade").unpackb(body)
    return message


def main() -> None:
    """Be a judge until stdin closes."""
    from scalelab.core.processes import die_with_parent

    requests = os.fdopen(os.dup(0), "rb")
    rows = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)  # whatever a check prints is no answer
    if sys.platform != "linux":
        die_with_parent()
    plan = read_message(requests)
    if plan is None:
        return
    write_message(rows, {"ready": os.getpid()})
    from scalelab.grader.handed import Handed
    from scalelab.grader.judge import Judge
    from scalelab.grader.lab import GradedLab

    judge: Judge | None = None
    try:
        while (request := read_message(requests)) is not None:
            try:
                if judge is None:
                    judge = Judge(
                        GradedLab.load(Path(plan["folder"])),
                        limits=Limits(**plan["limits"]),
                        require_sandbox=plan["require_sandbox"],
                        key=plan["key"],
                        has_variants=plan["has_variants"],
                    )
                answer: dict[str, Any] = {"row": judge.grade(Handed.from_plain(request)).to_json()}
            except ScalelabError as error:
                answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
            write_message(rows, answer)
    finally:
        if judge is not None:
            judge.close()
