"""Latencies as an HdrHistogram: exact to three digits, added without loss, unanswered requests infinite."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, DataError
from scalelab.core.stats import smallest_n
from scalelab.loadtest.outcomes import LONGEST_US


@dataclass(frozen=True)
class LatencyHistogram:
    """Latencies in buckets exact to three digits; requests that were never answered count as infinite."""

    buckets: tuple[tuple[float, int], ...]
    """``(highest latency of the bucket [s], count)``, ascending"""
    unanswered: int = 0

    @property
    def n(self) -> int:
        """Number of requests, unanswered ones included."""
        return sum(count for _, count in self.buckets) + self.unanswered

    @property
    def mean_s(self) -> float:
        """Mean over the *answered* requests [s]; nan if there are none."""
        answered = self.n - self.unanswered
        return sum(value * count for value, count in self.buckets) / answered if answered else math.nan

    def percentile(self, percent: float) -> float:
        """Return the latency that `percent` per cent of the requests do not exceed [s]; may be ``inf``.

        Raises:
            ConfigError: too few requests (p95 needs 20, p99 needs 100).
        """
        if self.n < smallest_n(percent):
            raise ConfigError(
                f"p{percent:g} of {self.n} requests would be the luck of one of them",
                hint=f"run longer or faster, for at least {smallest_n(percent)} requests",
            )
        rank = math.ceil(percent / 100 * self.n)
        seen = 0
        for value, count in self.buckets:
            seen += count
            if seen >= rank:
                return value
        return math.inf

    def percentile_or_none(self, percent: float) -> float | None:
        """Return the percentile, or None where there are too few requests for it."""
        return self.percentile(percent) if self.n >= smallest_n(percent) else None

    def to_json(self) -> dict[str, Any]:
        """Return n and the percentiles as JSON values: null with a reason where there is no number."""
        return {"n": self.n, **{f"p{p}_s": self._shown(p) for p in (50, 95, 99)}}

    def _shown(self, percent: float) -> float | dict[str, Any]:
        value = self.percentile_or_none(percent)
        if value is None:
            return {"value": None, "why": f"needs {smallest_n(percent)} requests, has {self.n}"}
        if math.isinf(value):
            return {"value": None, "why": f"infinite: {self.unanswered} of {self.n} were never answered"}
        return value

    def count_within(self, limit_s: float) -> int:
        """Return how many were answered within `limit_s`."""
        return sum(count for value, count in self.buckets if value <= limit_s)

    def write_hgrm(self, path: Path) -> None:
        """Write the percentile file that HdrHistogram's plotters read, in milliseconds.

        Requests that were never answered stand in it with one hour, the end of the histogram.

        Raises:
            DataError: nothing to write, or the file cannot be written.
        """
        from scalelab.core.lazy import require

        if not self.n:
            raise DataError("a percentile file of no requests", hint="run longer, or at a higher rate")
        histogram = require("hdrh.histogram", extra="load").HdrHistogram(1, LONGEST_US, 3)
        for value_s, count in self.buckets:
            histogram.record_value(round(value_s * 1e6), count)
        if self.unanswered:
            histogram.record_value(LONGEST_US, self.unanswered)
        try:
            with path.open("wb") as out:
                histogram.output_percentile_distribution(out, 1000.0)
        except OSError as error:
            raise DataError(
                f"{path} cannot be written: {error.strerror}", hint="choose another file"
            ) from None


def add(histograms: Iterable[LatencyHistogram]) -> LatencyHistogram:
    """Return the histogram of all requests of several: the same as if one had recorded them all."""
    found: Counter[float] = Counter()
    unanswered = 0
    for histogram in histograms:
        for value, count in histogram.buckets:
            found[value] += count
        unanswered += histogram.unanswered
    return LatencyHistogram(tuple(sorted(found.items())), unanswered)
