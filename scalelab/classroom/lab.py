"""``lab = Lab("06_gradient_accumulation")``: everything that a notebook of the course asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from scalelab.classroom import broken, cards, hints, measured, progress, stubs, widgets
from scalelab.classroom.catalog import find_lab
from scalelab.classroom.ledger import Ledger
from scalelab.classroom.measuring import Measurement, NotMeasured
from scalelab.classroom.predictions import CONFIDENCE, check_interval, find_prediction
from scalelab.classroom.questions import Question, recall, with_unit
from scalelab.classroom.results import ShownResult
from scalelab.classroom.waiting import waiting
from scalelab.core.errors import ConfigError, UserError, did_you_mean
from scalelab.core.shell import can_show_widgets
from scalelab.grading import Answers, Check, CheckResult, Outcome, draw_seed, load_checks, run_check
from scalelab.grading.expectations import describe
from scalelab.grading.limits import printed
from scalelab.grading.variants import Variant, own_variant

_RESTARTED = "after a restart of the kernel, run the cells above again (Run > Run All Above Selected Cell)"


class CheckNotPassed(UserError):
    """A check was not passed, or a measurement refused, and ``SCALELAB_STRICT=1`` makes that an error."""


class MeasuredElsewhere(Exception):
    """Nothing is measured when a notebook is checked from outside, and no earlier value was recorded."""


def is_strict() -> bool:
    """Tell whether cells must fail for wrong answers (``SCALELAB_STRICT=1``: continuous integration)."""
    return os.environ.get("SCALELAB_STRICT", "") not in {"", "0"}


class Lab:
    """One lab in one notebook. Takes milliseconds and imports nothing heavy.

    Args:
        slug: ``06_gradient_accumulation``, or ``6``.
        namespace: the learner's names; the notebook's own if left out.
        ledger: where events go; the learner's own if left out.

    Raises:
        ConfigError: there is no such lab.
    """

    on_result: ClassVar[Callable[[CheckResult], None] | None] = None
    """called with every result; set where a notebook is checked from outside"""
    measures: ClassVar[bool] = True
    """False: `measure` runs nothing and returns what was recorded last"""
    passed_over: ClassVar[bool] = False
    """something was left out so far: a measurement, where nothing is measured"""

    def __init__(
        self, slug: str | int, namespace: Mapping[str, Any] | None = None, *, ledger: Ledger | None = None
    ):
        self.info = find_lab(slug)
        self.namespace = sys._getframe(1).f_globals if namespace is None else namespace
        self.ledger = ledger or Ledger()
        self._checks: dict[str, Check] | None = None
        self._told = ""
        stubs.install(self.namespace)
        broken.install(self.namespace)

    @property
    def slug(self) -> str:
        """The lab's name."""
        return self.info.slug

    @property
    def variant(self) -> Variant:
        """The numbers and data that are yours: ``lab.variant.integer("size", 8, 64)``.

        They come from the ``variant.json`` of your hand-out, beside the notebook; without one, they are those
        that everybody has.

        Raises:
            UserError: the file is damaged, or belongs to another lab.
        """
        return own_variant(self.slug)

    @property
    def checks(self) -> dict[str, Check]:
        """The lab's checks by name; the first use imports what they need."""
        if self._checks is None:
            with printed():  # a warning of what they import must not stand in a cell that nbgrader reads
                self._checks = load_checks(self.info.folder)
        return self._checks

    def check(self, name: str | None = None, *, seed: int | None = None) -> CheckResult:
        """Check a task. The result shows as a card; only with ``SCALELAB_STRICT=1`` it may raise.

        Args:
            seed: draws the inputs of an earlier run again, as its card says; without it they are fresh.

        Raises:
            ConfigError: there is no such task, or the seed is none.
            CheckNotPassed: strict, and the answer failed, crashed or is missing (not if it is inconclusive:
                a noisy machine is nobody's mistake).
        """
        check = self._task(name)
        name = check.name
        before = self.ledger.read(lab=self.slug, kind="check", name=name)
        was_passed = any(event.facts.get("points") for event in before)
        answers = Answers(self.namespace)
        if seed is not None and not (isinstance(seed, int) and seed >= 0):
            raise ConfigError(f"a seed of {seed!r} is none", hint="a whole number from 0, as a card shows it")
        if seed is None:
            seed = draw_seed(lab=self.slug, check=name, attempt=len(before) + 1)
        result = run_check(check, answers, seed=seed)
        if answers.missing and was_passed:
            result = replace(result, meaning=_RESTARTED)
        result = broken.explained(result, answers)
        self._record(
            "check", name, outcome=result.outcome.value, points=result.points, max_points=result.max_points,
            code=result.code, seed=result.seed, seconds=round(result.seconds, 3), hinted=bool(result.hint),
        )  # fmt: skip
        if Lab.on_result is not None:
            Lab.on_result(result)
        if is_strict() and result.outcome not in {Outcome.PASSED, Outcome.INCONCLUSIVE}:
            raise CheckNotPassed(str(result))
        return ShownResult.of(
            result,
            hints_seen=hints.seen(self.ledger, self.slug, name),
            was_passed=was_passed,
            stale=broken.stale_note(answers),
            then=progress.next_step(self.info, self.checks, self.ledger) if result.is_passed else "",
        )

    def predict(
        self,
        name: str,
        question: str = "",
        *,
        unit: str = "",
        range: tuple[float, float] | None = None,
        guess: float | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> cards.Card:
        """Commit to a number and an interval before it is measured; without a guess, ask for them.

        What an earlier call said of question, unit and range is remembered.

        Args:
            range: what the slider spans, in `unit`; a prediction may lie outside.
            low, high: you would bet nine to one that the value lies between them.

        Raises:
            ConfigError: a number is missing, or not ``low <= guess <= high``; a range that is none.
        """
        asked, is_new = recall(self.ledger, self.slug, name, question, unit, range)
        is_asking = guess is None and low is None and high is None
        numbers = (0.0, 0.0, 0.0) if is_asking else check_interval(name, guess, low, high)
        if is_new:
            self._record("question", name, **vars(asked))
        if is_asking:
            return self._ask(name, asked)
        before = find_prediction(self.ledger, self.slug, name)
        self._commit(name, asked, numbers)
        title, told = asked.question or name, [_expected(asked.unit, numbers), asked.warn(numbers[0])]
        if before is None or numbers == (before.guess, before.low, before.high):
            return cards.make_card("info", "predicted", title, told).show()
        old = f"{with_unit(before.guess, before.unit)}, between {before.low:g} and {before.high:g}"
        if before.measured is None:
            told.append(f"This replaces your prediction of {old}. Once it is measured, it stays.")
        else:
            told.append(f"It was measured already, so what you said before that stays: {old}.")
        return cards.make_card("info", "revised", title, told).show()

    def measure(
        self, name: str, run: Callable[[], Measurement | float], *, unit: str = ""
    ) -> Measurement | NotMeasured:
        """Measure what was predicted; show both, and record the measurement.

        While there is no prediction of `name`, or while `run` meets a stub, says so and returns a
        `NotMeasured`, which is false and says it again to whoever asks for its value.

        Raises:
            CheckNotPassed: the same, where ``SCALELAB_STRICT=1``.
            ConfigError: `run` returned no number.
        """
        if not Lab.measures:
            Lab.passed_over = True
            kept = measured.last_measurement(self.ledger, self.slug, name)
            if kept is None:
                raise MeasuredElsewhere(name)
            return kept
        prediction = find_prediction(self.ledger, self.slug, name)
        if prediction is None:
            return self._refuse(
                name,
                f"Predict it first: run the cell with `lab.predict({name!r}, ...)`, then this one again.",
            )
        with waiting(name) as place:
            try:
                value = run()
            except NotImplementedError as error:
                told = f"Not yet: a task above is still a stub ({error or 'it raised'})."
                return self._refuse(name, told, place)
            done = measured.as_measurement(name, value, unit or prediction.unit)
            self._record(
                "measurement", name, value=done.value, unit=done.unit, detail=done.detail,
                verdict=done.verdict.value if done.verdict else None,
                record=measured.keep_record(self.ledger, self.slug, name, done),
            )  # fmt: skip
            return measured.show(done, find_prediction(self.ledger, self.slug, name), place)

    def hint(self, name: str | None = None) -> cards.Card:
        """Show the next of the task's three hints, with those before it. Hints cost no points."""
        check = self._task(name)
        name = check.name
        count = min(hints.seen(self.ledger, self.slug, name) + 1, len(check.hints))
        self._record("hint", name, number=count)
        return hints.hint_card(check, count).show()

    def give_up(self, name: str | None = None) -> cards.Card:
        """Give a task up, which is recorded, and see its solution where the course provides one.

        Whoever passes it later still gets its points.
        """
        check = self._task(name)
        name = check.name
        if hints.is_passed(self.ledger, self.slug, name):
            told = (
                f"You have passed it: there is nothing to give up. `lab.solution({name!r})` shows a solution."
            )
            return cards.make_card("good", "passed", name, [told]).show()
        if not self._is_repeated("gave-up", name):
            self._record("gave-up", name)
        return hints.solution_card(self.info, check, gave_up=True).show()

    def solution(self, name: str | None = None) -> cards.Card:
        """Show a solution after the task was passed or given up."""
        check = self._task(name)
        name = check.name
        if not hints.may_see_solution(self.ledger, self.slug, name):
            told = f"Pass the check first, or give up with `lab.give_up({name!r})`; giving up is recorded."
            return cards.make_card("calm", "not yet", f"Solution of {name}", [told]).show()
        is_passed = hints.is_passed(self.ledger, self.slug, name)
        return hints.solution_card(self.info, check, is_passed=is_passed).show()

    def explain(self, name: str, text: str = "") -> cards.Card:
        """Keep a written answer; without a text, show the one that was kept last."""
        words = "" if text is ... else " ".join(str(text).split())
        if words.strip(".… "):
            if not self._is_repeated("explanation", name, text=str(text).strip()):
                self._record("explanation", name, text=str(text).strip())
            count = len(words.split())
            return cards.make_card("info", "kept", name, [f"Your answer of {count} words is kept."]).show()
        kept = self.ledger.read(lab=self.slug, kind="explanation", name=name)
        if kept:
            return cards.make_card("info", "kept", name, [str(kept[-1].facts.get("text", ""))]).show()
        told = f'Write your answer: `lab.explain({name!r}, "...")`.'
        return cards.make_card("calm", "not written yet", name, [told]).show()

    def cost(self, *amounts: Any, what: str = "this run") -> cards.Card:
        """Show what something costs, in rupees and dollars, and keep it.

        Args:
            amounts: objects with `amount` and `currency` (and `amount_usd`): ``cost_per_million(rate,
                currency="INR")`` of scalelab.cost shows both.
        """
        line, facts = measured.cost_line(amounts)
        self._record("cost", what, amounts=facts)
        return cards.make_card("info", "cost", what[:1].upper() + what[1:], [line]).show()

    def progress(self) -> cards.Card:
        """Show this lab's tasks with their points, and how well all predictions so far were calibrated."""
        return progress.progress_card(self.info, self.checks, self.ledger).show()

    def _ask(self, name: str, asked: Question) -> cards.Card:
        made = find_prediction(self.ledger, self.slug, name)
        title = asked.question or name
        if made is not None:
            told = [_expected(made.unit, (made.guess, made.low, made.high))]
            if made.measured is None:
                again = f"`lab.predict({name!r}, guess=..., low=..., high=...)`"
                told.append(f"Until it is measured, {again} replaces it.")
            return cards.make_card("info", "predicted", title, told).show()
        in_unit = f" in {asked.unit}" if asked.unit else ""
        sure = f"you would bet {round(10 * CONFIDENCE)} in 10 that the value lies in the interval"
        has_form = asked.range is not None and can_show_widgets()
        either = "Move the sliders and commit, or run" if has_form else "Run"
        told = f"Your guess{in_unit}, and an interval: {sure}."
        typed = f"{either} `lab.predict({name!r}, guess=..., low=..., high=...)` with your three numbers."
        card = cards.make_card("calm", "predict", title, [told, typed]).show()
        if has_form and asked.range is not None:
            form = widgets.prediction_form(
                asked.range, asked.unit, lambda *numbers: self._commit(name, asked, numbers)
            )
            widgets.show(form)
        return card

    def _commit(self, name: str, asked: Question, numbers: tuple[float, float, float]) -> None:
        guess, low, high = numbers
        if not self._is_repeated("prediction", name, guess=guess, low=low, high=high):
            self._record(
                "prediction", name, guess=guess, low=low, high=high, unit=asked.unit, question=asked.question
            )

    def _refuse(self, name: str, told: str, place: str = "") -> NotMeasured:
        if is_strict():
            raise CheckNotPassed(f"{name} was not measured", hint=told.replace("`", ""))
        cards.make_card("calm", "not measured", name, [told]).show(place)
        return NotMeasured(name)

    def _task(self, name: str | None) -> Check:
        if name is None:
            known = list(self.checks)
            raise ConfigError(
                f"which task? {self.slug} has {', '.join(known)}", hint=f'for example lab.check("{known[0]}")'
            )
        if not isinstance(name, str):
            raise ConfigError(
                f"a task is called by its name in quotes, not by {describe(name)}",
                hint=f"known: {', '.join(self.checks)}",
            )
        if name not in self.checks:
            raise ConfigError(f"{self.slug} has no task {name!r}", hint=did_you_mean(name, self.checks))
        return self.checks[name]

    def _is_repeated(self, kind: str, name: str, **facts: Any) -> bool:
        """A cell that runs again with the same words adds nothing to the ledger."""
        before = self.ledger.read(lab=self.slug, kind=kind, name=name)
        return bool(before) and all(before[-1].facts.get(key) == value for key, value in facts.items())

    def _record(self, kind: str, name: str, **facts: Any) -> None:
        self.ledger.append(kind, self.slug, name, **facts)
        if self.ledger.problem and self.ledger.problem != self._told:
            self._told = self.ledger.problem
            cards.make_card("warn", "not saved", "Your progress", [self.ledger.problem]).show()

    def __repr__(self) -> str:
        return f"Lab {self.info.number:02d}: {self.info.title} ({self.info.points:g} points)"


def _expected(unit: str, numbers: tuple[float, float, float]) -> str:
    guess, low, high = numbers
    return f"You expect {with_unit(guess, unit)}, between {low:g} and {high:g}."
