from __future__ import annotations

import pytest

from scalelab.core import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 µs"),
        (0.0000123, "12.3 µs"),
        (0.00123, "1.23 ms"),
        (0.5, "500 ms"),
        (4.56, "4.56 s"),
        (119.4, "119 s"),
        (125.0, "2 min 05 s"),
        (3600.0, "60 min 00 s"),
        (-0.002, "-2.00 ms"),
    ],
)
def test_seconds_are_shown_in_a_fitting_unit(seconds, text):
    assert units.format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (100, "100 B"),
        (1536, "1.50 KiB"),
        (53.2 * units.MIB, "53.2 MiB"),
        (units.GIB, "1.00 GiB"),
    ],
)
def test_bytes_are_shown_in_binary_units(count, text):
    assert units.format_bytes(count) == text


@pytest.mark.parametrize(("rate", "text"), [(1250, "1,250/s"), (12.34, "12.3/s"), (0, "0.00/s")])
def test_rates_are_per_second(rate, text):
    assert units.format_rate(rate) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1.2, "USD", "$1.20"),
        (99.5, "INR", "₹99.50"),
        (1234567, "INR", "₹1,234,567.00"),
        (0, "USD", "$0.00"),
        (0.00123, "USD", "$0.00123"),
    ],
)
def test_money_shows_its_currency_and_small_sums_keep_their_digits(amount, currency, text):
    assert units.format_money(amount, currency) == text


def test_a_share_is_shown_as_per_cent():
    assert units.format_percent(0.97531) == "97.53 %"
    assert units.format_percent(0.5, digits=0) == "50 %"
