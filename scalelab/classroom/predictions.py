"""A prediction: a guess and an interval, given before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scalelab.classroom.ledger import Ledger
from scalelab.core.errors import ConfigError

CONFIDENCE = 0.9
"""how sure a learner is asked to be that the interval holds the value"""


@dataclass(frozen=True)
class Prediction:
    """What the learner expects of one quantity, and what came out."""

    lab: str
    name: str
    guess: float
    low: float
    high: float
    unit: str = ""
    measured: float | None = None

    @property
    def is_inside(self) -> bool | None:
        """The measured value lies in the interval; None before the measurement."""
        return None if self.measured is None else self.low <= self.measured <= self.high

    @property
    def position(self) -> float | None:
        """Where the measured value lies: 0 in the middle of the interval, -1 and 1 at its ends."""
        if self.measured is None:
            return None
        half = (self.high - self.low) / 2
        offset = self.measured - (self.high + self.low) / 2
        if half == 0:
            return 0.0 if offset == 0 else math.copysign(math.inf, offset)
        return offset / half


def check_interval(name: str, guess: object, low: object, high: object) -> tuple[float, float, float]:
    """Return guess, low and high as numbers.

    Raises:
        ConfigError: one is missing or no finite number, or they are not in order.
    """
    numbers = []
    for word, value in (("guess", guess), ("low", low), ("high", high)):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(
                f"prediction {name!r}: {word} is {value!r}",
                hint=f"lab.predict({name!r}, guess=..., low=..., high=...) takes three numbers",
            )
        numbers.append(number)
    guess_, low_, high_ = numbers
    if not low_ <= guess_ <= high_:
        raise ConfigError(
            f"prediction {name!r}: {guess_:g} is not between {low_:g} and {high_:g}",
            hint="low <= guess <= high: widen the interval or move the guess",
        )
    return guess_, low_, high_


def read_predictions(ledger: Ledger, *, lab: str | None = None) -> list[Prediction]:
    """Return the last prediction of each name before its first measurement, with that measurement."""
    found: dict[tuple[str, str], Prediction] = {}
    for event in ledger.read(lab=lab):
        key, facts = (event.lab, event.name), event.facts
        unit = str(facts.get("unit", ""))
        if event.kind == "prediction" and (key not in found or found[key].measured is None):
            numbers = [_number(facts.get(word)) for word in ("guess", "low", "high")]
            if None not in numbers:
                found[key] = Prediction(*key, *numbers, unit)  # type: ignore[arg-type]
        elif event.kind == "measurement" and key in found and found[key].measured is None:
            old = found[key]
            found[key] = replace(old, measured=_number(facts.get("value")), unit=old.unit or unit)
    return list(found.values())


def find_prediction(ledger: Ledger, lab: str, name: str) -> Prediction | None:
    """Return the learner's prediction of `name` that counts, or None."""
    return next((each for each in read_predictions(ledger, lab=lab) if each.name == name), None)


def _number(value: object) -> float | None:
    """Return a number of the ledger; somebody may have edited the file."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
