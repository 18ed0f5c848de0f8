"""Run one check over one learner's answers; whatever happens, the result is a sentence."""

from __future__ import annotations

import linecache
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from scalelab.core.errors import LabFileError
from scalelab.core.units import format_seconds
from scalelab.grading.answers import Answers, NotAttempted, WrongArguments
from scalelab.grading.checks import Check, CheckResult, Outcome
from scalelab.grading.expectations import (
    GENERAL,
    ExpectationFailed,
    Inconclusive,
    describe,
    in_words,
    refuse_nothing,
)
from scalelab.grading.limits import OverLimit, printed, time_limit
from scalelab.grading.seeds import draw_seed

_OURS = Path(__file__).resolve().parents[1]
_UNPACKED = re.compile(r"unpack.*expected (\d+)")
_LIBRARY = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix)}


def run_check(check: Check, answers: Answers | Mapping[str, Any], *, seed: int | None = None) -> CheckResult:
    """Judge `answers` by `check`. Never raises for what a learner's code does, but for Ctrl-C.

    Args:
        answers: the answers, or simply the namespace of the learner's notebook.
        seed: draws the inputs; without it, a fresh one (see `draw_seed`).

    Raises:
        LabFileError: the check itself is broken.
    """
    if not isinstance(answers, Answers):
        answers = Answers(answers)
    answers.reseed(draw_seed(check=check.name) if seed is None else seed)
    started = time.perf_counter()
    with printed() as output:
        try:
            with time_limit(check.limit_s):
                check(answers)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            found = _judge(error, check, answers)
        else:
            found = {"outcome": Outcome.PASSED, "points": check.points}
    return CheckResult(
        **{
            "name": check.name,
            "points": 0.0,
            "max_points": check.points,
            "goal": check.goal,
            "seconds": time.perf_counter() - started,
            "seed": answers.seed,
            "output": output.text,
            **found,
        }
    )


def _judge(error: BaseException, check: Check, answers: Answers) -> dict[str, Any]:
    """Say in words what an exception out of a check means.

    The first hint goes with a wrong idea only: it says nothing to code that crashes or returns None.
    """
    learners = _learners_line(error, answers)
    if isinstance(error, ExpectationFailed):
        return {
            "outcome": Outcome.FAILED,
            "message": error.message,
            "code": error.code,
            "meaning": error.meaning,
            "hint": "" if error.code in GENERAL else check.hints[0],
        }
    if isinstance(error, Inconclusive):
        if not check.measured:
            raise LabFileError(
                f"check {check.name!r} is inconclusive but not measured", hint="say measured=True"
            ) from error
        return {"outcome": Outcome.INCONCLUSIVE, "message": str(error), "code": "too-noisy"}
    if isinstance(error, NotAttempted):
        return {"outcome": Outcome.NOT_ATTEMPTED, "message": str(error)}
    if isinstance(error, NotImplementedError) and learners is not None and learners.is_innermost:
        return {
            "outcome": Outcome.NOT_ATTEMPTED,
            "message": f"`{learners.function}` is still the stub: write its body and run the cell again",
        }
    if isinstance(error, OverLimit):
        where = f", in {learners}" if learners else ""
        return {
            "outcome": Outcome.CRASHED,
            "message": f"your code was stopped after {format_seconds(check.limit_s)}{where}",
            "code": "over-limit",
            "meaning": "does a loop never end?",
        }
    if isinstance(error, WrongArguments):
        return {"outcome": Outcome.CRASHED, "message": str(error), "code": "wrong-arguments"}
    if learners is not None or error is answers.raised:
        return {"outcome": Outcome.CRASHED, **_crash(error, learners)}
    if answers.last is None:  # no answer was looked at yet, so none can be at fault
        raise LabFileError(
            f"check {check.name!r} is broken: {type(error).__name__}: {error}", hint="tell the lab's authors"
        ) from error
    return {"outcome": Outcome.FAILED, **_unusable(error, *answers.last)}


def _unusable(error: BaseException, what: str, value: Any) -> dict[str, str]:
    """Say why a check broke on a value, in words about the value and not about the check's own code."""
    told = f"{what} {describe(value)}"
    inside = value if isinstance(value, list | tuple) else value.values() if isinstance(value, dict) else ()
    for part, message in (
        (value, told),
        *((item, f"{told}, with {describe(item)} in it") for item in inside),
    ):
        try:
            refuse_nothing(part, what)
        except ExpectationFailed as nothing:
            return {"message": message, "code": nothing.code, "meaning": nothing.meaning}
    count = _UNPACKED.search(str(error))
    wanted = f"wanted {count.group(1)} values" if count else "the check cannot use that"
    return {
        "message": f"{told}: {wanted}",
        "code": "unusable",
        "meaning": "the task's docstring says what it wants",
    }


def _crash(error: BaseException, learners: _Line | None) -> dict[str, str]:
    where = f", in {learners}" if learners else ""
    if isinstance(error, SystemExit):
        return {"message": f"your code called exit{where}", "code": "called-exit"}
    if isinstance(error, RecursionError):
        return {
            "message": f"your code calls itself without end{where}",
            "code": "endless-recursion",
            "meaning": "a recursion needs a case that does not call itself",
        }
    return {"message": f"{in_words(error)}{where}", "code": "crashed"}


@dataclass(frozen=True)
class _Line:
    """The deepest line of the learner's own code in a traceback."""

    function: str
    number: int
    text: str
    is_innermost: bool

    def __str__(self) -> str:
        name = "your cell" if self.function.startswith("<") else f"`{self.function}`"  # <module>, <lambda>
        return f"line {self.number} of {name}" + (f": `{self.text}`" if self.text else "")


def _learners_line(error: BaseException, answers: Answers) -> _Line | None:
    frames = []
    step = error.__traceback__
    while step is not None:
        frames.append(step)
        step = step.tb_next
    mine = [place for place, each in enumerate(frames) if _is_learners(each, answers)]
    if not mine and error is answers.raised and frames:
        mine = [len(frames) - 1]
    if not mine:
        return None
    found = frames[mine[-1]]
    code = found.tb_frame.f_code
    text = linecache.getline(code.co_filename, found.tb_lineno).strip()
    return _Line(code.co_name, found.tb_lineno, text, is_innermost=found is frames[-1])


def _is_learners(step: TracebackType, answers: Answers) -> bool:
    """Tell whether a frame runs the notebook's code, or a file that is neither ours nor a library's."""
    names, file = step.tb_frame.f_globals, step.tb_frame.f_code.co_filename
    if names is answers.namespace:
        return True
    if "__checks__" in names or file.startswith("<frozen"):
        return False
    if names.get("__name__") == "__main__":
        return True
    path = Path(file).resolve()
    is_library = {"site-packages", "dist-packages"} & set(path.parts)
    return not is_library and not any(root in path.parents for root in (_OURS, *_LIBRARY))
