"""Measured values beside their predictions: shown, and kept as records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scalelab.classroom import cards
from scalelab.classroom.ledger import Ledger
from scalelab.classroom.measuring import Measurement
from scalelab.classroom.predictions import Prediction
from scalelab.core.errors import ConfigError
from scalelab.core.records import RecordStore, RunRecord, metric
from scalelab.core.stats import Verdict
from scalelab.core.units import format_money

_TONES = {Verdict.PASS: "good", Verdict.FAIL: "bad", Verdict.INCONCLUSIVE: "warn", None: "info"}


def as_measurement(name: str, value: object, unit: str) -> Measurement:
    """Return what a lab's ``run`` gave as a measurement.

    Raises:
        ConfigError: it is no number.
    """
    if isinstance(value, Measurement):
        return value if value.unit or not unit else replace(value, unit=unit)
    try:
        return Measurement(value, unit)  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(
            f"{name}: {error.message}",
            hint="what is given to lab.measure returns a number or a Measurement",
        ) from None


def keep_record(ledger: Ledger, lab: str, name: str, done: Measurement) -> str | None:
    """Write the measurement as a `RunRecord` beside the ledger; return its id, or None on a full disk."""
    record = RunRecord(
        lab,
        {"measurement": name},
        (metric(name, done.unit or "1", [float(value) for value in done.values] or done.value),),
        {"value": done.value, "verdict": done.verdict.value if done.verdict else "", "detail": done.detail},
    )
    try:
        RecordStore(ledger.path.with_name("records.jsonl")).append(record)
    except OSError:  # the ledger tells the learner about the disk
        return None
    return record.id


def last_measurement(ledger: Ledger, lab: str, name: str) -> Measurement | None:
    """Return the value that was recorded last, without its figure; None if there is none."""
    events = ledger.read(lab=lab, kind="measurement", name=name)
    if not events:
        return None
    facts = events[-1].facts
    return Measurement(
        facts["value"], facts.get("unit", ""), (), facts.get("verdict"), facts.get("detail", "")
    )


def show(done: Measurement, prediction: Prediction | None, place: str) -> Measurement:
    """Show a measurement with its prediction, at its place, and its figure; return it."""
    card = card_of(done, prediction).show(place)
    if done.figure is not None and cards.running_shell() is not None:
        from IPython.display import display

        display(done.figure)
    shown = Shown(**vars(done))
    object.__setattr__(shown, "card", card)
    return shown


class Shown(Measurement):
    """A measurement that was shown already: as the last line of its cell it is not shown twice."""

    card: cards.Card

    def _ipython_display_(self) -> None:
        self.card._ipython_display_()


def card_of(done: Measurement, prediction: Prediction | None) -> cards.Card:
    """Return the card of a measurement."""
    lines = []
    if prediction is not None and prediction.measured is not None:
        lines.append(_beside(done, prediction))
    lines.append(done.detail)
    html = ""
    if done.alt:
        html += f"<div style='{cards.FAINT};margin-top:.35em'>{cards.escape(done.alt)}</div>"
    if done.table:
        html += cards.details("The data", cards.table(list(done.table)))
    badge = done.verdict.value if isinstance(done.verdict, Verdict) else "measured"
    title = f"{prediction.name if prediction else 'value'}: {done!r}"
    return cards.make_card(_TONES[done.verdict], badge, title, lines, html=html)  # type: ignore[index]


def _beside(done: Measurement, prediction: Prediction) -> str:
    is_inside = prediction.low <= done.value <= prediction.high
    told = f"You expected {prediction.guess:g}, between {prediction.low:g} and {prediction.high:g}"
    if is_inside:
        return f"{told}: inside your interval."
    if prediction.guess > 0 and done.value > 0:
        factor = done.value / prediction.guess
        far = f"{factor:.3g} times your guess" if factor >= 1 else f"1/{1 / factor:.3g} of your guess"
        return f"{told}: outside your interval, {far}."
    return f"{told}: outside your interval."


def cost_line(amounts: Sequence[Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return amounts of money in one line, rupees first, and as plain facts.

    Raises:
        ConfigError: there is none, or one is no amount of money.
    """
    if not amounts:
        raise ConfigError("a cost of nothing", hint='lab.cost(cost_per_million(rate, currency="INR"))')
    sums: dict[str, float] = {}
    about = ""
    for cost in amounts:
        amount, currency = getattr(cost, "amount", None), getattr(cost, "currency", None)
        if not isinstance(amount, int | float) or not math.isfinite(amount) or currency not in {"USD", "INR"}:
            raise ConfigError(
                f"{cost!r} is no amount of money", hint="lab.cost takes what scalelab.cost's functions return"
            )
        sums[currency] = amount
        in_usd = getattr(cost, "amount_usd", None)
        if isinstance(in_usd, int | float):
            sums["USD"] = in_usd
        about = str(cost)
    money = " = ".join(format_money(sums[name], name) for name in ("INR", "USD") if name in sums)
    rest = about[about.index("(") :] if "(" in about else ""
    return f"{money} {rest}".strip(), [{"currency": name, "amount": value} for name, value in sums.items()]
