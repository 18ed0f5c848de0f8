"""Start locust in a process of its own, hand it a plan, read its result.

`import locust` monkey-patches sockets, threads and time of the process that does it, so it never happens
in ours. Plan and result cross as JSON and raw bytes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.lazy import need_installed
from scalelab.core.processes import run
from scalelab.core.units import GIB
from scalelab.loadtest.arrivals import check_positive, schedule
from scalelab.loadtest.results import BurstResult, LatencyHistogram, LoadResult
from scalelab.loadtest.target import Target

CONNECTIONS = 256
"""at most this many requests on the wire at once; the rest waits in the generator, and the wait counts"""
FOLLOWERS = 32
FOLLOW_WAIT_S = 2.0
_STARTUP_S = 60.0
_MEMORY_BYTES = 2 * GIB

Progress = Callable[[float], None]
"""called ten times a second with the share of the run that is done, 0 to 1"""


def run_closed(
    target: Target,
    users: int,
    duration_s: float,
    warmup_s: float = 1.0,
    *,
    timeout_s: float = 10.0,
    on_progress: Progress | None = None,
) -> LoadResult:
    """Let `users` users send one request after another, and measure.

    Each user waits for its answer before it sends again: at most `users` requests are in flight, so the
    load backs off exactly when the service slows down. Good for throughput; its latencies hide stalls.

    Raises:
        ConfigError: a number of users or duration that is not positive.
        RunFailed: nothing listens at the target, or the generator itself failed.
    """
    if not isinstance(users, int) or users < 1:
        raise ConfigError(f"a closed loop of {users!r} users sends nothing", hint="give at least one user")
    _check_times(duration_s, warmup_s, timeout_s)
    spec = {"warmup_s": warmup_s, "duration_s": duration_s, "timeout_s": timeout_s, "users": users}
    spec["connections"] = users
    raw = _drive("ClosedUser", target, spec, on_progress=on_progress)
    return _load_result(raw, spec, mode="closed", users=users, rate_per_s=None)


def run_open(
    target: Target,
    rate_per_s: float,
    duration_s: float,
    warmup_s: float = 1.0,
    *,
    arrivals: str = "poisson",
    timeout_s: float = 10.0,
    connections: int = CONNECTIONS,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> LoadResult:
    """Send `rate_per_s` requests a second, on schedule, and measure each from its intended send time.

    A request without an answer `timeout_s` after its intended send counts as infinitely late.

    Args:
        arrivals: ``poisson`` (many independent users) or ``constant``.

    Raises:
        ConfigError: a rate or duration that is not positive, or an unknown kind of arrivals.
        RunFailed: nothing listens at the target, or the generator itself failed.
    """
    _check_times(duration_s, warmup_s, timeout_s)
    times_s = schedule(arrivals, rate_per_s, warmup_s + duration_s, seed=seed)
    spec = {"warmup_s": warmup_s, "duration_s": duration_s, "timeout_s": timeout_s}
    spec["connections"] = _check_connections(connections)
    raw = _drive("OpenUser", target, spec, arrivals_s=times_s, on_progress=on_progress)
    return _load_result(raw, spec, mode="open", users=None, rate_per_s=rate_per_s)


def run_burst(
    target: Target,
    rate_per_s: float,
    duration_s: float,
    accept_timeout_s: float = 5.0,
    collect_timeout_s: float = 30.0,
    *,
    arrivals: str = "poisson",
    connections: int = CONNECTIONS,
    during: tuple[float, Callable[[], None]] | None = None,
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
    _check_times(duration_s, 0.0, accept_timeout_s)
    check_positive("a collect timeout", collect_timeout_s, "seconds")
    if during is not None and not 0 <= during[0] <= duration_s:
        raise ConfigError(
            f"{during[0]} s is not within the burst of {duration_s} s", hint="call it between 0 and the end"
        )
    times_s = schedule(arrivals, rate_per_s, duration_s, seed=seed)
    spec = {
        "warmup_s": 0.0,
        "duration_s": duration_s,
        "timeout_s": accept_timeout_s,
        "connections": _check_connections(connections),
        "collect_timeout_s": collect_timeout_s,
        "followers": FOLLOWERS,
        "follow_wait_s": FOLLOW_WAIT_S,
    }
    raw = _drive("BurstUser", target, spec, arrivals_s=times_s, during=during, on_progress=on_progress)
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


def _drive(
    user_class: str,
    target: Target,
    spec: dict[str, Any],
    *,
    arrivals_s: np.ndarray | None = None,
    during: tuple[float, Callable[[], None]] | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Run one plan to its end and return what the generator wrote."""
    need_installed(["locust", "hdrh"], extra="load")
    target.check_listening()
    length_s = spec["warmup_s"] + spec["duration_s"]
    limit_s = length_s + spec["timeout_s"] + spec.get("collect_timeout_s", 0.0) * 2 + _STARTUP_S
    with tempfile.TemporaryDirectory(prefix="scalelab-load-") as name:
        folder = Path(name)
        _write_plan(folder, target, spec, arrivals_s)
        watch = _Watch(folder / "started", length_s, during, on_progress)
        locustfile = Path(__file__).with_name("locustfile.py")
        users = str(spec.get("users", 1))
        command = [sys.executable, "-m", "locust", "-f", str(locustfile), user_class, "--headless"]
        command += ["-u", users, "-r", users, "--only-summary", "-L", "WARNING", "--stop-timeout", "0"]
        done = run(
            command,
            timeout_s=limit_s,
            memory_bytes=_MEMORY_BYTES,
            # locust reads settings from the folder it runs in: an empty one has none
            cwd=folder,
            env={
                "SCALELAB_LOAD_SPEC": str(folder / "spec.json"),
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            },
            on_poll=watch.poll,
        )
        result = folder / "result.json"
        if not result.exists():
            raise RunFailed(
                f"the load generator ended with {done.returncode} and no result; its last output:\n"
                f"{done.output[-2000:]}",
                hint="a greenlet died if there is a traceback above; else try a lower rate",
            )
        raw: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return raw


