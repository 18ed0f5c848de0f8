"""MLPerf LoadGen, a load generator that is not ours: it drives a model or a service, and judges its own run.

Three of its scenarios, as its `test_settings.h` describes them: *SingleStream* sends a query when the last
one is answered and reports p90; *Server* sends on a Poisson schedule, counts each latency from the scheduled
time and asks whether p99 keeps a bound; *Offline* gives all samples at once and reports samples a second.
(https://github.com/mlcommons/inference/tree/master/loadgen)

LoadGen runs in a child process: it ends its process when something is wrong, blocks until the last answer,
and writes its logs into a folder. Numbers and verdict are read from the log that submissions are checked by.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import ConfigError, DataError, MissingDependency, RunFailed, did_you_mean
from scalelab.core.lazy import is_installed, need_installed
from scalelab.core.processes import run
from scalelab.core.records import Metric, metric
from scalelab.core.units import GIB
from scalelab.loadtest.arrivals import check_positive
from scalelab.loadtest.generator import write_plan
from scalelab.loadtest.results import SATURATED_SHARE
from scalelab.loadtest.target import Target

SCENARIOS = {"single_stream": "p90", "server": "p99", "offline": "qps"}
"""the scenarios, each with the quantity that is its result"""
MIN_QUERIES = 100
"""LoadGen's own default; its early stopping asks for 64 (p90), and for 459 within the bound (p99)"""
MOST_QUERIES = 2_000_000
"""of one run: LoadGen prepares all of them before it begins, at some 600 bytes each"""
BOUND_S = 0.2
_MEMORY_BYTES = 4 * GIB
_STARTUP_S = 60.0


@dataclass(frozen=True)
class ModelPlan:
    """An ONNX file that the child opens in ONNX Runtime; its inputs are drawn once, from a seed."""

    path: Path
    threads: int = 1
    batch: int = 16
    """samples of one call in the Offline scenario; elsewhere one"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).resolve())
        if not self.path.is_file():
            raise DataError(f"{self.path} is no file", hint="give a model in ONNX format")
        for name in ("threads", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} as {name} of a model", hint="give 1 or more")


@dataclass(frozen=True)
class ServicePlan:
    """A service over HTTP, called by so many senders with a connection each."""

    target: Target
    connections: int = 16
    timeout_s: float = 10.0
    """an answer that takes longer is a failure"""

    def __post_init__(self) -> None:
        check_positive("a timeout", self.timeout_s, "seconds")
        if self.connections < 1:
            raise ConfigError(f"{self.connections} connections carry no request", hint="give 1 or more")


Plan = ModelPlan | ServicePlan


@dataclass(frozen=True)
class LoadgenResult:
    """What LoadGen measured, and what it thinks of the run."""

    scenario: str
    n: int
    """queries; Offline: samples"""
    p50_s: float
    p90_s: float
    p99_s: float
    """Offline: of samples that all count from the start"""
    qps: float
    """samples a second: Offline measured, Server as completed, SingleStream with LoadGen's own time"""
    is_valid: bool
    """LoadGen's verdict, for the duration that was asked; a submission to MLPerf needs 600 s"""
    why_invalid: str
    """its reasons, in its words"""
    failures: Mapping[str, int]
    """requests without a good answer, by kind: LoadGen knows no errors and took them for answers"""
    is_known_schedule: bool
    """its arrivals are those of `schedule`, by its own count and clock (Server only)"""
    log: str
    """its summary"""
    cpu_share: float = 0.0
    """share of one core that LoadGen and our senders used (of a service; a model's time is its own)"""

    @property
    def is_limited(self) -> bool:
        """The senders, which Python runs on one core, had no time to spare: they were the bottleneck."""
        return self.cpu_share > SATURATED_SHARE

    @property
    def value(self) -> float:
        """The scenario's result: p90 or p99 [s], or samples a second."""
        return float(getattr(self, self._name))

    @property
    def _name(self) -> str:
        quantity = SCENARIOS[self.scenario]
        return quantity if quantity == "qps" else f"{quantity}_s"

    def metrics(self) -> tuple[Metric, ...]:
        """Return the numbers as ``loadgen_<scenario>_*``."""
        head = f"loadgen_{self.scenario}"
        times = [] if self.scenario == "offline" else ["p50", "p90", "p99"]
        return (
            metric(f"{head}_n", "1", self.n),
            metric(f"{head}_qps", "1/s", self.qps),
            *(metric(f"{head}_{name}", "s", getattr(self, f"{name}_s")) for name in times),
        )


