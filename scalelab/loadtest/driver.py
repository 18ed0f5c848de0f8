"""Three ways to load a service: users who wait, a schedule that does not, a burst that is followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from scalelab.core.errors import ConfigError
from scalelab.core.machine import usable_cores
from scalelab.loadtest.arrivals import check_positive
from scalelab.loadtest.generator import During, Progress, generate, merge
from scalelab.loadtest.latency import LatencyHistogram, add
from scalelab.loadtest.outcomes import OK, REJECTED, is_unanswered
from scalelab.loadtest.profile import Part, Profile, parse_profile
from scalelab.loadtest.results import Block, BurstResult, LoadResult
from scalelab.loadtest.target import Target

CONNECTIONS = 256
"""at most this many requests on the wire at once; the rest waits in the generator, and the wait counts"""
FOLLOWERS = 32
FOLLOW_WAIT_S = 2.0
BLOCKS = 10
"""each part of a window is cut into so many, for intervals; of many parts, into fewer"""
MOST_BLOCKS = 400
MOST_PROCESSES = 64


def run_closed(
    target: Target,
    users: int,
    duration_s: float,
    warmup_s: float = 1.0,
    *,
    timeout_s: float = 10.0,
    processes: int | None = 1,
    on_progress: Progress | None = None,
) -> LoadResult:
    """Let `users` users send one request after another, and measure.

    Each user waits for its answer before it sends again: at most `users` requests are in flight, so the
    load backs off exactly when the service slows down. Good for throughput; its latencies hide stalls.

    Args:
        processes: generators that share the users; None: as many as it takes (see `run_open`).

    Raises:
        ConfigError: a number of users, processes or a duration that is not positive.
        RunFailed: nothing listens at the target, or the generator itself failed.
    """
    check_users(users)
    _check_times(duration_s, warmup_s, timeout_s)
    window = Profile((Part(1.0, duration_s),))
    spec = {"edges_s": _cut(window, warmup_s), "timeout_s": timeout_s}

    def measure(count: int) -> LoadResult:
        if count > users:
            raise ConfigError(f"{count} processes for {users} users", hint="give at most one for each user")
        dealt = [len(range(part, users, count)) for part in range(count)]
        parts = generate(
            "ClosedUser", target, {**spec, "users": dealt}, processes=count, on_progress=on_progress
        )
        return load_result(merge(parts), window, warmup_s, mode="closed", users=users, processes=count)

    return _widen(measure, processes, most=users)


def run_open(
    target: Target,
    rate_per_s: float,
    duration_s: float,
    warmup_s: float = 1.0,
    *,
    arrivals: str = "poisson",
    timeout_s: float = 10.0,
    connections: int = CONNECTIONS,
    processes: int | None = 1,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> LoadResult:
    """Send `rate_per_s` requests a second, on schedule, and measure each from its intended send time.

    A request without an answer `timeout_s` after its intended send counts as infinitely late.

    Args:
        arrivals: ``poisson`` (many independent users) or ``constant``; `run_profile` takes other shapes.
        processes: generators that share the schedule; None: one, and again with twice as many, up to one
            per core, as long as the generator was saturated.

    Raises:
        ConfigError: a rate or duration that is not positive, or an unknown kind of arrivals.
        RunFailed: nothing listens at the target, or the generator itself failed.
    """
    check_positive("a rate", rate_per_s, "requests per second")
    check_positive("a duration", duration_s, "seconds")
    return run_profile(
        target,
        parse_profile(arrivals, rate_per_s=rate_per_s, duration_s=duration_s),
        warmup_s,
        timeout_s=timeout_s,
        connections=connections,
        processes=processes,
        seed=seed,
        on_progress=on_progress,
    )


def run_profile(
    target: Target,
    profile: Profile,
    warmup_s: float = 1.0,
    *,
    timeout_s: float = 10.0,
    connections: int = CONNECTIONS,
    processes: int | None = 1,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> LoadResult:
    """Send a load of any shape, part after part (see `run_open`); the first rate holds in the warm-up too.

    The result has each part on its own beside the sum of them: ``result.parts``.
    """
    spec, times_s = plan_open(profile, warmup_s, timeout_s=timeout_s, connections=connections, seed=seed)

    def measure(count: int) -> LoadResult:
        parts = generate(
            "OpenUser", target, spec, arrivals_s=times_s, processes=count, on_progress=on_progress
        )
        return load_result(merge(parts), profile, warmup_s, mode="open", users=None, processes=count)

    return _widen(measure, processes)


def _widen(
    measure: Callable[[int], LoadResult], processes: int | None, *, most: int = MOST_PROCESSES
) -> LoadResult:
    """Measure with `processes` generators; None: with one, then twice as many while they are too few."""
    count = 1 if processes is None else processes
    if not isinstance(count, int) or not 1 <= count <= MOST_PROCESSES:
        raise ConfigError(
            f"{count!r} generator processes", hint=f"give 1 to {MOST_PROCESSES}: one per core to spare"
        )
    while True:
        result = measure(count)
        enough = min(most, usable_cores())
        if processes is not None or not result.generator_is_saturated or 2 * count > enough:
            return result
        count *= 2


def plan_open(
    profile: Profile, warmup_s: float, *, timeout_s: float, connections: int, seed: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Return what generators of an open loop must know, and the schedule ``(n,) float64`` [s].

    Raises:
        ConfigError: a time that is not positive, or a schedule without one request in the window.
    """
    _check_times(profile.duration_s, warmup_s, timeout_s)
    times_s = profile.times(warmup_s=warmup_s, seed=seed)
    if not (times_s >= warmup_s).any():
        raise ConfigError(
            f"{profile.rate_per_s:g}/s for {profile.duration_s:g} s is no request at all",
            hint=f"run for {10 / profile.rate_per_s:,.0f} s or more, or give a higher rate"
            if profile.rate_per_s
            else "give at least one rate above 0",
        )
    spec = {
        "edges_s": _cut(profile, warmup_s),
        "timeout_s": timeout_s,
        "connections": _check_connections(connections),
    }
    return spec, times_s


