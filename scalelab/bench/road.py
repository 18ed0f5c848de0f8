"""The road as a table: one row a rung, read from records and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import DataError
from scalelab.core.records import RunRecord
from scalelab.core.units import (
    MIB,
    format_bytes,
    format_milliseconds,
    format_money,
    format_percent,
    format_rate,
)

NOT_MEASURED = "–"


@dataclass(frozen=True)
class Rung:
    """What one step of the road bought. ``None`` where the rung measures no such thing."""

    name: str
    title: str
    status: str
    problem: str
    """why it failed or was skipped"""
    digit_accuracy: float | None
    pin_accuracy: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    latency_n: int
    throughput: float | None
    """[1/s], of what `throughput_of` says"""
    throughput_of: str
    memory_bytes: float | None
    model_bytes: float | None
    bought: str
    """one sentence: what this step gained over the one before"""
    usd_per_million: float | None
    inr_per_million: float | None

    @property
    def latency_text(self) -> str:
        """p50 / p95 / p99 for people."""
        if self.p50_s is None:
            return NOT_MEASURED
        values = (self.p50_s, self.p95_s, self.p99_s)
        return " / ".join(NOT_MEASURED if v is None else format_milliseconds(v) for v in values) + " ms"


def read_rungs(records: Iterable[RunRecord]) -> list[Rung]:
    """Return the newest row of each rung, in the order in which the rungs first ran."""
    newest: dict[str, RunRecord] = {}
    for record in records:
        newest[record.subject] = record
    return [_rung(record) for record in newest.values()]


def value(record: RunRecord, name: str) -> float | None:
    """Return the only value of a metric, or None if the record has no such metric."""
    try:
        return record.metric(name).values[0]
    except DataError:
        return None


HEADER = (
    "rung", "digits right", "PINs right", "latency p50 / p95 / p99", "throughput", "of", "memory", "model",
    "₹ / million", "$ / million",
)  # fmt: skip


def road_table(rungs: Sequence[Rung]) -> list[tuple[str, ...]]:
    """Return one row of text a rung, under `HEADER`; a failed rung says why."""
    return [
        (
            rung.title,
            _text(rung.digit_accuracy, format_percent),
            _text(rung.pin_accuracy, format_percent),
            rung.latency_text if rung.status == "done" else f"{rung.status}: {rung.problem.splitlines()[0]}",
            _text(rung.throughput, format_rate),
            rung.throughput_of,
            _text(rung.memory_bytes, format_bytes),
            _text(rung.model_bytes, format_bytes),
            _text(rung.inr_per_million, lambda amount: format_money(amount, "INR")),
            _text(rung.usd_per_million, lambda amount: format_money(amount, "USD")),
        )
        for rung in rungs
    ]


TERMINAL_HEADER = (
    "rung", "digits\n%", "PINs\n%", "p50/p95/p99\nms",
    "per\nsecond", "memory\nMiB", "model\nMiB", "million\n₹",
)  # fmt: skip


def terminal_table(rungs: Sequence[Rung]) -> list[tuple[str, ...]]:
    """Return `road_table` in 79 columns: one row a rung, under `TERMINAL_HEADER`, units in the header."""
    return [
        (
            rung.title,
            _text(rung.digit_accuracy, lambda share: f"{100 * share:.2f}"),
            _text(rung.pin_accuracy, lambda share: f"{100 * share:.1f}"),
            rung.latency_text.removesuffix(" ms").replace(" ", "") if rung.status == "done" else rung.status,
            _text(rung.throughput, lambda rate: f"{rate:,.0f}"),
            _text(rung.memory_bytes, lambda count: f"{count / MIB:,.0f}"),
            _text(rung.model_bytes, lambda count: f"{count / MIB:.1f}"),
            _text(rung.inr_per_million, lambda amount: f"{amount:,.2f}"),
        )
        for rung in rungs
    ]


def bought_table(rungs: Sequence[Rung]) -> list[tuple[str, str]]:
    """Return what each rung that was measured bought, in a sentence."""
    return [(rung.title, rung.bought) for rung in rungs if rung.bought]


def throughput_legend(rungs: Sequence[Rung]) -> list[str]:
    """Return what "per second" counts, a line for each kind: ``training images: 2 accumulation, 3 DDP``."""
    kinds = dict.fromkeys(rung.throughput_of for rung in rungs if rung.throughput is not None)
    return [
        f"{kind}: {', '.join(rung.title for rung in rungs if rung.throughput_of == kind)}" for kind in kinds
    ]


def read_claims(records: Iterable[RunRecord]) -> list[Mapping[str, Any]]:
    """Return the claims that the rungs judged: ``claim``, ``verdict`` and ``detail`` each."""
    newest = {record.subject: record for record in records}
    return [claim for record in newest.values() for claim in record.notes.get("claims", ())]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other beats in both: lower first value, higher second."""
    return [
        index
        for index, (cost, gain) in enumerate(points)
        if not any(
            (other_cost <= cost and other_gain >= gain) and (other_cost, other_gain) != (cost, gain)
            for other_cost, other_gain in points
        )
    ]


def _rung(record: RunRecord) -> Rung:
    notes = record.notes
    return Rung(
        name=record.subject.rsplit("/", 1)[-1],
        title=str(notes.get("title", record.subject)),
        status=record.status,
        problem=str(notes.get("error") or notes.get("reason") or ""),
        digit_accuracy=value(record, "digit_accuracy"),
        pin_accuracy=value(record, "pin_accuracy"),
        p50_s=value(record, "latency_p50"),
        p95_s=value(record, "latency_p95"),
        p99_s=value(record, "latency_p99"),
        latency_n=int(value(record, "latency_n") or 0),
        throughput=value(record, "throughput"),
        throughput_of=str(notes.get("throughput_of", "")),
        memory_bytes=value(record, "peak_memory") or value(record, "point_memory"),
        model_bytes=value(record, "model_bytes"),
        bought=str(notes.get("bought", "")),
        usd_per_million=value(record, "usd_per_million"),
        inr_per_million=value(record, "inr_per_million"),
    )


def _text(amount: float | None, form: Any) -> str:
    return NOT_MEASURED if amount is None else str(form(amount))
