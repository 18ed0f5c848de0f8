"""The shape of a load over time, and its text form on the command line.

    constant:200/30s                    200/s, evenly spaced, for 30 s
    poisson:200/30s                     the same rate from many independent users
    step:100..500/5x10s                 five steps from 100 to 500/s, 10 s each
    spike:100..1000/10s+2s+10s          100/s, then 1,000/s for 2 s, then 100/s again
    diurnal:50..400/60s                 a day in a minute: lowest at both ends, highest in its middle
    trace:100,400,200/10s               these rates, 10 s each
    trace:rates.csv                     columns time_s, rate_per_s: each rate holds until the next time

Arrivals are Poisson within each part; ``/even`` at the end spaces them evenly instead.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.loadtest.arrivals import MOST_ARRIVALS, check_positive, schedule

SHAPES = ("constant", "poisson", "step", "spike", "diurnal", "trace")
HOURS = 24
"""a diurnal day is cut into so many parts of one rate"""
_EXAMPLES = {
    "constant": "constant:200/30s",
    "poisson": "poisson:200/30s",
    "step": "step:100..500/5x10s",
    "spike": "spike:100..1000/10s+2s+10s",
    "diurnal": "diurnal:50..400/60s",
    "trace": "trace:100,400,200/10s or trace:rates.csv",
}


@dataclass(frozen=True)
class Part:
    """A stretch of time with one rate; 0 is a pause."""

    rate_per_s: float
    seconds: float


@dataclass(frozen=True)
class Profile:
    """Parts of a load, one after another. ``Profile((Part(100, 10), Part(500, 2), Part(100, 10)))``."""

    parts: tuple[Part, ...]
    gaps: str = "poisson"
    """``poisson`` or ``constant``: how arrivals lie within a part"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise ConfigError("a load of no parts has no arrivals", hint="give at least one rate")
        for part in self.parts:
            check_positive("a part's duration", part.seconds, "seconds")
            if part.rate_per_s != 0:
                check_positive("a rate", part.rate_per_s, "requests per second")
        if self.requests > MOST_ARRIVALS:
            raise ConfigError(
                f"this load is {self.requests:,.0f} requests in {self.duration_s:g} s",
                hint=f"one generator sends some thousand a second; at most {MOST_ARRIVALS:,} can be planned",
            )

    @property
    def duration_s(self) -> float:
        """Length of all parts."""
        return sum(part.seconds for part in self.parts)

    @property
    def requests(self) -> float:
        """Expected number of arrivals."""
        return sum(part.rate_per_s * part.seconds for part in self.parts)

    @property
    def rate_per_s(self) -> float:
        """Mean rate."""
        return self.requests / self.duration_s

    def edges_s(self, warmup_s: float = 0.0) -> list[float]:
        """Return where the parts begin, and where the last one ends, after the warm-up."""
        return [warmup_s, *(warmup_s + np.cumsum([part.seconds for part in self.parts])).tolist()]

    def times(self, *, warmup_s: float = 0.0, seed: int = 0) -> np.ndarray:
        """Return the arrivals ``(n,) float64`` [s], ascending; the first rate holds for the warm-up too."""
        pieces, start_s = [], 0.0
        for number, part in enumerate(self.parts):
            seconds = part.seconds + (warmup_s if number == 0 else 0.0)
            if part.rate_per_s:
                times_s = schedule(self.gaps, part.rate_per_s, seconds, seed=seed + number)
                pieces.append(start_s + times_s)
            start_s += seconds
        return np.concatenate([np.empty(0), *pieces])


def parse_profile(text: str, *, rate_per_s: float | None = None, duration_s: float | None = None) -> Profile:
    """Read the text form of a load (see the module).

    Args:
        rate_per_s, duration_s: what ``poisson`` and ``constant`` take where the text leaves them out.

    Raises:
        ConfigError: an unknown shape (with the nearest known), or one that is written otherwise.
    """
    shape, colon, rest = text.strip().partition(":")
    if shape not in SHAPES:
        raise ConfigError(
            f"there is no arrival schedule {shape!r}",
            hint=did_you_mean(shape, SHAPES),
        )
    gaps = "constant" if shape == "constant" else "poisson"
    if rest.endswith("/even"):
        rest, gaps = rest.removesuffix("/even"), "constant"
    if shape in ("poisson", "constant"):
        given_rate, _, given_s = rest.partition("/")
        rate = _number(given_rate, text) if given_rate else rate_per_s
        seconds = _seconds(given_s, text) if given_s else duration_s
        if rate is None or seconds is None:
            raise ConfigError(
                f"{text!r} has no {'rate' if rate is None else 'duration'}",
                hint=f"give it in the text, {_EXAMPLES[shape]}, or by --rate and --duration",
            )
        check_positive("a rate", rate, "requests per second")
        return Profile((Part(rate, seconds),), gaps)
    if not colon or not rest:
        raise _unreadable(text)
    return Profile(tuple(_READERS[shape](rest, text)), gaps)