def run_burst(
    target: Target,
    rate_per_s: float,
    duration_s: float,
    accept_timeout_s: float = 5.0,
    collect_timeout_s: float = 30.0,
    *,
    arrivals: str = "poisson",
    connections: int = CONNECTIONS,
    during: During | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> BurstResult:
    """Send a burst and follow every accepted request until its answer.

    A 200 is accepted and answered at once. A 202 is followed by GET on its Location (with ``wait_s``)
    until the task is done or `collect_timeout_s` after the end of the burst.

    Args:
        accept_timeout_s: how long a request may wait for its 200 or 202, from its intended send.
        during: ``(at_s, callback)``: called once by this process, `at_s` seconds into the burst (to kill a
            worker, say).

    Raises:
        ConfigError: a rate, duration or timeout that is not positive.
        RunFailed: nothing listens at the target, or the generator itself failed.
    """
    check_positive("a rate", rate_per_s, "requests per second")
    _check_times(duration_s, 0.0, accept_timeout_s)
    check_positive("a collect timeout", collect_timeout_s, "seconds")
    if during is not None and not 0 <= during[0] <= duration_s:
        raise ConfigError(
            f"{during[0]} s is not within the burst of {duration_s} s", hint="call it between 0 and the end"
        )
    profile = parse_profile(arrivals, rate_per_s=rate_per_s, duration_s=duration_s)
    times_s = profile.times(seed=seed)
    spec = {
        "edges_s": profile.edges_s(),
        "timeout_s": accept_timeout_s,
        "connections": _check_connections(connections),
        "collect_timeout_s": collect_timeout_s,
        "followers": FOLLOWERS,
        "follow_wait_s": FOLLOW_WAIT_S,
    }
    (raw,) = generate("BurstUser", target, spec, arrivals_s=times_s, during=during, on_progress=on_progress)
    lost = raw["accepted"] - raw["answered"] - raw["answered_with_error"]
    return BurstResult(
        offered_rate_per_s=rate_per_s,
        duration_s=duration_s,
        started_at_s=raw["started_at"],
        offered=raw["offered"],
        accepted=raw["accepted"],
        refused=raw["refused"],
        failed=sum(raw["failures"].values()),
        failures=raw["failures"],
        answered=raw["answered"],
        answered_with_error=raw["answered_with_error"],
        lost=lost,
        latency=_histogram(raw["answer_us"], unanswered=lost),
        accept_latency=_histogram(raw["accept_us"]),
        generator_cpu_share=raw["generator_cpu_share"],
    )


def _cut(profile: Profile, warmup_s: float) -> list[float]:
    """Return the edges of the blocks: every part of the profile in equal pieces."""
    pieces = _pieces(profile)
    edges = profile.edges_s(warmup_s)
    found = [
        start_s + (end_s - start_s) * piece / pieces
        for start_s, end_s in pairwise(edges)
        for piece in range(pieces)
    ]
    return [*found, edges[-1]]


def _pieces(profile: Profile) -> int:
    return max(1, min(BLOCKS, MOST_BLOCKS // len(profile.parts)))


def load_result(
    raw: dict[str, Any],
    profile: Profile,
    warmup_s: float,
    *,
    mode: str,
    users: int | None,
    processes: int,
) -> LoadResult:
    """Build the result of one window from what the generators counted."""
    pieces = _pieces(profile)
    blocks = tuple(
        _block(block, number // pieces, profile.parts[number // pieces], pieces, is_open=users is None)
        for number, block in enumerate(raw["blocks"])
    )
    outcomes: Counter[str] = Counter()
    for block in raw["blocks"]:
        outcomes.update(block["outcomes"])
    sent = sum(outcomes.values())
    ok, rejected = outcomes.pop(OK, 0), outcomes.pop(REJECTED, 0)
    return LoadResult(
        mode=mode,
        offered_rate_per_s=profile.rate_per_s if users is None else None,
        users=users,
        warmup_s=warmup_s,
        duration_s=profile.duration_s,
        started_at_s=raw["started_at"],
        sent=sent,
        ok=ok,
        rejected=rejected,
        errors=dict(outcomes),
        unanswered=sum(block.latency.unanswered for block in blocks),
        throughput_per_s=raw["answered_in_window"] / profile.duration_s,
        latency=add(block.latency for block in blocks),
        lag=_histogram(raw["lag_us"]),
        generator_cpu_share=raw["generator_cpu_share"],
        peak_in_flight=raw["peak_in_flight"],
        mean_in_flight=raw["mean_in_flight"],
        generator_busy_share=raw["generator_busy_share"],
        processes=processes,
        blocks=blocks,
    )


def _block(raw: dict[str, Any], number: int, part: Part, pieces: int, *, is_open: bool) -> Block:
    outcomes = raw["outcomes"]
    unanswered = sum(count for kind, count in outcomes.items() if is_unanswered(kind))
    sent, ok = sum(outcomes.values()), outcomes.get(OK, 0)
    seconds = part.seconds / pieces
    rate_per_s = part.rate_per_s if is_open else sent / seconds
    return Block(number, rate_per_s, seconds, sent, ok, _histogram(raw["latency_us"], unanswered=unanswered))


def _histogram(buckets_us: list[list[int]], *, unanswered: int = 0) -> LatencyHistogram:
    return LatencyHistogram(tuple((value / 1e6, count) for value, count in buckets_us), unanswered)


def check_users(users: int) -> None:
    """Make sure that a closed loop has somebody in it.

    Raises:
        ConfigError: it has not.
    """
    if not isinstance(users, int) or users < 1:
        raise ConfigError(f"a closed loop of {users!r} users sends nothing", hint="give at least one user")


def _check_times(duration_s: float, warmup_s: float, timeout_s: float) -> None:
    check_positive("a duration", duration_s, "seconds")
    check_positive("a timeout", timeout_s, "seconds")
    if not warmup_s >= 0:
        raise ConfigError(f"a warm-up of {warmup_s!r} s cannot be run", hint="give 0 or more seconds")


def _check_connections(connections: int) -> int:
    if not isinstance(connections, int) or connections < 1:
        raise ConfigError(
            f"{connections!r} connections carry no request", hint=f"give 1 to about {CONNECTIONS}"
        )
    return connections