def run_loadgen(
    scenario: str,
    plan: Plan,
    *,
    rate_per_s: float | None = None,
    bound_p99_s: float | None = None,
    duration_s: float = 10.0,
    seed: int = 0,
    on_poll: Callable[[], None] | None = None,
) -> LoadgenResult:
    """Let LoadGen run one scenario to its end, in a child process.

    Args:
        rate_per_s: Server: mean arrivals a second; Offline: the expected rate, which sizes the one query.
        bound_p99_s: Server: the bound on p99 that makes a run valid; default 0.2 s.
        duration_s: LoadGen's minimum; it also sends at least 100 queries, and waits for the last answer.
        seed: of the arrivals and the order of samples.

    Raises:
        ConfigError: an unknown scenario, or a number that it cannot run with.
        MissingDependency: LoadGen is not installed; there is no wheel for Linux on ARM.
        RunFailed: the child ended without a result.
    """
    if scenario not in SCENARIOS:
        raise ConfigError(
            f"LoadGen has no scenario {scenario!r} here", hint=did_you_mean(scenario, SCENARIOS)
        )
    bound_s = BOUND_S if bound_p99_s is None else bound_p99_s
    check_positive("a bound", bound_s, "seconds")
    check_positive("a duration", duration_s, "seconds")
    if scenario != "single_stream":
        _check_rate(rate_per_s or 0.0, duration_s)
    _check_seed(seed)
    need_loadgen()
    settings = {"rate_per_s": rate_per_s, "bound_s": bound_s, "duration_s": duration_s, "seed": seed}
    with tempfile.TemporaryDirectory(prefix="scalelab-loadgen-") as name:
        folder = Path(name)
        said = run_child(folder, plan, "loadgen", scenario, settings, on_poll=on_poll)
        found = read_logs(folder)
        summary = (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    known = scenario == "server" and _is_known(found, rate_per_s or 0.0, duration_s, seed)
    return _result(scenario, found, said, known, summary)


def need_loadgen() -> None:
    """Make sure that LoadGen is here.

    Raises:
        MissingDependency: it is not; the hint says how to get it, or that this machine cannot.
    """
    is_arm = platform.system() == "Linux" and platform.machine().lower() in ("aarch64", "arm64", "armv7l")
    if is_arm and not is_installed("mlperf_loadgen"):
        raise MissingDependency(
            "the package 'mlcommons-loadgen' has no wheel for Linux on ARM",
            hint="judge on another machine; with a C++ compiler, pip install mlcommons-loadgen builds it",
        )
    need_installed(["mlperf_loadgen"], extra="judge")


def run_child(
    folder: Path,
    plan: Plan,
    instrument: str,
    scenario: str,
    settings: Mapping[str, Any],
    *,
    on_poll: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Run ``loadgen_child`` on a plan in `folder`; return what it wrote.

    Raises:
        RunFailed: it ended without a result; the message has its last words.
    """
    limits = {"min_queries": MIN_QUERIES, "most_queries": MOST_QUERIES}
    spec = {"instrument": instrument, "scenario": scenario, **limits, **settings}
    if isinstance(plan, ServicePlan):
        plan.target.check_listening()
        service = {"connections": plan.connections, "timeout_s": plan.timeout_s}
        write_plan(folder, plan.target, {**spec, **service}, None)
    else:
        model = {"model": str(plan.path), "threads": plan.threads, "batch": plan.batch}
        (folder / "spec.json").write_text(json.dumps({**spec, **model}), encoding="utf-8")
    least_s = MIN_QUERIES / settings["rate_per_s"] if scenario == "server" else 0.0
    done = run(
        [sys.executable, "-m", "scalelab.loadtest.loadgen_child", str(folder)],
        timeout_s=_STARTUP_S + 10 * max(settings["duration_s"], least_s),
        memory_bytes=_MEMORY_BYTES,
        cwd=folder,
        on_poll=on_poll,
    )
    result = folder / "result.json"
    if not result.exists():
        who = "LoadGen" if instrument == "loadgen" else "the measurement"
        raise RunFailed(
            f"{who} ended with {done.returncode} and no result; its last output:\n{done.output[-2000:]}",
            hint="the last line says why; a negative number is the signal that ended it",
        )
    said: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return said


def read_logs(folder: Path) -> dict[str, Any]:
    """Return LoadGen's detailed log as ``{key: last value}``; ``errors`` has what it logged as errors.

    Raises:
        RunFailed: no log, or one without a result: the run broke before its end.
    """
    path = folder / "mlperf_log_detail.txt"
    found: dict[str, Any] = {"errors": []}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        _, mark, text = line.partition(":::MLLOG ")
        try:
            entry = json.loads(text) if mark else {}
        except json.JSONDecodeError:  # cut off in the middle: what it lacks is missed below
            continue
        if "key" in entry:
            found[entry["key"]] = entry["value"]
            if entry.get("metadata", {}).get("is_error"):
                found["errors"].append(str(entry["value"]))
    if "result_validity" not in found:
        raise RunFailed(
            f"LoadGen's log of {len(lines)} lines holds no result",
            hint="it broke before its end: run it again",
        )
    return found


def schedule(rate_per_s: float, duration_s: float, seed: int) -> tuple[np.ndarray, int]:
    """Return the arrivals that LoadGen's Server scenario draws ``(n,) float64`` [s], and what follows [ns].

    A Mersenne twister seeded with `seed`, two words a number, exponential gaps cut to nanoseconds: C++'s
    ``mt19937`` and ``exponential_distribution`` as GCC's library has them. Another library draws otherwise;
    LoadGen logs how many it drew and when the next one would be, so a difference is always seen.
    """
    _check_rate(rate_per_s, duration_s)
    _check_seed(seed)
    words, size = np.random.RandomState(seed), round(1.1 * rate_per_s * duration_s) + 100
    at_ns = np.zeros(1, dtype=np.int64)
    while at_ns[-2:].min() < duration_s * 1e9 or len(at_ns) <= MIN_QUERIES:
        draws = words.randint(0, 2**32, size=(size, 2), dtype=np.uint32).astype(np.float64)
        uniform = (draws[:, 0] + draws[:, 1] * 2.0**32) / 2.0**64
        gaps_ns = (-np.log(1 - uniform) / rate_per_s * 1e9).astype(np.int64)
        at_ns = np.concatenate([at_ns, at_ns[-1] + np.cumsum(gaps_ns)])
    count = max(int(np.searchsorted(at_ns, duration_s * 1e9)) + 1, MIN_QUERIES)
    return at_ns[:count] / 1e9, int(at_ns[count])


def _is_known(found: Mapping[str, Any], rate_per_s: float, duration_s: float, seed: int) -> bool:
    times_s, next_ns = schedule(rate_per_s, duration_s, seed)
    said = (found.get("generated_query_count"), found.get("generated_query_duration"))
    return said == (len(times_s), next_ns)


def _result(
    scenario: str, found: Mapping[str, Any], said: Mapping[str, Any], known: bool, summary: str
) -> LoadgenResult:
    rate = {
        "single_stream": "result_qps_with_loadgen_overhead",
        "server": "result_completed_samples_per_sec",
        "offline": "result_samples_per_second",
    }[scenario]
    n = found["generated_samples_per_query"] if scenario == "offline" else found["result_query_count"]
    times = (found[f"result_{percent}.00_percentile_latency_ns"] / 1e9 for percent in (50, 90, 99))
    return LoadgenResult(
        scenario, int(n), *times, float(found[rate]), found["result_validity"] == "VALID",
        _reasons(found), said["failures"], known, summary, said["cpu_share"],
    )  # fmt: skip


def _reasons(found: Mapping[str, Any]) -> str:
    """Return why LoadGen calls a run invalid, in its words; empty if it does not."""
    if found["result_validity"] == "VALID":
        return ""
    words = [str(found.get("result_invalid_reason", "")), *found["errors"]]
    if not found.get("early_stopping_met", True):
        words.append(f"Early stopping: {found.get('early_stopping_result', '')}")
    lines = (" ".join(text.replace("*", " ").split()) for text in words)
    return "; ".join(filter(None, lines)) or "it gave no reason"


def _check_rate(rate_per_s: float, duration_s: float) -> None:
    check_positive("a rate", rate_per_s, "samples per second")
    if rate_per_s * duration_s > MOST_QUERIES:
        raise ConfigError(
            f"{rate_per_s:g}/s for {duration_s:g} s are {rate_per_s * duration_s:,.0f} queries",
            hint=f"LoadGen holds them all in memory: at most {MOST_QUERIES:,}; take a shorter run",
        )


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ConfigError(f"a seed of {seed}", hint="give a number from 0 up to 4,294,967,295")