def _step(rest: str, text: str) -> list[Part]:
    low, high, times = _range(rest, text)
    count, cross, seconds = times.partition("x")
    if not (cross and count.isdecimal() and 2 <= int(count) <= 1000):
        raise _unreadable(text)
    length_s = _seconds(seconds, text)
    return [Part(float(rate), length_s) for rate in np.linspace(low, high, int(count))]


def _spike(rest: str, text: str) -> list[Part]:
    low, high, times = _range(rest, text)
    lengths_s = [_seconds(word, text) for word in times.split("+")]
    if len(lengths_s) != 3:
        raise _unreadable(text)
    return [Part(rate, seconds) for rate, seconds in zip((low, high, low), lengths_s, strict=True)]


def _diurnal(rest: str, text: str) -> list[Part]:
    low, high, times = _range(rest, text)
    day_s = _seconds(times, text)
    middles = (np.arange(HOURS) + 0.5) / HOURS
    rates = low + (high - low) * (1 - np.cos(2 * math.pi * middles)) / 2
    return [Part(float(rate), day_s / HOURS) for rate in rates]


def _trace(rest: str, text: str) -> list[Part]:
    rates, slash, seconds = rest.rpartition("/")
    if slash and re.fullmatch(r"[0-9.,eE+ ]+", rates):
        length_s = _seconds(seconds, text)
        return [Part(_number(word, text), length_s) for word in rates.split(",")]
    return read_trace(Path(rest))


_READERS = {"step": _step, "spike": _spike, "diurnal": _diurnal, "trace": _trace}


def read_trace(path: Path) -> list[Part]:
    """Read a CSV file with the columns ``time_s`` and ``rate_per_s``; each rate holds until the next time.

    The last rate holds as long as the one before it.

    Raises:
        ConfigError: no such file, other columns, or a line that is no number or goes back in time.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(
            f"the trace {str(path)!r} cannot be read: {why}",
            hint="name a CSV file, or write rates and a duration: trace:100,400,200/10s",
        ) from None
    if not rows or not {"time_s", "rate_per_s"} <= set(rows[0]):
        found = ", ".join(map(str, rows[0])) if rows else "nothing"
        raise ConfigError(
            f"the trace {str(path)!r} has the columns {found}",
            hint="its first line is time_s,rate_per_s and a second line follows",
        )
    times_s, rates = [], []
    for number, row in enumerate(rows, start=2):
        try:
            times_s.append(float(row["time_s"]))
            rates.append(float(row["rate_per_s"]))
            in_order = len(times_s) < 2 or times_s[-1] > times_s[-2]
        except (TypeError, ValueError):
            in_order = False
        if not in_order:
            raise ConfigError(
                f"{path}, line {number}: {row['time_s']!r}, {row['rate_per_s']!r}",
                hint="two numbers a line, and times that grow",
            )
    if len(rows) < 2:
        raise ConfigError(f"the trace {str(path)!r} has one line", hint="give at least two times")
    lengths_s = np.diff(times_s).tolist()
    return [Part(*pair) for pair in zip(rates, [*lengths_s, lengths_s[-1]], strict=True)]


def _range(rest: str, text: str) -> tuple[float, float, str]:
    rates, slash, times = rest.partition("/")
    low, dots, high = rates.partition("..")
    if not (slash and dots):
        raise _unreadable(text)
    return _number(low, text), _number(high, text), times


def _number(word: str, text: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _unreadable(text)
    return value


def _seconds(word: str, text: str) -> float:
    number, unit = re.fullmatch(r"(.*?)(ms|s|min|)", word.strip()).groups()  # type: ignore[union-attr]
    return _number(number, text) * {"ms": 1e-3, "s": 1.0, "min": 60.0, "": 1.0}[unit]


def _unreadable(text: str) -> ConfigError:
    shape = text.partition(":")[0]
    return ConfigError(f"cannot read the arrivals {text!r}", hint=f"write it as {_EXAMPLES[shape]}")
