"""The judge of one lab: a submission comes in, a row with a verdict goes out, whatever the submission does.

The judge's process holds the checks and what they expect, and never runs a learner's code. That runs in a
learner process, forked from a warm one that knows neither; what it answers is judged here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scalelab.core.errors import RunFailed, ScalelabError
from scalelab.core.lazy import is_installed
from scalelab.core.paths import shipped
from scalelab.grader.cells import CodeCell, Refused, SubmittedNotebook, read_submission
from scalelab.grader.handed import Handed
from scalelab.grader.hearing import Hearing, TimedOut
from scalelab.grader.introspection import find_introspection
from scalelab.grader.lab import GradedLab, Plan
from scalelab.grader.limits import Limits
from scalelab.grader.sandbox import WarmProcess
from scalelab.grading.fingerprints import fingerprint
from scalelab.grading.grades import Grade, check_row


class Judge:
    """Grades submissions to one lab, one after the other.

    The warm process starts with the first submission that has code to run.

    Args:
        limits: of what one submission may take; without them, those of the lab.
        require_sandbox: refuse to work with less than all layers of isolation.
        key: a secret: with it every student has inputs of their own, the same at every run.
        has_variants: the key is the course's, and students hold the variants that it gives; else they all
            have the common one.
    """

    def __init__(
        self,
        lab: GradedLab,
        *,
        limits: Limits | None = None,
        require_sandbox: bool = False,
        key: str = "",
        has_variants: bool = True,
    ):
        self.lab = lab
        self.limits = limits or lab.limits
        self.key = key
        self.variant_key = key if has_variants else ""
        self._require_sandbox = require_sandbox
        self._warm: WarmProcess | None = None
        self._began_s = 0.0

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the warm process."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None

    @property
    def warm(self) -> WarmProcess:
        """Return the warm process of this lab.

        Raises:
            ConfigError: a set-up cell of the lab fails, or the machine lacks a layer that is required.
        """
        if self._warm is None:
            self._warm = WarmProcess(
                [name for name in self.lab.preload if is_installed(name.partition(".")[0])],
                [cell.text for cell in self.lab.prefix],
                [path for path in (shipped("datasets"),) if Path(path).is_dir()],
                self.limits,
                require_sandbox=self._require_sandbox,
            )
        return self._warm

    def grade(self, handed: Handed) -> Grade:
        """Judge one submission. Never raises for what is in it.

        Raises:
            ScalelabError: the lab or this machine is at fault, before the first check: it concerns everybody.
        """
        self._began_s = time.perf_counter()
        facts: dict[str, Any] = {**handed.facts, **self._judge(handed)}
        facts["notes"] = [*handed.notes, *facts.pop("more_notes", ())]
        return Grade(
            **facts,
            lab=self.lab.slug,
            lab_sha256=self.lab.sha256,
            max_points=float(self.lab.max_points),
            seconds=round(time.perf_counter() - self._began_s, 3),
            machine_load=_load(),
            graded_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _judge(self, handed: Handed) -> dict[str, Any]:
        try:
            if handed.problem:
                raise Refused(handed.problem)
            submitted = read_submission(handed.raw)
        except Refused as refused:
            return {"status": "refused", "reason": refused.reason}
        self.lab.checks, self.warm  # noqa: B018  their errors and the time that they take concern everybody
        self._began_s = time.perf_counter()
        try:
            return self._hear(handed, submitted)
        except TimedOut as late:
            return {"status": "timed out", "reason": str(late)}
        except ScalelabError as error:
            if isinstance(error, RunFailed):  # the warm process is gone: a new one for the next submission
                self.close()
            return {"status": "crashed", "reason": f"{error.message} (not the student's fault)"}
        except Exception as error:
            self.close()
            told = f"the grader broke on it ({type(error).__name__}: {error}): report it"
            return {"status": "crashed", "reason": told}

    def _hear(self, handed: Handed, submitted: SubmittedNotebook) -> dict[str, Any]:
        plan = self.lab.plan(submitted)
        heard = self._run(handed, plan.busy)
        if plan.idle and heard.misses(plan.idle_names):
            heard = self._run(handed, plan.cells)
        results = [heard.explained(result, plan) for result in heard.results]
        hidden = {check.name for check, is_hidden in self.lab.checks if is_hidden}
        return {
            "status": "graded",
            "points": float(sum(result.points for result in results)),
            "checks": [check_row(result, is_hidden=result.name in hidden) for result in results],
            "written": heard.written,
            "fingerprints": self._fingerprints(plan),
            "introspection": find_introspection(
                cell for cell in plan.cells if cell.number not in plan.released
            ),
            "isolation": list(self.warm.isolation),
            "more_notes": [*submitted.notes, *heard.notes(plan)],
        }

    def _run(self, handed: Handed, cells: Sequence[CodeCell]) -> Hearing:
        keys = {"key": self.key, "variant_key": self.variant_key}
        with Hearing(self.warm, self.lab, cells, handed, **keys) as hearing:
            hearing.run()
        return hearing

    def _fingerprints(self, plan: Plan) -> dict[str, list[int]]:
        stubs = self.lab.stubs
        return {
            name: fingerprint(cell.text, stubs[name])
            for name, cell in plan.tasks.items()
            if cell.text.strip() != stubs[name].strip()
        }


def _load() -> float | None:
    if not hasattr(os, "getloadavg"):
        return None
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
