"""The arithmetic of cost: its laws."""

import pytest

from scalelab.core.errors import ConfigError
from scalelab.cost import break_even_rate, cost_of_training, cost_per_million, load_price_book

INSTANCES = sorted(load_price_book().instances)


def test_the_formula_by_hand():
    assert cost_per_million(250, "aws.c5.large").amount == pytest.approx(0.085 / 3600 / 250 * 1e6)


@pytest.mark.parametrize("instance", INSTANCES)
def test_twice_the_rate_costs_half(instance):
    assert cost_per_million(500, instance).amount == pytest.approx(cost_per_million(250, instance).amount / 2)


def test_half_the_utilisation_costs_twice():
    assert cost_per_million(100, utilisation=0.5).amount == pytest.approx(2 * cost_per_million(100).amount)


@pytest.mark.parametrize("currency", ["USD", "INR"])
def test_gst_multiplies_by_1_18(currency):
    plain = cost_per_million(100, currency=currency)
    taxed = cost_per_million(100, currency=currency, gst=True)
    assert taxed.amount == pytest.approx(1.18 * plain.amount)
    assert (plain.gst_share, taxed.gst_share) == (0.0, 0.18)


def test_rupees_are_dollars_times_the_rate():
    book = load_price_book()
    rupees = cost_per_million(100, currency="INR")
    assert rupees.amount == pytest.approx(rupees.amount_usd * book.inr_per_usd)
    assert rupees.amount_usd == pytest.approx(cost_per_million(100).amount)


def test_a_million_predictions_cost_what_their_seconds_cost():
    assert cost_per_million(200).amount == pytest.approx(cost_of_training(1e6 / 200).amount)


def test_an_hour_costs_the_price_of_an_hour():
    assert cost_of_training(3600, "gcp.n2-standard-2").amount == pytest.approx(0.0971)


def test_spot_uses_the_spot_price():
    assert cost_of_training(3600, "aws.c5.large", kind="spot").amount == pytest.approx(0.03404)


def test_at_the_break_even_rate_both_cost_the_same():
    rate = break_even_rate(0.2, "aws.c5.large")
    assert cost_per_million(rate, "aws.c5.large").amount_usd == pytest.approx(0.2)


def test_a_cost_says_what_it_rests_on():
    assert (
        str(cost_per_million(250, gst=True)) == "$0.111 incl. 18 % GST (aws.c5.large, on-demand, 2026-09-06)"
    )


@pytest.mark.parametrize("rate", [0, -250, float("inf"), float("nan"), "250"])
def test_a_rate_without_a_cost_is_named(rate):
    with pytest.raises(ConfigError, match=f"a rate of {rate!r} has no cost"):
        cost_per_million(rate)


@pytest.mark.parametrize("share", [0, -0.1, 1.01])
def test_a_utilisation_that_cannot_be_is_named(share):
    with pytest.raises(ConfigError, match=f"utilisation of {share}"):
        cost_per_million(100, utilisation=share)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"instance": "aws.c5.lrge"}, "did you mean 'aws.c5.large'"),
        ({"currency": "inr"}, "no exchange rate for 'inr'"),
        ({"kind": "reserved"}, "no price of kind 'reserved'"),
    ],
    ids=str,
)
def test_an_unknown_name_is_answered_with_the_known_ones(options, named):
    with pytest.raises(ConfigError, match=named):
        cost_per_million(100, **options)


@pytest.mark.parametrize("seconds", [0, -1])
def test_training_takes_time(seconds):
    with pytest.raises(ConfigError, match="training time"):
        cost_of_training(seconds)
