"""The price book: every price has its provenance, and a wrong question gets the next step."""

from datetime import date

import pytest

from scalelab.core.errors import ConfigError, DataError
from scalelab.cost import load_price_book
from scalelab.cost.price_book import DEFAULT_INSTANCE

ENTRY = """
[sources.here]
title = "a test"
url = "https://example.org"
date = 2026-01-02
[currency.INR]
eur_inr = 100.0
eur_usd = 1.25
source = "here"
[tax.GST]
share = 0.18
source = "here"
[[instances]]
name = "one"
provider = "P"
region = "r"
vcpus = 2
memory_gib = 4
currency = "USD"
unit = "hour"
on_demand = 0.36
source = "here"
"""


@pytest.fixture
def book():
    return load_price_book()


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "prices.toml"
        path.write_text(text)
        return path

    return write


def test_every_price_has_source_date_currency_region_and_unit(book):
    prices = [price for i in book.instances.values() for price in (i.on_demand, i.spot) if price is not None]
    prices += [egress.price for egress in book.egress.values()]
    assert len(prices) >= 20
    for price in prices:
        assert price.amount > 0
        assert all((price.source.title, price.source.url, price.currency, price.region, price.unit))
        assert date(2025, 1, 1) < price.source.date <= date.today()


def test_rate_and_tax_have_dated_sources(book):
    for source in (book.inr_source, book.gst_source):
        assert source.title
        assert source.url.startswith("https://")
        assert source.date <= date.today()


def test_four_clouds_offer_two_and_four_vcpus(book):
    offers = {(i.provider, i.vcpus) for i in book.instances.values()}
    assert offers == {(provider, vcpus) for provider in ("AWS", "Azure", "GCP", "OCI") for vcpus in (2, 4)}


def test_spot_is_cheaper_where_it_exists(book):
    with_spot = [i for i in book.instances.values() if i.spot]
    assert with_spot
    assert all(i.spot.amount < i.on_demand.amount for i in with_spot)


def test_the_default_instance_is_in_the_book(book):
    assert book.instance(DEFAULT_INSTANCE).vcpus == 2


def test_rupees_per_dollar_are_the_cross_rate(write):
    assert load_price_book(write(ENTRY)).inr_per_usd == pytest.approx(80.0)


@pytest.mark.parametrize("amount", [0.0001, 1.0, 1234.5])
def test_a_conversion_and_its_return_give_the_amount(book, amount):
    there = book.convert(amount, "USD", "INR")
    assert there == pytest.approx(amount * book.inr_per_usd)
    assert book.convert(there, "INR", "USD") == pytest.approx(amount)


def test_a_rate_of_ones_own_is_dated_and_leaves_the_book_alone(book):
    mine = book.with_rate(90.0, today=date(2026, 11, 1))
    assert mine.convert(1.0, "USD", "INR") == 90.0
    assert (mine.inr_source.title, mine.inr_source.date) == ("given by you", date(2026, 11, 1))
    assert book.inr_per_usd != 90.0


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_none_is_named(book, rate):
    with pytest.raises(ConfigError, match=f"{rate!r} rupees per dollar"):
        book.with_rate(rate, today=date(2026, 11, 1))


def test_an_unknown_currency_is_named(book):
    with pytest.raises(ConfigError, match="no exchange rate for 'EUR'"):
        book.convert(1.0, "USD", "EUR")


def test_a_misspelt_instance_is_corrected(book):
    with pytest.raises(ConfigError, match=r"did you mean 'aws\.c5\.large'"):
        book.instance("aws.c5.larg")


def test_a_missing_spot_price_is_said_not_guessed(book):
    without = next(i for i in book.instances.values() if i.spot is None)
    with pytest.raises(ConfigError, match="no spot price"):
        without.price("spot")


@pytest.mark.parametrize("line", ["source", "region", "currency", "unit", "on_demand", "date", "title"])
def test_an_entry_that_lacks_something_is_refused(write, line):
    text = "\n".join(row for row in ENTRY.splitlines() if not row.startswith(f"{line} ="))
    with pytest.raises(DataError, match=f"lacks '{line}'"):
        load_price_book(write(text))


@pytest.mark.parametrize("wrong", ["0", "-1.0", '"0.36"', "true"])
def test_an_amount_that_is_no_price_is_named(write, wrong):
    with pytest.raises(DataError, match="a price of"):
        load_price_book(write(ENTRY.replace("0.36", wrong)))


def test_a_source_that_is_not_listed_is_named(write):
    with pytest.raises(DataError, match="names the source 'nowhere'"):
        load_price_book(write(ENTRY.removesuffix('"here"\n') + '"nowhere"\n'))


def test_a_date_in_quotes_is_refused(write):
    with pytest.raises(DataError, match="is no date"):
        load_price_book(write(ENTRY.replace("2026-01-02", '"2026-01-02"')))


def test_a_file_that_is_not_toml_is_named(write):
    with pytest.raises(DataError, match="is not TOML"):
        load_price_book(write("prices = ["))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.toml cannot be read"):
        load_price_book(tmp_path / "gone.toml")
