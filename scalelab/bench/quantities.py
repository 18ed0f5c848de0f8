"""What a metric is: which side is better, and what becomes of it on another machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", ""]
Scale = Literal["time", "rate", "none", "machine"]


@dataclass(frozen=True)
class Quantity:
    """A metric's meaning, known from its name and unit."""

    name: str
    unit: str
    better: Better
    """empty: neither side, or nobody has said; it is shown and never judged"""
    scale: Scale
    """on another machine: ``time`` and ``rate`` go with the reference workload, ``none`` stays as it is (an
    accuracy, a count), ``machine`` cannot be carried over"""
    is_headline: bool
    """one of those that a gate judges where none are named"""

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.replace("_", " ")


_BY_NAME: tuple[tuple[str, Better, Scale], ...] = (
    # two instruments' readings of one thing, parts of a curve, and what the harness itself took
    (
        r"(ours|loadgen|ratio|curve|point)_.*|latency_n|knee_interval|calm_rate|ceiling|.*_ratio",
        "",
        "machine",
    ),
    (r".*(accuracy|agreement|cosine).*", "higher", "none"),
    (r".*(digits_lost|abs_error|relative_error).*", "lower", "none"),
    (r"(lost|errors|rejected|unanswered|restarts|twice)(_.*)?", "lower", "none"),
    (r"(model|teacher)_bytes.*", "lower", "none"),
    (r"engines_within_limits", "higher", "none"),
    (r".*speedup.*", "higher", "machine"),
)
"""the first that fits the whole name decides, before the unit"""
_BY_UNIT: dict[str, tuple[Better, Scale]] = {
    "s": ("lower", "time"),
    "1/s": ("higher", "rate"),
    "B": ("lower", "machine"),
    "bytes": ("lower", "machine"),
    "USD": ("lower", "time"),  # of an hour's price: they go with the time that a result takes
    "INR": ("lower", "time"),
}
_HEADLINES = re.compile(
    r"latency(_p50|_p95)?|throughput|knee_rate|goodput|(digit|pin)_accuracy|train_time|step_time|peak_memory"
    r"|query_time_.*"
)


def quantity(name: str, unit: str) -> Quantity:
    """Return what the metric `name` in `unit` means; one that nobody knows has no better side."""
    better, scale = _BY_UNIT.get(unit, ("", "machine"))
    for pattern, by_name, its_scale in _BY_NAME:
        if re.fullmatch(pattern, name):
            better, scale = by_name, its_scale
            break
    return Quantity(name, unit, better, scale, is_headline=_HEADLINES.fullmatch(name) is not None)
