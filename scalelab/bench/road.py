"""The road in the terminal: one row a rung in 79 columns, what each bought, and what was claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.bench.measured import Measured, read_suites
from scalelab.bench.results import newest_of
from scalelab.bench.spread import NOT_MEASURED
from scalelab.core.records import RunRecord
from scalelab.core.units import MIB, format_milliseconds


@dataclass(frozen=True)
class Rung:
    """What one step of the road bought: medians of its rounds, ``None`` where it measures no such thing."""

    title: str
    status: str
    problem: str
    """why it failed or was skipped"""
    digit_accuracy: float | None
    pin_accuracy: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    throughput: float | None
    """[1/s], of what `throughput_of` says"""
    throughput_of: str
    memory_bytes: float | None
    model_bytes: float | None
    bought: str
    """one sentence: what this step gained over the one before"""
    inr_per_million: float | None

    @property
    def latency_text(self) -> str:
        """p50 / p95 / p99 for people [ms]."""
        if self.p50_s is None:
            return NOT_MEASURED
        return "/".join(_text(value, format_milliseconds) for value in (self.p50_s, self.p95_s, self.p99_s))


def read_rungs(records: Iterable[RunRecord]) -> list[Rung]:
    """Return the rungs, in the order in which they first ran."""
    return [_rung(point) for points in read_suites(list(records)).values() for point in points]


TERMINAL_HEADER = (
    "rung", "digits\n%", "PINs\n%", "p50/p95/p99\nms",
    "per\nsecond", "memory\nMiB", "model\nMiB", "million\n₹",
)  # fmt: skip


def terminal_table(rungs: Sequence[Rung]) -> list[tuple[str, ...]]:
    """Return one row a rung in 79 columns, under `TERMINAL_HEADER`, which has the units."""
    return [
        (
            rung.title,
            _text(rung.digit_accuracy, lambda share: f"{100 * share:.2f}"),
            _text(rung.pin_accuracy, lambda share: f"{100 * share:.1f}"),
            rung.latency_text if rung.status == "done" else rung.status,
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
    """Return the claims that the newest records judged: ``claim``, ``verdict`` and ``detail`` each."""
    return [claim for record in newest_of(records).values() for claim in record.notes.get("claims", ())]


def _rung(point: Measured) -> Rung:
    def median(*names: str) -> float | None:
        return next((point.spreads[name].median for name in names if name in point.spreads), None)

    return Rung(
        title=point.title,
        status=point.newest.status,
        problem=point.problem,
        digit_accuracy=median("digit_accuracy"),
        pin_accuracy=median("pin_accuracy"),
        p50_s=median("latency_p50"),
        p95_s=median("latency_p95"),
        p99_s=median("latency_p99"),
        throughput=median("throughput"),
        throughput_of=point.kind,
        memory_bytes=median("peak_memory", "point_memory"),
        model_bytes=median("model_bytes"),
        bought=str(point.newest.notes.get("bought", "")),
        inr_per_million=median("inr_per_million"),
    )


def _text(amount: float | None, form: Callable[[float], str]) -> str:
    return NOT_MEASURED if amount is None else form(amount)
