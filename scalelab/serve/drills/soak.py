"""Load for long: does memory stay flat, is every request answered?

Answers are kept for 30 s here instead of five minutes, so that what is kept on purpose is full soon; the
samples before that are left out of the verdict.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.records import RunRecord, metric
from scalelab.core.stats import percentile
from scalelab.core.units import format_bytes, format_milliseconds, format_percent, format_rate
from scalelab.serve.contract import load_contract
from scalelab.serve.drills.client import Connection, Unreachable
from scalelab.serve.settings import BrokerLimits
from scalelab.serve.stack import Stack, running_stack

MOST_GROWTH = 0.05
"""of the memory, over the judged time"""
_KNEE_SHARE = 0.7
_PROBE_S = 5.0
_CONNECTIONS = 64
_KEPT_S = 30.0
_SAMPLE_S = 1.0
_WAIT_S = 10
_BEGIN = 0.2
"""share of the samples that is left out"""


@dataclass(frozen=True)
class SoakResult:
    """What came of a soak."""

    rate: float
    seconds: float
    sent: int
    errors: Mapping[str, int]
    """status or kind of failure -> requests"""
    latencies_s: Sequence[float]
    """of the requests that were answered, from the time each was to be sent"""
    memory_bytes: Sequence[float]
    """of all processes together, one sample a second, without the begin"""
    growth: Mapping[str, float]
    """of each process and of ``all``: the slope's rise over the judged time, as a share of the mean"""
    restarts: int
    deaths: Sequence[str]
    """how processes ended, in the supervisor's words"""

    @property
    def is_passed(self) -> bool:
        """No error, nobody had to be started again, and memory did not grow by over 5 %."""
        return not self.errors and not self.restarts and self.growth["all"] <= MOST_GROWTH

    def lines(self) -> list[str]:
        """Return what a person wants to know."""
        p50, p99 = (format_milliseconds(percentile(self.latencies_s, p)) for p in (50, 99))
        grown = ", ".join(f"{name} {format_percent(share, 1)}" for name, share in self.growth.items())
        errors = ", ".join(f"{count} x {kind}" for kind, count in self.errors.items())
        low, high = (format_bytes(bound(self.memory_bytes)) for bound in (min, max))
        return [
            f"load      {format_rate(self.rate)} for {self.seconds:g} s: {self.sent:,} requests",
            f"latency   p50 {p50} ms, p99 {p99} ms (n = {len(self.latencies_s):,})",
            f"errors    {errors or 'none'}; processes started again: {self.restarts}",
            *[f"ended     {death}" for death in self.deaths],
            f"memory    {low} to {high} (n = {len(self.memory_bytes)} samples); growth: {grown}",
            f"verdict   {'passed' if self.is_passed else 'FAILED'} (growth <= {MOST_GROWTH:.0%}, no error)",
        ]

    def to_record(self) -> RunRecord:
        """Return the soak as a record."""
        return RunRecord(
            "serve/soak",
            {"rate_per_s": self.rate, "seconds": self.seconds},
            (
                metric("sent", "requests", self.sent),
                metric("errors", "requests", sum(self.errors.values())),
                metric("restarts", "processes", self.restarts),
                metric("memory", "bytes", self.memory_bytes),
                metric("latency_p50", "s", percentile(self.latencies_s, 50)),
                metric("latency_p99", "s", percentile(self.latencies_s, 99)),
                metric("memory_growth", "ratio", self.growth["all"]),
            ),
            notes={
                "growth": dict(self.growth),
                "errors": dict(self.errors),
                "deaths": list(self.deaths),
                "passed": self.is_passed,
            },
            status="done" if self.is_passed else "failed",
        )


