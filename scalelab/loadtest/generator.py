"""Start locust in processes of its own, hand them one plan, and put their results together.

`import locust` monkey-patches sockets, threads and time of the process that does it, so it never happens
in ours. Plan and result cross as JSON and raw bytes.

Several processes share one schedule: number k of n sends every n-th arrival from the same zero, and their
histograms add up exactly. locust's own ``--processes`` does not fit that: it forks (not on Windows), its
master deals out users and not a schedule, and it merges response times that are rounded to two digits.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import RunFailed
from scalelab.core.lazy import need_installed
from scalelab.core.processes import run
from scalelab.core.units import GIB
from scalelab.loadtest.target import Target

_STARTUP_S = 60.0
_MEMORY_BYTES = 2 * GIB

Progress = Callable[[float], None]
"""called ten times a second with the share of the run that is done, 0 to 1"""
During = tuple[float, Callable[[], None]]
"""``(at_s, callback)``: what this process does in the middle of the run"""


def generate(
    user_class: str,
    target: Target,
    spec: Mapping[str, Any],
    *,
    arrivals_s: np.ndarray | None = None,
    processes: int = 1,
    during: During | None = None,
    on_progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run one plan to its end in `processes` processes; return what each of them wrote.

    Raises:
        RunFailed: nothing listens at the target, or a generator failed (its last words are in the message).
    """
    need_installed(["locust", "hdrh"], extra="load")
    target.check_listening()
    length_s = spec["edges_s"][-1]
    limit_s = length_s + spec["timeout_s"] + spec.get("collect_timeout_s", 0.0) * 2 + _STARTUP_S
    with tempfile.TemporaryDirectory(prefix="scalelab-load-") as name:
        folder = Path(name)
        write_plan(folder, target, {**spec, "processes": processes}, arrivals_s)
        watch = _Watch(folder / "started.0", length_s, during, on_progress)
        is_over = threading.Event()

        others: list[Future[dict[str, Any]]] = []

        def run_part(part: int) -> dict[str, Any]:
            def poll() -> None:
                if part == 0:
                    for other in others:
                        if other.done():
                            other.result()  # raises, if it failed: no use in going on alone
                    watch.poll()
                elif is_over.is_set():
                    raise RunFailed("another generator failed first")

            done = run(
                locust_command(user_class, part_of(spec, part), "--headless", "--only-summary"),
                timeout_s=limit_s,
                memory_bytes=_MEMORY_BYTES,
                cwd=folder,  # locust reads settings from the folder it runs in: this one has none
                env=locust_environment(folder, part),
                on_poll=poll,
            )
            return read_result(folder, part, done.returncode, done.output)

        # part 0 runs in this thread: callbacks belong to whoever asked for the run
        with ThreadPoolExecutor(max(1, processes - 1)) as pool:
            others.extend(pool.submit(run_part, part) for part in range(1, processes))
            try:
                return [run_part(0), *(other.result() for other in others)]
            finally:
                is_over.set()


def part_of(spec: Mapping[str, Any], part: int) -> int:
    """Return how many locust users process `part` has: one, unless the plan deals them out."""
    users = spec.get("users")
    return users[part] if users else 1


def locust_command(user_class: str, users: int, *options: str) -> list[str]:
    """Return the command that runs locust on our file."""
    file = str(Path(__file__).with_name("locustfile.py"))
    return [sys.executable, "-m", "locust", "-f", file, user_class, *options, "-u", str(users),
            "-r", str(users), "-L", "WARNING", "--stop-timeout", "0"]  # fmt: skip


def locust_environment(folder: Path, part: int = 0) -> dict[str, str]:
    """Return the variables by which locust finds our plan and our package."""
    home = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH")
    return {
        "SCALELAB_LOAD_SPEC": str(folder / "spec.json"),
        "SCALELAB_LOAD_PART": str(part),
        "PYTHONPATH": f"{home}{os.pathsep}{before}" if before else home,
    }


def write_plan(folder: Path, target: Target, spec: Mapping[str, Any], arrivals_s: np.ndarray | None) -> None:
    """Write what the generators read: the spec, the bodies, the schedule."""
    plan = {
        "users": None,
        "connections": 1,
        "web": False,
        "processes": 1,
        **spec,
        "url": target.url,
        "path": target.path,
        "method": target.method,
        "headers": dict(target.headers),
        "verify_tls": target.verify_tls,
        "ok_statuses": list(target.ok_statuses),
        "body_lengths": [len(body) for body in target.bodies],
    }
    (folder / "spec.json").write_text(json.dumps(plan), encoding="utf-8")
    (folder / "bodies.bin").write_bytes(b"".join(target.bodies))
    if arrivals_s is not None:
        (folder / "arrivals.f64").write_bytes(np.asarray(arrivals_s, dtype=np.float64).tobytes())


def read_result(folder: Path, part: int, returncode: int, output: str) -> dict[str, Any]:
    """Return what process `part` wrote.

    Raises:
        RunFailed: it wrote nothing; the message has its last output.
    """
    result = folder / f"result.{part}"
    if not result.exists():
        raise RunFailed(
            f"the load generator ended with {returncode} and no result; its last output:\n{output[-2000:]}",
            hint="a greenlet died if there is a traceback above; else try a lower rate",
        )
    raw: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return raw


def merge(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the reports of several processes together: counts and histograms add up exactly.

    Shares of a core are those of the busiest; the peak in flight is the sum of the peaks (an upper bound).
    """
    first = parts[0]
    return {
        "started_at": first["started_at"],
        "blocks": [
            {
                "outcomes": dict(sum((Counter(block["outcomes"]) for block in same), Counter())),
                "latency_us": add_buckets(block["latency_us"] for block in same),
            }
            for same in zip(*(part["blocks"] for part in parts), strict=True)
        ],
        "lag_us": add_buckets(part["lag_us"] for part in parts),
        **{
            name: sum(part[name] for part in parts)
            for name in ("answered_in_window", "peak_in_flight", "mean_in_flight")
        },
        **{
            name: max(part[name] for part in parts)
            for name in ("generator_cpu_share", "generator_busy_share")
        },
    }


def add_buckets(histograms: Iterable[Iterable[Sequence[int]]]) -> list[tuple[int, int]]:
    """Add histograms whose buckets are cut alike: ``[(highest value, count)]``, ascending."""
    found: Counter[int] = Counter()
    for histogram in histograms:
        for value, count in histogram:
            found[value] += count
    return sorted(found.items())


class _Watch:
    """Looks at the run ten times a second: progress, and the callback in its middle."""

    def __init__(self, started: Path, length_s: float, during: During | None, on_progress: Progress | None):
        self.started, self.length_s, self.during, self.on_progress = started, length_s, during, on_progress
        self.zero_s: float | None = None

    def poll(self) -> None:
        if self.zero_s is None:
            if not self.started.exists():
                return
            self.zero_s = float(self.started.read_text(encoding="utf-8"))
        elapsed_s = time.time() - self.zero_s
        if self.during is not None and elapsed_s >= self.during[0]:
            callback, self.during = self.during[1], None
            callback()
        if self.on_progress is not None:
            self.on_progress(min(1.0, max(0.0, elapsed_s) / self.length_s))
