"""When requests are sent: seeded schedules in seconds from the start.

A schedule knows nothing of the server. That is what makes a load test open: the next request leaves on
time, whether or not the last one was answered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scalelab.core.errors import ConfigError, did_you_mean

KINDS = ("constant", "poisson")
MOST_ARRIVALS = 5_000_000


def schedule(kind: str, rate_per_s: float, duration_s: float, *, seed: int = 0) -> np.ndarray:
    """Return the arrival times of `kind` ``(n,) float64`` [s], ascending, all in ``[0, duration_s)``.

    Raises:
        ConfigError: an unknown kind, a rate or duration that is not a positive number, too many arrivals, or
            a negative seed.
    """
    if kind not in KINDS:
        raise ConfigError(f"there is no arrival schedule {kind!r}", hint=did_you_mean(kind, KINDS))
    check_positive("a rate", rate_per_s, "requests per second")
    check_positive("a duration", duration_s, "seconds")
    if rate_per_s * duration_s > MOST_ARRIVALS:
        raise ConfigError(
            f"{rate_per_s:g}/s for {duration_s:g} s are {rate_per_s * duration_s:,.0f} requests",
            hint=f"one generator sends some thousand a second; at most {MOST_ARRIVALS:,} can be planned",
        )
    if kind == "constant":
        return constant(rate_per_s, duration_s)
    return poisson(rate_per_s, duration_s, seed=seed)


def constant(rate_per_s: float, duration_s: float) -> np.ndarray:
    """Return evenly spaced arrivals: the k-th at ``k / rate``."""
    check_positive("a rate", rate_per_s, "requests per second")
    check_positive("a duration", duration_s, "seconds")
    # the tolerance keeps 0.1 s x 30/s at three arrivals although 0.1 * 30 is 3.0000000000000004
    return np.arange(math.ceil(rate_per_s * duration_s - 1e-9)) / rate_per_s


def poisson(rate_per_s: float, duration_s: float, *, seed: int = 0) -> np.ndarray:
    """Return the arrivals of many independent users: gaps are exponential with mean ``1 / rate``.

    Their number is itself random: mean ``rate * duration``, standard deviation its square root.
    """
    check_positive("a rate", rate_per_s, "requests per second")
    check_positive("a duration", duration_s, "seconds")
    if seed < 0:
        raise ConfigError(f"a seed of {seed}", hint="give a number from 0 up")
    random = np.random.default_rng(seed)
    # given their number, the points of a Poisson process are independent and uniform
    return np.sort(random.uniform(0.0, duration_s, random.poisson(rate_per_s * duration_s)))


def steps(rates_per_s: Sequence[float], step_s: float, *, kind: str = "poisson", seed: int = 0) -> np.ndarray:
    """Return one schedule after another, each `step_s` long: a staircase of rates."""
    if not rates_per_s:
        raise ConfigError("a staircase of no rates has no arrivals", hint="give at least one rate")
    return np.concatenate(
        [
            number * step_s + schedule(kind, rate, step_s, seed=seed + number)
            for number, rate in enumerate(rates_per_s)
        ]
    )


def check_positive(what: str, value: float, unit: str) -> None:
    """Make sure that `value` is a positive, finite number.

    Raises:
        ConfigError: it is not; the message names it.
    """
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise ConfigError(f"{what} of {value!r} cannot be run", hint=f"give a number of {unit} above zero")
