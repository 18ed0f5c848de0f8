"""From a measured rate to money: serving, training, and where two machines cost the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from scalelab.core.errors import ConfigError
from scalelab.core.units import format_money
from scalelab.cost.price_book import DEFAULT_INSTANCE, PriceBook, load_price_book

HOUR_S = 3600.0
MILLION = 1e6


@dataclass(frozen=True)
class Cost:
    """An amount of money, with what it rests on."""

    amount: float
    currency: str
    """``USD`` or ``INR``"""
    instance: str
    kind: str
    """``on-demand`` or ``spot``"""
    region: str
    prices_date: date
    gst_share: float
    """0.18 if GST is in the amount, 0 if not"""
    amount_usd: float
    """the same in dollars, tax as in `amount`"""

    def __str__(self) -> str:
        tax = f" incl. {100 * self.gst_share:g} % GST" if self.gst_share else ""
        money = format_money(self.amount, self.currency)
        return f"{money}{tax} ({self.instance}, {self.kind}, {self.prices_date})"


def cost_per_million(
    rate_per_s: float,
    instance: str = DEFAULT_INSTANCE,
    *,
    kind: str = "on-demand",
    utilisation: float = 1.0,
    currency: str = "USD",
    gst: bool = False,
    book: PriceBook | None = None,
) -> Cost:
    """Return what a million predictions cost on one instance that serves `rate_per_s`.

    ::

        cost = price per hour / 3600 / (rate x utilisation) x 1e6  (x 1.18 with GST)  (x rupees per dollar)

    Twice the rate costs half. The rate is taken as the instance's: it was measured on another machine of as
    many cores, so the amount is an estimate. Egress, storage and a load balancer are not in it.

    Args:
        rate_per_s: predictions per second that the machine sustains within its latency objective.
        utilisation: share of that rate that is really asked for, on average; a machine that idles costs too.

    Raises:
        ConfigError: a rate that is not positive, a utilisation outside (0, 1], an unknown instance, kind or
            currency.
    """
    _check_positive("a rate", rate_per_s, "predictions per second")
    if not 0 < utilisation <= 1:
        raise ConfigError(f"a utilisation of {utilisation!r} cannot be", hint="give a share above 0, up to 1")
    return _cost_of_seconds(MILLION / (rate_per_s * utilisation), instance, kind, currency, gst, book)


def cost_of_training(
    seconds: float,
    instance: str = DEFAULT_INSTANCE,
    *,
    kind: str = "on-demand",
    currency: str = "USD",
    gst: bool = False,
    book: PriceBook | None = None,
) -> Cost:
    """Return what `seconds` of one instance cost: ``price per hour x seconds / 3600``.

    Raises:
        ConfigError: a duration that is not positive, an unknown instance, kind or currency.
    """
    _check_positive("a training time", seconds, "seconds")
    return _cost_of_seconds(seconds, instance, kind, currency, gst, book)


def break_even_rate(cost_per_million_usd: float, instance: str, *, kind: str = "on-demand") -> float:
    """Return the rate [1/s] at which an instance costs as much per million as an offer paid by use.

    Below it the offer by use (a function, an API) is cheaper; above it the rented instance is, if it
    sustains that rate at all.

    Raises:
        ConfigError: a cost that is not positive, an unknown instance or kind.
    """
    _check_positive("a cost per million", cost_per_million_usd, "USD")
    return cost_per_million(1.0, instance, kind=kind).amount_usd / cost_per_million_usd


def _cost_of_seconds(
    seconds: float, instance: str, kind: str, currency: str, gst: bool, book: PriceBook | None
) -> Cost:
    book = book or load_price_book()
    price = book.instance(instance).price(kind)
    tax = book.gst_share if gst else 0.0
    amount = price.amount * seconds / HOUR_S * (1 + tax)
    return Cost(
        amount=book.convert(amount, price.currency, currency),
        currency=currency,
        instance=instance,
        kind=kind,
        region=price.region,
        prices_date=price.source.date,
        gst_share=tax,
        amount_usd=book.convert(amount, price.currency, "USD"),
    )


def _check_positive(what: str, value: float, unit: str) -> None:
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise ConfigError(f"{what} of {value!r} has no cost", hint=f"give a number of {unit} above zero")
