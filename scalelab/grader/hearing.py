"""One submission before the judge: its cells are run in a learner process, then it is asked check by check.

A learner process that ends or hangs is started anew, without the cell that did it, and the next check goes
on. A submission cannot make that last: the number of starts and the time of all together are bounded.
"""

from __future__ import annotations

import faulthandler
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from scalelab.core.units import format_seconds
from scalelab.grader.cells import CodeCell
from scalelab.grader.handed import Handed
from scalelab.grader.lab import GradedLab, Plan
from scalelab.grader.measured import HeardAnswers
from scalelab.grader.sandbox import Learner, WarmProcess
from scalelab.grading.answers import Stopped
from scalelab.grading.checks import COMES_AFTER, Check, CheckResult, Outcome
from scalelab.grading.limits import OverLimit
from scalelab.grading.running import run_check
from scalelab.grading.seeds import course_seed
from scalelab.grading.variants import FILE, Variant, student_variant, variant_file

LEFT_OUT = 3
"""cells that may end the process; the next one makes the whole submission fail"""
REPEATS = 2
"""of a measured check that was inconclusive"""
REST_S = 20.0
"""for all that is left, once a cell or a check ran over its limit"""
_SHORTER = 5
"""times shorter are limits from then on"""
_HANGS_AFTER, _HANGS_S = 2.0, 30.0
"""times the limit of a check, and seconds on top: then it hangs where no signal reaches it, as a set of
numbers with chosen hashes does, and the judge's process ends"""
_PAUSE_S = 0.5
_GRACE_S = 2.0
"""for a learner process that stops a cell itself, before the judge does"""
_UNDEFINED = re.compile(r"NameError: name '(\w+)' is not defined")
_NOTE = re.compile(r"cell \d+: ")
_ENDINGS = {
    "memory": "took more memory than is allowed",
    "processes": "started more processes than are allowed",
    "time": "took too long",
    "killed": "took too long",
}


class TimedOut(Exception):
    """The cells did not come to an end within the limits."""