def run_soak(
    model_path: Path,
    *,
    seconds: float,
    rate: float | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> SoakResult:
    """Start a stack, load it, and sample its memory.

    Args:
        rate: requests a second, sent on schedule; None takes 70 % of what the stack bears in a closed loop.
        options: as for `running_stack`.

    Raises:
        ConfigError: too short to judge anything.
        RunFailed: nothing was answered.
    """
    if seconds < 2 * _KEPT_S:
        raise ConfigError(f"a soak of {seconds:g} s shows nothing", hint=f"give {2 * _KEPT_S:g} s or more")
    limits = BrokerLimits(result_ttl_s=_KEPT_S)
    with running_stack(model_path, limits=limits, **options) as stack:
        contract = load_contract(options.get("contract", "scalelab.serve.pins:CONTRACT"))
        load = _Load(f"{stack.url}", f"{contract.path}?wait_s={_WAIT_S}", bytes(contract.payload_bytes))
        if rate is None:
            on_progress(f"measuring for {_PROBE_S:g} s what it bears")
            rate = _KNEE_SHARE * asyncio.run(load.closed_loop(_PROBE_S))
            load = _Load(load.url, load.target, load.body)
        return asyncio.run(_soak(stack, load, rate, seconds, on_progress))


async def _soak(
    stack: Stack, load: _Load, rate: float, seconds: float, on_progress: Callable[[str], None]
) -> SoakResult:
    samples: list[dict[str, int]] = []
    began_s = time.monotonic()
    sending = asyncio.create_task(load.open_loop(rate, seconds))
    while not sending.done():
        samples.append(await asyncio.to_thread(stack.memory_bytes))
        used = format_bytes(sum(samples[-1].values()))
        on_progress(f"{time.monotonic() - began_s:.0f} of {seconds:.0f} s at {format_rate(rate)}, {used}")
        await asyncio.wait([sending], timeout=_SAMPLE_S)
    await sending
    if not load.latencies_s:
        raise RunFailed(f"no request was answered: {dict(load.errors)}", hint=f"look at {stack.folder}/*.log")
    skipped = max(round(len(samples) * _BEGIN), round(len(samples) * 1.5 * _KEPT_S / seconds))
    judged = samples[min(skipped, len(samples) - 2) :]
    totals = [float(sum(sample.values())) for sample in judged]
    growth = {"all": growth_of(totals)}
    for name in sorted(judged[-1]):
        growth[name] = growth_of([float(sample.get(name, 0)) for sample in judged])
    state = stack.state()
    return SoakResult(
        rate, seconds, load.sent, load.errors, load.latencies_s, totals, growth, state.restarts, state.deaths
    )


def growth_of(values: Sequence[float]) -> float:
    """Return how much the least-squares line through evenly spaced values rises, as a share of their mean."""
    if len(values) < 2 or not any(values):
        return 0.0
    slope = statistics.linear_regression(range(len(values)), values).slope
    return slope * (len(values) - 1) / statistics.fmean(values)


class _Load:
    """Requests that wait for their answers, over a fixed number of connections."""

    def __init__(self, url: str, target: str, body: bytes):
        self.url, self.target, self.body = url, target, body
        self.latencies_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self.sent = 0

    async def closed_loop(self, seconds: float) -> float:
        """Send the next request when the last was answered; return the answers a second."""
        until_s = time.monotonic() + seconds

        async def user() -> None:
            connection = Connection(self.url)
            while time.monotonic() < until_s:
                await self._request(connection, time.monotonic())
            connection.close()

        await asyncio.gather(*[user() for _ in range(_CONNECTIONS)])
        return len(self.latencies_s) / seconds

    async def open_loop(self, rate: float, seconds: float) -> None:
        """Send on schedule, however long answers take."""
        began_s = time.monotonic()
        numbers = iter(range(round(rate * seconds)))

        async def user() -> None:
            connection = Connection(self.url)
            for number in numbers:
                due_s = began_s + number / rate
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                await self._request(connection, due_s)
            connection.close()

        await asyncio.gather(*[user() for _ in range(_CONNECTIONS)])

    async def _request(self, connection: Connection, due_s: float) -> None:
        self.sent += 1
        try:
            status, _ = await connection.request("POST", self.target, self.body)
        except Unreachable as error:
            self.errors[str(error) or "unreachable"] += 1
            return
        if status == 200:
            self.latencies_s.append(time.monotonic() - due_s)
        else:
            self.errors[f"not answered in {_WAIT_S} s" if status == 202 else str(status)] += 1
