"""A whole class graded: each submission one row in ``results.jsonl``, also after a kill at any moment.

What has a row with the same hashes (of the submission and of the lab) is not judged again. A judge that dies
over a submission gets it once more, alone, at the end; if it dies again, the row says so.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, RunFailed, ScalelabError, did_you_mean
from scalelab.core.locks import hold_lock
from scalelab.core.paths import make_folder
from scalelab.grader.executors import judge_one, open_executor
from scalelab.grader.handed import Handed, hand_over
from scalelab.grader.lab import GradedLab
from scalelab.grader.limits import Limits
from scalelab.grader.rows import KnownRows
from scalelab.grader.submissions import Submission, discover
from scalelab.grader.worker import plan_for
from scalelab.grading.grades import Grade
from scalelab.grading.waiting import write_waiting

RESULTS = "results.jsonl"
KEY = "course.key"


@dataclass(frozen=True)
class Progress:
    """How far a run is; made anew with each row."""

    done: int
    total: int
    judged: int
    """of those done, how many this run judged"""
    elapsed_s: float

    @property
    def left_s(self) -> float | None:
        """Return the time that the rest will take, as far as can be told [s]."""
        if not self.judged:
            return None
        return self.elapsed_s / self.judged * (self.total - self.done)


@dataclass
class Finished:
    """What a run came to."""

    total: int = 0
    skipped: int = 0
    """had a row with the same hashes"""
    by_status: Counter[str] = field(default_factory=Counter)
    """of the rows that this run made"""
    gone: int = 0
    """rows of students whose submission is not in the folder any more"""
    seconds: float = 0.0
    isolation: tuple[str, ...] = ()
    """the layers that held around the learners' code"""
    troubles: list[str] = field(default_factory=list)
    """for the instructor: judges that died, checks that are broken"""


