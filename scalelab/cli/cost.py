"""``scalelab cost``: prices with their sources, and what a million predictions cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from scalelab.cost import PriceBook


@click.command()
@click.option("--rate", "rate_per_s", type=float, help="Predictions per second of one machine, as measured.")
@click.option("--utilisation", default=1.0, show_default=True, help="Share of that rate really asked for.")
@click.option("--instance", "names", multiple=True, help="Only this instance; may be repeated.")
@click.option("--spot", is_flag=True, help="Spot prices; instances without one are left out.")
@click.option("--inr", is_flag=True, help="In rupees.")
@click.option("--inr-per-usd", type=float, help="Exchange rate of your own.  [default: the book's, dated]")
@click.option("--gst", is_flag=True, help="Add Indian GST.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cost(
    rate_per_s: float | None, utilisation: float, names: tuple[str, ...], spot: bool, inr: bool,
    inr_per_usd: float | None, gst: bool, as_json: bool,
) -> None:  # fmt: skip
    """List prices of machines; with --rate, of a million predictions.

    The rate is the one you measured on your machine, priced on a rented one. That is fair only for an
    instance of as many vCPUs, and even then an estimate: a rented vCPU may be faster or slower than yours.
    """
    from datetime import date

    from scalelab.cost import load_price_book

    book = load_price_book()
    if inr_per_usd is not None:
        if not inr:
            raise ConfigError(f"--inr-per-usd {inr_per_usd:g} changes nothing in dollars", hint="add --inr")
        book = book.with_rate(inr_per_usd, today=date.today())
    if utilisation != 1.0 and rate_per_s is None:
        raise ConfigError(f"--utilisation {utilisation:g} changes nothing without a rate", hint="add --rate")
    kind, currency = ("spot" if spot else "on-demand"), ("INR" if inr else "USD")
    for name in names:
        book.instance(name).price(kind)
    shown = [i for i in book.instances.values() if (i.name in names if names else not spot or i.spot)]
    rows = [_row(book, i.name, kind, currency, gst, rate_per_s, utilisation) for i in shown]
    notes = _notes(book, inr, gst)
    if as_json:
        click.echo(json.dumps({"prices": rows, "notes": notes}, indent=1))
    else:
        _print_table(rows, notes, kind, currency, rate_per_s)


def _row(
    book: PriceBook,
    name: str,
    kind: str,
    currency: str,
    gst: bool,
    rate_per_s: float | None,
    utilisation: float,
) -> dict[str, Any]:
    from scalelab.cost import cost_of_training, cost_per_million

    instance = book.instance(name)
    price = instance.price(kind)
    row: dict[str, Any] = {
        "instance": name,
        "vcpus": instance.vcpus,
        "memory_gib": instance.memory_gib,
        "region": price.region,
        "kind": kind,
        "currency": currency,
        "per_hour": cost_of_training(3600, name, kind=kind, currency=currency, gst=gst, book=book).amount,
        "date": price.source.date.isoformat(),
        "source": price.source.title,
    }
    if rate_per_s is not None:
        per_million = cost_per_million(
            rate_per_s, name, kind=kind, utilisation=utilisation, currency=currency, gst=gst, book=book
        )
        row["per_million"] = per_million.amount
    return row


def _notes(book: PriceBook, inr: bool, gst: bool) -> list[str]:
    notes = []
    if inr:
        source = book.inr_source
        notes.append(f"{book.inr_per_usd:.4f} rupees per dollar, {source.date}: {source.title}")
    if gst:
        tax = book.gst_source
        notes.append(f"with {100 * book.gst_share:g} % GST, since {tax.date}: {tax.title} ({tax.url})")
    return notes


def _print_table(
    rows: list[dict[str, Any]], notes: list[str], kind: str, currency: str, rate_per_s: float | None
) -> None:
    from rich.console import Console
    from rich.table import Table

    from scalelab.core.machine import usable_cores
    from scalelab.core.units import format_money

    title = f"{kind} prices" + (f", at {rate_per_s:g} predictions/s" if rate_per_s else "")
    # narrow enough for 60 columns: names are typed behind --instance, and a cut one cannot be
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("instance", no_wrap=True)
    table.add_column("region", overflow="fold")
    for name in ("vCPUs", "GiB", "per\nhour", *(["per\nmillion"] if rate_per_s is not None else [])):
        table.add_column(name, justify="right", overflow="fold", no_wrap="per" in name)
    for row in rows:
        money = [format_money(row[name], currency) for name in ("per_hour", "per_million") if name in row]
        table.add_row(row["instance"], row["region"], str(row["vcpus"]), f"{row['memory_gib']:g}", *money)
    Console().print(table)
    for date, source in sorted({(row["date"], row["source"]) for row in rows}):
        click.echo(f"prices, {date}: {source}")
    for note in notes:
        click.echo(note)
    if rate_per_s is not None:
        cores = usable_cores()
        click.echo(f"measured on {cores} cores? compare instances of as many vCPUs; it stays an estimate")