class Hearing:
    """The judging of one submission; a context, at whose end no process is left."""

    def __init__(
        self,
        warm: WarmProcess,
        lab: GradedLab,
        cells: Sequence[CodeCell],
        handed: Handed,
        *,
        key: str,
        variant_key: str,
    ):
        self._warm, self._lab, self._handed, self._key = warm, lab, handed, key
        self._variant = Variant(lab=lab.slug)
        if variant_key and lab.has_variants:
            self._variant = student_variant(variant_key, student=handed.student, lab=lab.slug)
        self._cells = list(cells)
        self._troubles: dict[int, str] = {}
        self._left_out: dict[int, str] = {}
        self._learner: Learner | None = None
        self._answers: HeardAnswers | None = None
        self._deadline = time.monotonic() + warm.limits.submission_s
        self._is_late = False
        self.results: list[CheckResult] = []
        self.written: dict[str, str] = {}
        self._missing: set[str] = set()

    def __enter__(self) -> Hearing:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self) -> None:
        """Run the cells, then all checks; `results` has one for each of them.

        Raises:
            TimedOut: the cells took too long, or ended the process again and again.
            LabFileError: a check is broken.
        """
        starts = 0
        for check, _ in self._lab.checks:
            if vain := self._in_vain(check):
                self.results.append(vain)
                continue
            if time.monotonic() > self._deadline or starts > len(self._lab.checks):
                self.results.append(_not_heard(check))
                continue
            if self._answers is None or not self._answers.is_usable:
                self._end()
                starts += 1
                self._start()
            limit_s = self._limit(check.limit_s)
            result = self._check(replace(check, limit_s=limit_s))
            self._hurry_after(result.seconds, limit_s)
            self.results.append(result)

    def _in_vain(self, check: Check) -> CheckResult | None:
        """Return the result of a check that gives nothing, since the one that must pass first did not."""
        before = next((result for result in self.results if result.name == check.after), None)
        if before is None or before.outcome in (Outcome.PASSED, Outcome.INCONCLUSIVE):
            return None
        untouched = before.outcome is Outcome.NOT_ATTEMPTED
        outcome = Outcome.NOT_ATTEMPTED if untouched else Outcome.FAILED
        told = f"it counts once `{check.after}` passes"
        return _without_trial(check, outcome, told, "" if untouched else COMES_AFTER)

    def _limit(self, limit_s: float) -> float:
        """Return the limit that holds now, for what would have `limit_s` by itself."""
        if self._is_late:
            limit_s = min(limit_s, max(1.0, limit_s / _SHORTER))
        return min(limit_s, max(1.0, self._deadline - time.monotonic()))

    def _hurry_after(self, seconds: float, limit_s: float) -> None:
        """Leave less time to the rest if the limit was met."""
        if seconds >= 0.9 * limit_s and not self._is_late:
            self._is_late = True
            self._deadline = min(self._deadline, time.monotonic() + REST_S)

    def _check(self, check: Check) -> CheckResult:
        seed = course_seed(self._key, student=self._handed.student, lab=self._lab.slug, check=check.name)
        for repeat in range(REPEATS + 1):
            assert self._answers is not None
            faulthandler.dump_traceback_later(_HANGS_AFTER * check.limit_s + _HANGS_S, exit=True, file=2)
            try:
                result = run_check(check, self._answers, seed=seed)
            finally:
                faulthandler.cancel_dump_traceback_later()
            if self._answers.missing:
                self._missing.add(self._answers.missing)
            if result.outcome is not Outcome.INCONCLUSIVE or not self._answers.is_usable:
                break
            if repeat < REPEATS:
                time.sleep(_PAUSE_S * 2**repeat)  # whatever disturbed it may have gone by then
        return result

    def _start(self) -> None:
        """Start a learner process and run all cells but those that ended one before."""
        while True:
            self._learner = self._warm.learner(self._files())
            self._answers = HeardAnswers(
                self._learner.channel, warm=self._warm, inside_source=self._lab.inside_source
            )
            self._answers.variant = self._variant
            ended = self._run_cells()
            if ended is None:
                self._ask_written()
                return
            how = self._end()
            number, told = ended
            self._left_out[number] = _ENDINGS.get(how, told if how == "ok" else f"{told} ({how})")
            if time.monotonic() > self._deadline:
                limit = format_seconds(self._warm.limits.submission_s)
                raise TimedOut(f"its cells did not end in {limit}; the last one was {self._shown(number)}")
            if len(self._left_out) > LEFT_OUT:
                left_out = sorted(self._left_out.items())
                every = ", ".join(f"{self._shown(number)} {why}" for number, why in left_out)
                raise TimedOut(f"its cells ended the process again and again: {every}")

    def _files(self) -> dict[str, bytes]:
        """Return what the student handed in; their variant is the course's word, not theirs."""
        files = dict(self._handed.files)
        if self._lab.has_variants:
            files[FILE] = variant_file(self._variant, student=self._handed.student)
        return files

    def _run_cells(self) -> tuple[int, str] | None:
        """Run the cells one by one; return which ended the process, and in what, or None."""
        assert self._answers is not None
        limits = self._warm.limits
        self._troubles = {}
        for cell in self._cells:
            if cell.number in self._left_out:
                continue
            cell_s, started = self._limit(limits.cell_s), time.monotonic()
            try:
                troubles = self._answers.run([cell.text], cell_s=cell_s, deadline=started + cell_s + _GRACE_S)
            except OverLimit:
                return cell.number, f"did not stop after {format_seconds(cell_s)}"
            except Stopped:
                return cell.number, "ended the whole process"
            finally:
                self._hurry_after(time.monotonic() - started, cell_s)
            if troubles:
                trouble = _NOTE.sub("", troubles[0], count=1)
                was_stopped = trouble.startswith("stopped after ")
                self._troubles[cell.number] = f"{'was' if was_stopped else 'ended in'} {trouble}"
        return None

    def _ask_written(self) -> None:
        assert self._answers is not None
        try:
            self.written = self._answers.explained()
        except (OverLimit, Stopped):
            self.written = {}

    def _end(self) -> str:
        how = self._learner.ended if self._learner is not None else ""
        self._learner = self._answers = None
        return how

    def misses(self, names: Iterable[str]) -> bool:
        """Tell whether a check or the learner's code asked for one of `names` in vain."""
        undefined = {name for result in self.results for name in _UNDEFINED.findall(result.message)}
        return bool((self._missing | undefined) & set(names))

    def _shown(self, number: int) -> str:
        return next(cell.shown for cell in self._cells if cell.number == number)

    def notes(self, plan: Plan) -> list[str]:
        """Return a sentence for each cell that did not run through, and is the student's own."""
        left_out = sorted(self._left_out.items())
        told = [f"{self._shown(number)} {why}, so it was left out" for number, why in left_out]
        for number, trouble in sorted(self._troubles.items()):
            needs_idle = set(_UNDEFINED.findall(trouble)) & plan.idle_names  # of a cell that was not needed
            if number not in plan.released and not needs_idle:
                told.append(f"{self._shown(number)} {trouble}")
        return told

    def explained(self, result: CheckResult, plan: Plan) -> CheckResult:
        """Say which cell's error is behind a missing answer."""
        if result.outcome is not Outcome.NOT_ATTEMPTED:
            return result
        for cell in plan.cells:
            why = self._left_out.get(cell.number) or self._troubles.get(cell.number)
            asked = cell.names | self._lab.tasks.get(cell.hint, frozenset())
            name = next((name for name in sorted(asked) if f"`{name}`" in result.message), "")
            if why and name and "there is no" in result.message:
                return replace(
                    result,
                    outcome=Outcome.CRASHED,
                    message=f"{cell.shown}, which defines `{name}`, {why}",
                    code="cell-ended",
                )
        return result


def _not_heard(check: Check) -> CheckResult:
    told = "the time for the whole submission was used up by the checks before this one"
    return _without_trial(check, Outcome.CRASHED, told, "over-limit")


def _without_trial(check: Check, outcome: Outcome, message: str, code: str) -> CheckResult:
    return CheckResult(check.name, outcome, 0.0, check.points, check.goal, message, code)
