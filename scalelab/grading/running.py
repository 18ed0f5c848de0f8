"""Run one check over one learner's answers; whatever happens, the result is a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from scalelab.core.errors import LabFileError
from scalelab.core.units import format_seconds
from scalelab.grading.answers import Answers, NotAttempted, Stopped, WrongArguments
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
from scalelab.grading.lines import Line
from scalelab.grading.seeds import draw_seed

_UNPACKED = re.compile(r"unpack.*expected (\d+)")


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
    answers.begin(check, seed=draw_seed(check=check.name) if seed is None else seed)
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

    The first hint goes with a wrong idea that has no diagnosis of its own (`meaning`): it would pull away
    from one, and it says nothing to code that crashes or returns None.
    """
    learners = answers.line_of(error)
    if isinstance(error, ExpectationFailed):
        return {
            "outcome": Outcome.FAILED,
            "message": error.message,
            "code": error.code,
            "meaning": error.meaning,
            "hint": "" if error.meaning or error.code in GENERAL else check.hints[0],
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
    if isinstance(error, Stopped):
        return {"outcome": Outcome.CRASHED, "message": str(error), "code": error.code}
    if learners is not None or error is answers.raised:
        return {"outcome": Outcome.CRASHED, **_crash(error, learners)}
    if isinstance(error, LabFileError):
        raise error
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


def _crash(error: BaseException, learners: Line | None) -> dict[str, str]:
    where = f", in {learners}" if learners else ""
    if isinstance(error, SystemExit):
        return {"message": f"your code called exit{where}", "code": "called-exit"}
    if isinstance(error, RecursionError):
        return {
            "message": f"your code calls itself without end{where}",
            "code": "endless-recursion",
            "meaning": "a recursion needs a case that does not call itself",
        }
    found = {"message": f"{in_words(error)}{where}", "code": "crashed"}
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        found["meaning"] = (
            "a restart of the kernel forgets all names: if a cell above imports or defines this one, run the "
            "cells above again"
        )
    return found