def run_grading(
    lab: GradedLab,
    submissions: Path,
    out: Path,
    *,
    jobs: int = 1,
    executor: str = "",
    pattern: str | None = None,
    only: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    also_called: Callable[[Sequence[str]], Mapping[str, str]] = lambda students: {},
    due: datetime | None = None,
    key_file: Path | None = None,
    limits: Limits | None = None,
    require_sandbox: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Finished:
    """Grade all submissions in a folder; the rows are in ``out/results.jsonl``.

    Args:
        jobs: judges at one time.
        executor: ``dask://HOST:PORT``, or empty for this machine.
        only: students; their submissions are judged again even if nothing has changed.
        names: the ids of students whose files are under another name.
        also_called: by what else `only` may call the students of these ids: a class list knows more names.
        due: what was handed in later is marked.
        key_file: holds the course's secret, from which students have their variants; without it, all have
            the common one, and a secret for hidden inputs is made and kept in `out`.

    Raises:
        ConfigError: a folder, pattern, student or address is wrong, or another run uses `out`.
        LabFileError: the lab is broken.
    """
    make_folder(out)
    with hold_lock(out / ".lock", doing=f"grading {lab.slug}"):
        found = discover(submissions, pattern=pattern, lab=lab.slug, skip=out)
        found = _under_their_ids(found, names or {})
        students = [each.student for each in found]
        known_as = {**also_called(students), **{student: student for student in students}}
        for name in only:
            if name not in known_as:
                hint = did_you_mean(name, known_as)
                raise ConfigError(f"there is no submission of {name!r} in {submissions}", hint=hint)
        wanted = {known_as[name] for name in only}
        chosen = [each for each in found if not only or each.student in wanted]
        plan = plan_for(
            lab.folder,
            limits=limits or lab.limits,
            require_sandbox=require_sandbox,
            key=_read_key(out, key_file),
            has_variants=key_file is not None,
        )
        known = KnownRows(out / RESULTS, lab=lab.slug)
        with open_executor(executor, jobs=jobs) as opened:
            run = _Run(lab, plan, known, *opened, on_progress)
            run.finished.gone = len(known.students - set(students))
            finished = run.grade(chosen, due=due, again=bool(only))
        write_waiting(out, set(students) - known.students)
        return finished


def _under_their_ids(found: Sequence[Submission], names: Mapping[str, str]) -> list[Submission]:
    """Rename the students; where two would become one, each keeps their name, and so their row."""
    wanted = Counter(names.get(each.student, each.student) for each in found)
    own = {each.student for each in found}
    ids = {name: new for name, new in names.items() if wanted[new] == 1 and new not in own}
    return [replace(each, student=ids.get(each.student, each.student)) for each in found]


class _Run:
    def __init__(
        self,
        lab: GradedLab,
        plan: dict[str, Any],
        known: KnownRows,
        executor: Executor,
        jobs: int,
        on_progress: Callable[[Progress], None] | None,
    ):
        self._lab, self._plan, self._known = lab, plan, known
        self._executor, self._jobs, self._on_progress = executor, jobs, on_progress
        self._started = time.monotonic()
        self._done = 0
        self.finished = Finished()

    def grade(self, submissions: Sequence[Submission], *, due: datetime | None, again: bool) -> Finished:
        self.finished.total = len(submissions)
        waiting: dict[Future[bytes], Submission] = {}
        once_more: list[tuple[Submission, str]] = []
        for submission in submissions:
            handed = hand_over(submission, lab=self._lab.slug, due=due)
            if not again and self._known.is_current(handed, self._lab.sha256):
                self.finished.skipped += 1
                self._step()
                continue
            waiting[self._submit(handed)] = submission
            del handed  # its bytes go with the future: memory stays flat
            while len(waiting) > 2 * self._jobs:
                once_more += self._collect(waiting)
        while waiting:
            once_more += self._collect(waiting)
        for submission, trouble in once_more:
            self._grade_alone(hand_over(submission, lab=self._lab.slug, due=due), trouble)
        self._known.update()
        self.finished.seconds = time.monotonic() - self._started
        return self.finished

    def _submit(self, handed: Handed) -> Future[bytes]:
        return self._executor.submit(judge_one, self._plan, handed.to_plain())

    def _collect(self, waiting: dict[Future[bytes], Submission]) -> list[tuple[Submission, str]]:
        """Write the rows that are ready; return what has to be judged once more, with the reason."""
        ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
        rows, odd = [], []
        for future in ready:
            submission = waiting.pop(future)
            grade, trouble = _result(future)
            if grade is not None:
                rows.append(grade)
            if grade is None or any(check["outcome"] == "inconclusive" for check in grade.checks):
                odd.append((submission, trouble))
        self._write(rows)
        return odd

    def _grade_alone(self, handed: Handed, trouble: str) -> None:
        """Judge while nothing else runs: what killed its judge, and measurements that need quiet."""
        grade, new_trouble = _result(self._submit(handed))
        if grade is not None:
            self._write([grade], is_new=bool(trouble))
        elif trouble:
            self._write([self._lost(handed, new_trouble)])

    def _lost(self, handed: Handed, trouble: str) -> Grade:
        self.finished.troubles.append(f"{handed.student}: {trouble}")
        return Grade(
            **handed.facts,
            lab=self._lab.slug,
            lab_sha256=self._lab.sha256,
            status="crashed",
            reason="the judge's process ended twice over it: look at it by hand",
            max_points=float(self._lab.max_points),
            notes=list(handed.notes),
            graded_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _write(self, grades: Sequence[Grade], *, is_new: bool = True) -> None:
        self._known.append(*grades)
        for grade in grades:
            self.finished.isolation = tuple(grade.isolation) or self.finished.isolation
            if grade.status == "crashed":
                self.finished.troubles.append(f"{grade.student}: {grade.reason}")
            if is_new:
                self.finished.by_status[grade.status] += 1
                self._step()

    def _step(self) -> None:
        self._done += 1
        if self._on_progress is not None:
            elapsed_s = time.monotonic() - self._started
            judged = sum(self.finished.by_status.values())
            self._on_progress(Progress(self._done, self.finished.total, judged, elapsed_s))


def _result(future: Future[bytes]) -> tuple[Grade | None, str]:
    """Return the row of a finished future, or why there is none.

    Raises:
        ScalelabError: what concerns every submission.
    """
    try:
        return Grade.from_json(future.result()), ""
    except RunFailed as died:
        return None, died.message
    except ScalelabError:
        raise
    except Exception as error:  # a worker of the cluster that died over it again and again
        return None, f"{type(error).__name__}: {error}"


def _read_key(out: Path, key_file: Path | None) -> str:
    """Return the course's secret; where none is given, the one of this folder of results.

    Raises:
        ConfigError: the file is missing or empty.
    """
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{key_file} cannot be read: {error}", hint="a text file with a secret"
            ) from None
        if not key:
            raise ConfigError(f"{key_file} is empty", hint="write a long random text into it")
        return key
    path = out / KEY
    if not path.exists():
        new = path.with_suffix(f".{os.getpid()}")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    return _read_key(out, path)
