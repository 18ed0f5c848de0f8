"""What the trials of a lab's answers must show, as laws; each breach is one sentence."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from scalelab.authoring.trials import Trial
from scalelab.grading import Task

MIN_RIGHT = 2
MIN_WRONG = 3


def judge_answers(answers: Mapping[str, Task], points: Mapping[str, float], *, slug: str) -> Iterator[str]:
    """Yield what is missing from answers.py: a task, right answers in different styles, wrong answers."""
    where = f"solutions/{slug}/answers.py"
    for name in points:
        if name not in answers:
            yield f"{where}: no answers for task {name!r}"
    for name, task in answers.items():
        if name not in points:
            yield f"{where}: task {name!r} has no check"
        styles = {_shape(text) for text in task.right}
        if len(styles) < MIN_RIGHT:
            yield f"{where}: task {name!r} has {len(styles)} styles of right answers, needs {MIN_RIGHT}"
        if len({_shape(text) for text in task.wrong.values()}) < MIN_WRONG:
            yield f"{where}: task {name!r} has {len(task.wrong)} different wrong answers, needs {MIN_WRONG}"


def _shape(text: str) -> str:
    """Return code without its layout, comments and docstrings; a text that is not Python is its own shape."""
    try:
        return ast.unparse(ast.parse(text))
    except SyntaxError:
        return text


def judge_trials(trials: Sequence[Trial], *, slug: str) -> Iterator[str]:
    """Yield every trial that did not end as it must.

    Untouched answers are not attempted and give 0; the solution and every right answer pass; every wrong
    answer fails with the code it is listed under; a crashing answer crashes. A hidden check belongs to the
    tasks without which it is not attempted; some wrong answer of theirs fails it.
    """
    relatives: dict[str, set[str]] = defaultdict(set)
    for trial in trials:
        if trial.is_hidden and trial.kind == "without" and trial.outcome == "not attempted":
            relatives[trial.check].add(trial.task)
    broken: dict[tuple[str, ...], str] = {}
    for trial in trials:
        is_own = trial.task in relatives[trial.check] if trial.is_hidden else trial.check == trial.task
        if problem := _breach(trial, is_own=is_own):
            key = (trial.check, trial.task, trial.kind, trial.label)
            broken.setdefault(key, f"{_where(trial, slug)}: {problem} (seed {trial.seed})")
    yield from broken.values()
    for check in dict.fromkeys(trial.check for trial in trials if trial.is_hidden):
        where = f"solutions/{slug}/hidden_checks.py: check {check!r}"
        wrong = [trial for trial in trials if trial.check == check and trial.kind == "wrong"]
        if not relatives[check]:
            yield f"{where} asks for no task's answer"
        elif all(trial.outcome == "passed" for trial in wrong):
            yield f"{where} passes on every wrong answer; add one to answers.py that it catches"


def _breach(trial: Trial, *, is_own: bool) -> str:
    ended = f"ends as {trial.outcome!r}" + (f" with code {trial.code!r}" if trial.code else "")
    said = f": {trial.message}" if trial.message else ""
    if trial.kind == "unsolved" and (trial.outcome != "not attempted" or trial.points != 0):
        return (
            f"an untouched notebook {ended} and {trial.points:g} points, wanted 'not attempted' and 0{said}"
        )
    if trial.kind == "solved" and (trial.outcome != "passed" or trial.points != trial.max_points):
        return f"the solution {ended}{said}"
    if trial.kind == "right" and trial.outcome != "passed":
        return f"right answer {trial.label} of task {trial.task!r} {ended}{said}"
    if trial.kind == "wrong" and not trial.is_hidden:
        has_code = trial.outcome in {"failed", "crashed"} and trial.code == trial.label
        return "" if has_code else f"wrong answer {trial.label!r} {ended}, wanted its own code{said}"
    if trial.kind == "crashing" and is_own and trial.outcome != "crashed":
        return f"the crashing answer of task {trial.task!r} {ended}, wanted 'crashed'{said}"
    return ""


def _where(trial: Trial, slug: str) -> str:
    file = f"solutions/{slug}/hidden_checks.py" if trial.is_hidden else f"labs/{slug}/checks.py"
    return f"{file}: check {trial.check!r}"