class _Watch:
    """Looks at the run ten times a second: progress, and the callback in its middle."""

    def __init__(
        self,
        started: Path,
        length_s: float,
        during: tuple[float, Callable[[], None]] | None,
        on_progress: Progress | None,
    ):
        self.started, self.length_s, self.during, self.on_progress = started, length_s, during, on_progress
        self.zero_s: float | None = None

    def poll(self) -> None:
        import time

        if self.zero_s is None:
            if not self.started.exists():
                return
            self.zero_s = float(self.started.read_text(encoding="utf-8"))
        elapsed_s = time.time() - self.zero_s
        if self.during is not None and elapsed_s >= self.during[0]:
            callback, self.during = self.during[1], None
            callback()
        if self.on_progress is not None:
            self.on_progress(min(1.0, elapsed_s / self.length_s))


def _write_plan(folder: Path, target: Target, spec: dict[str, Any], arrivals_s: np.ndarray | None) -> None:
    plan = {
        "users": None,
        **spec,
        "url": target.url,
        "path": target.path,
        "method": target.method,
        "headers": dict(target.headers),
        "ok_statuses": list(target.ok_statuses),
        "body_lengths": [len(body) for body in target.bodies],
    }
    (folder / "spec.json").write_text(json.dumps(plan), encoding="utf-8")
    (folder / "bodies.bin").write_bytes(b"".join(target.bodies))
    if arrivals_s is not None:
        (folder / "arrivals.f64").write_bytes(np.asarray(arrivals_s, dtype=np.float64).tobytes())


def _load_result(
    raw: dict[str, Any], spec: dict[str, Any], *, mode: str, users: int | None, rate_per_s: float | None
) -> LoadResult:
    return LoadResult(
        mode=mode,
        offered_rate_per_s=rate_per_s,
        users=users,
        warmup_s=spec["warmup_s"],
        duration_s=spec["duration_s"],
        started_at_s=raw["started_at"],
        sent=raw["sent"],
        ok=raw["ok"],
        rejected=raw["rejected"],
        errors=raw["errors"],
        unanswered=raw["unanswered"],
        throughput_per_s=raw["answered_in_window"] / spec["duration_s"],
        latency=_histogram(raw["latency_us"], unanswered=raw["unanswered"]),
        lag=_histogram(raw["lag_us"]),
        generator_cpu_share=raw["generator_cpu_share"],
        peak_in_flight=raw["peak_in_flight"],
        mean_in_flight=raw["mean_in_flight"],
    )


def _histogram(buckets_us: list[list[int]], *, unanswered: int = 0) -> LatencyHistogram:
    return LatencyHistogram(tuple((value / 1e6, count) for value, count in buckets_us), unanswered)


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
