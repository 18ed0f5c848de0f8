"""The price book: read from TOML, where every price has a source, a date, a currency, a region and a unit."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, DataError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_INSTANCE = "aws.c5.large"
KINDS = ("on-demand", "spot")


@dataclass(frozen=True)
class Source:
    """Where a number was read."""

    title: str
    url: str
    date: date


@dataclass(frozen=True)
class Price:
    """An amount of money for one unit of something, with its provenance."""

    amount: float
    currency: str
    unit: str
    """what one pays the amount for: ``hour``, ``GB``"""
    region: str
    source: Source


@dataclass(frozen=True)
class Instance:
    """A machine that can be rented."""

    name: str
    provider: str
    vcpus: int
    memory_gib: float
    on_demand: Price
    spot: Price | None
    """None where the source has none"""

    def price(self, kind: str = "on-demand") -> Price:
        """Return the price of `kind`, ``on-demand`` or ``spot``.

        Raises:
            ConfigError: an unknown kind, or no spot price in the book.
        """
        if kind not in KINDS:
            raise ConfigError(f"there is no price of kind {kind!r}", hint=did_you_mean(kind, KINDS))
        if kind == "on-demand":
            return self.on_demand
        if self.spot is None:
            raise ConfigError(f"the price book has no spot price of {self.name}", hint="use on-demand")
        return self.spot


@dataclass(frozen=True)
class Egress:
    """Data out to the internet: the first paid tier."""

    provider: str
    price: Price
    free_gb_per_month: float


@dataclass(frozen=True)
class PriceBook:
    """All prices, the exchange rate and the tax."""

    instances: Mapping[str, Instance]
    egress: Mapping[str, Egress]
    """by provider"""
    inr_per_usd: float
    inr_source: Source
    gst_share: float
    gst_source: Source

    def instance(self, name: str) -> Instance:
        """Return an instance by name.

        Raises:
            ConfigError: the book has none of that name.
        """
        if name not in self.instances:
            raise ConfigError(
                f"the price book has no instance {name!r}", hint=did_you_mean(name, self.instances)
            )
        return self.instances[name]

    def with_rate(self, inr_per_usd: float, *, today: date) -> PriceBook:
        """Return a copy with another exchange rate, dated today.

        Raises:
            ConfigError: the rate is not a positive number.
        """
        if not (math.isfinite(inr_per_usd) and inr_per_usd > 0):
            raise ConfigError(
                f"{inr_per_usd!r} rupees per dollar is no rate", hint="give a number above zero"
            )
        source = Source("given by you", "", today)
        return PriceBook(self.instances, self.egress, inr_per_usd, source, self.gst_share, self.gst_source)

    def convert(self, amount: float, currency: str, into: str) -> float:
        """Return `amount` of one currency in another, at the book's rate.

        Raises:
            ConfigError: a currency other than USD and INR.
        """
        per_usd = {"USD": 1.0, "INR": self.inr_per_usd}
        for name in (currency, into):
            if name not in per_usd:
                raise ConfigError(
                    f"the price book has no exchange rate for {name!r}", hint=did_you_mean(name, per_usd)
                )
        return amount / per_usd[currency] * per_usd[into]


def load_price_book(path: Path | None = None) -> PriceBook:
    """Read a price book; without `path`, the one that ships with ScaleLab.

    Raises:
        DataError: the file is missing, not TOML, or a price lacks its source, date, currency, region or unit.
    """
    return _shipped() if path is None else _load(Path(path))


@lru_cache(maxsize=1)
def _shipped() -> PriceBook:
    return _load(Path(__file__).with_name("prices.toml"))


def _load(path: Path) -> PriceBook:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="give a price book in TOML"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}", hint="mend that line") from None
    try:
        return _parse(raw)
    except KeyError as error:
        raise DataError(
            f"{path}: an entry lacks {error}", hint="every price has source, date, currency, region and unit"
        ) from None
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: {error}", hint="compare with the price book that ships with ScaleLab"
        ) from None


def _parse(raw: Mapping[str, Any]) -> PriceBook:
    sources = {
        name: Source(entry["title"], entry["url"], _date(entry["date"]))
        for name, entry in raw["sources"].items()
    }

    def price(entry: Mapping[str, Any], amount: Any) -> Price:
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount > 0:
            raise DataError(f"a price of {amount!r} in {dict(entry)}", hint="a price is a number above zero")
        return Price(
            float(amount),
            entry["currency"],
            entry["unit"],
            entry["region"],
            _source(sources, entry["source"]),
        )

    instances = {
        entry["name"]: Instance(
            entry["name"],
            entry["provider"],
            int(entry["vcpus"]),
            float(entry["memory_gib"]),
            price(entry, entry["on_demand"]),
            price(entry, entry["spot"]) if "spot" in entry else None,
        )
        for entry in raw["instances"]
    }
    egress = {
        entry["provider"]: Egress(
            entry["provider"], price(entry, entry["price"]), float(entry["free_gb_per_month"])
        )
        for entry in raw.get("egress", ())
    }
    rupee, gst = raw["currency"]["INR"], raw["tax"]["GST"]
    return PriceBook(
        instances=instances,
        egress=egress,
        inr_per_usd=rupee["eur_inr"] / rupee["eur_usd"],
        inr_source=_source(sources, rupee["source"]),
        gst_share=gst["share"],
        gst_source=_source(sources, gst["source"]),
    )


def _source(sources: Mapping[str, Source], name: str) -> Source:
    if name not in sources:
        raise DataError(
            f"a price names the source {name!r}, which is not listed", hint=did_you_mean(name, sources)
        )
    return sources[name]


def _date(value: Any) -> date:
    if not isinstance(value, date):
        raise DataError(f"{value!r} is no date", hint="write it as 2026-09-06, without quotes")
    return value
