"""Our numbers beside LoadGen's, round by round in turn: do two instruments agree on one thing?

The tail of a queue is the luck of its arrivals. LoadGen's own rule for a p99 known with 99 % confidence is
270,336 queries (Reddi et al. 2020, arXiv:1911.02549); of 6,000 arrivals at half load, two draws still differ
by up to 15 % (`chance`). So both instruments get the *same* arrivals, a new draw each round: what is left
between them is how they send, wait and count.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import ConfigError
from scalelab.core.ratios import estimate_ratio
from scalelab.core.records import Metric, metric
from scalelab.core.stats import Estimate, PairedRatio, Verdict, percentile
from scalelab.loadtest.arrivals import check_positive
from scalelab.loadtest.driver import load_result, plan_open, run_closed
from scalelab.loadtest.generator import generate, merge
from scalelab.loadtest.loadgen import (
    SCENARIOS,
    LoadgenResult,
    ModelPlan,
    Plan,
    ServicePlan,
    run_child,
    run_loadgen,
    schedule,
)
from scalelab.loadtest.profile import Part, Profile
from scalelab.loadtest.results import LoadResult

HEADER = ("scenario", "result", "LoadGen", "ours", "LoadGen / ours", "n", "agree")
ENOUGH_ROUNDS = 6
WITHIN = 0.1
PILOT_S = 2.0
ROOM = 1.25
"""so many times the expected rate is LoadGen told in Offline: too few samples would end before its minimum"""


@dataclass(frozen=True)
class Agreement:
    """One scenario, measured by both in turn."""

    scenario: str
    ratio: PairedRatio
    """LoadGen's result over ours, a value a round: ``a_s`` LoadGen's, ``b_s`` ours; seconds, or samples/s"""
    rounds: tuple[LoadgenResult, ...]
    failures: Mapping[str, int]
    """requests of either side that got no good answer"""
    limited: int = 0
    """runs in which a generator, LoadGen's or ours, was the bottleneck and not the service"""

    @property
    def quantity(self) -> str:
        """What is compared: ``p90``, ``p99`` or ``qps``."""
        return SCENARIOS[self.scenario]

    @property
    def has_same_arrivals(self) -> bool:
        """Both sent the same schedule, as LoadGen's own log proves; other scenarios have none."""
        return self.scenario != "server" or all(one.is_known_schedule for one in self.rounds)

    def verdict(self, within: float = WITHIN) -> Verdict:
        """Judge "the two agree within `within`": PASS or FAIL if the whole interval of the ratio says so."""
        low, high = self.ratio.ratio.low, self.ratio.ratio.high
        if self.doubt:
            return Verdict.INCONCLUSIVE
        if 1 / (1 + within) <= low and high <= 1 + within:
            return Verdict.PASS
        is_apart = high < 1 / (1 + within) or low > 1 + within
        return Verdict.FAIL if is_apart else Verdict.INCONCLUSIVE

    @property
    def doubt(self) -> str:
        """Why these rounds cannot be judged, whatever their ratio; empty if they can."""
        if self.failures:
            kinds = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(self.failures.items()))
            return f"requests failed: {kinds}; a failed request has no latency"
        if self.limited:
            return f"a generator was the bottleneck in {self.limited} of {2 * len(self.rounds)} runs"
        if len(self.rounds) < ENOUGH_ROUNDS:
            return f"needs {ENOUGH_ROUNDS} rounds, has {len(self.rounds)}"
        return ""

    def why(self, within: float = WITHIN) -> str:
        """Return the verdict's grounds in a sentence."""
        ratio = self.ratio.ratio
        found = f"LoadGen / ours, {self.quantity}: {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
        found += f", n = {ratio.n} rounds"
        if self.doubt:
            return f"{found}; {self.doubt}"
        if self.verdict(within) is Verdict.INCONCLUSIVE:
            found += "; the interval holds the limit: take more or longer rounds"
        if not self.has_same_arrivals:
            found += "; LoadGen drew arrivals of its own here, and two draws differ (see `chance`)"
        return found

    def metrics(self) -> tuple[Metric, ...]:
        """Return both sides and their ratio, a value a round: ``loadgen_*``, ``ours_*``, ``ratio_*``."""
        name, unit = f"{self.scenario}_{self.quantity}", "1/s" if self.quantity == "qps" else "s"
        pairs = zip(self.ratio.a_s, self.ratio.b_s, strict=True)
        return (
            metric(f"loadgen_{name}", unit, self.ratio.a_s),
            metric(f"ours_{name}", unit, self.ratio.b_s),
            metric(f"ratio_{name}", "1", [theirs / ours for theirs, ours in pairs]),
            metric(f"loadgen_{self.scenario}_n", "1", [one.n for one in self.rounds]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything but LoadGen's summaries as JSON values."""
        ratio = self.ratio.ratio
        return {
            "scenario": self.scenario,
            "quantity": self.quantity,
            "ratio": {"median": ratio.median, "low": ratio.low, "high": ratio.high, "n": ratio.n},
            "loadgen": list(self.ratio.a_s),
            "ours": list(self.ratio.b_s),
            "queries": [one.n for one in self.rounds],
            "valid": [one.is_valid for one in self.rounds],
            "why_invalid": [one.why_invalid for one in self.rounds],
            "failures": dict(self.failures),
            "has_same_arrivals": self.has_same_arrivals,
        }


def judge(
    scenario: str,
    plan: Plan,
    *,
    rate_per_s: float,
    bound_p99_s: float | None = None,
    duration_s: float = 10.0,
    rounds: int = ENOUGH_ROUNDS,
    seed: int = 0,
    on_round: Callable[[int], None] | None = None,
) -> Agreement:
    """Measure one scenario by LoadGen and by our own means in turn, A B B A ...

    Args:
        rate_per_s: Server: mean arrivals a second; Offline: about what the plan bears; else not used.
        seed: of the first round's arrivals; each round draws anew, the same for both sides.
        on_round: is told how many runs of the ``2 x rounds`` are done.

    Raises:
        ConfigError: no rounds, or what `run_loadgen` refuses.
        RunFailed: an instrument ended without a result, or the service does not answer.
    """
    if rounds < 1:
        raise ConfigError(f"{rounds} rounds measure nothing", hint=f"take {ENOUGH_ROUNDS} or more")
    asked_per_s = ROOM * rate_per_s if scenario == "offline" else rate_per_s
    theirs: list[LoadgenResult] = []
    ours: list[Reading] = []
    for number in range(rounds):
        for is_ours in (False, True) if number % 2 == 0 else (True, False):
            if is_ours:
                ours.append(measure_ours(scenario, plan, rate_per_s, duration_s, seed + number))
            else:
                theirs.append(
                    run_loadgen(
                        scenario, plan, rate_per_s=asked_per_s, bound_p99_s=bound_p99_s,
                        duration_s=duration_s, seed=seed + number,
                    )
                )  # fmt: skip
            if on_round is not None:
                on_round(len(theirs) + len(ours))
    failures = sum((Counter(one.failures) for one in [*theirs, *ours]), Counter[str]())
    ratio = ratio_of([one.value for one in theirs], [one.value for one in ours])
    limited = sum(one.is_limited for one in [*theirs, *ours])
    return Agreement(scenario, ratio, tuple(theirs), dict(failures), limited)


def ratio_of(theirs: Sequence[float], ours: Sequence[float]) -> PairedRatio:
    """Return the paired ratio of both sides' results, with `core.ratios`' interval: rounds are few.

    Where a result is 0 or infinite (a p99 of requests without an answer), the interval holds everything.
    """
    with np.errstate(all="ignore"):
        pairs = np.divide(theirs, ours).tolist()
        minimums = float(np.divide(min(theirs), min(ours)))
    has_all = all(0 < pair < np.inf for pair in pairs)
    ratio = estimate_ratio(pairs) if has_all else Estimate(float(np.median(pairs)), 0.0, np.inf, len(pairs))
    return PairedRatio(ratio, minimums, tuple(theirs), tuple(ours))


@dataclass(frozen=True)
class Reading:
    """What our own instruments say: p90 or p99 [s], or samples a second."""

    value: float
    failures: Mapping[str, int]
    is_limited: bool = False


def measure_ours(scenario: str, plan: Plan, rate_per_s: float, duration_s: float, seed: int = 0) -> Reading:
    """Measure the scenario's quantity without LoadGen.

    A model: `core.stats.measure`, a queue with one server, and batches in a row, each in a fresh process as
    LoadGen is. A service: `run_closed` with one user, an open loop, `run_closed` with a user a connection.
    """
    if isinstance(plan, ModelPlan):
        return _model(scenario, plan, rate_per_s, duration_s, seed)
    if scenario == "server":
        result = _open_loop(plan, rate_per_s, duration_s, seed)
        return Reading(result.latency.percentile(99), _failures(result), result.generator_is_bottleneck)
    users = 1 if scenario == "single_stream" else plan.connections
    result = run_closed(plan.target, users, duration_s, 0.2, timeout_s=plan.timeout_s)
    value = result.latency.percentile(90) if scenario == "single_stream" else result.throughput_per_s
    return Reading(value, _failures(result), users > 1 and result.generator_is_saturated)


def find_rates(plan: Plan, load: float) -> dict[str, float]:
    """Return a rate for `judge` in each scenario [1/s]: a pilot of two seconds says what the plan bears.

    Server gets `load` (a share) of it. A model there runs one sample at a time and gains nothing by batches;
    a service may. SingleStream uses none.

    Raises:
        ConfigError: it answered nothing.
    """
    bears_per_s = measure_ours("offline", plan, 1.0, PILOT_S).value
    if not bears_per_s > 0:
        raise ConfigError(f"no good answer in {PILOT_S:g} s", hint="look at the service first: is it up?")
    singly_per_s = bears_per_s
    if isinstance(plan, ModelPlan):
        singly_per_s = 1 / measure_ours("single_stream", plan, 1.0, PILOT_S).value
    return {"single_stream": 1.0, "server": load * singly_per_s, "offline": bears_per_s}


def chance(
    load: float, queries: int, *, rounds: int = ENOUGH_ROUNDS, trials: int = 200, seed: int = 0
) -> float:
    """Return by how much the median of `rounds` ratios of two p99s differs from 1 by other arrivals alone.

    Simulated: one server, equal work for all, Poisson arrivals at `load` of what it bears (M/D/1; Lindley's
    recursion for the waiting time), `queries` arrivals a side. 95 % of such medians lie within ``1 +- x``;
    unequal work makes x larger. This is why both instruments get the same arrivals.
    """
    if not 0 < load < 1:
        raise ConfigError(f"a load of {load:g}", hint="give a share of what the server bears, such as 0.5")
    random = np.random.default_rng(seed)
    sides = 2 * rounds * trials
    waiting, latencies = np.zeros(sides), np.empty((queries, sides), dtype=np.float32)
    for k in range(queries):
        latencies[k] = waiting + 1
        waiting = np.maximum(0, waiting + 1 - random.exponential(1 / load, sides))
    tails = np.percentile(latencies, 99, axis=0, method="higher").reshape(2, trials, rounds)
    medians = np.median(tails[0] / tails[1], axis=1)
    return float(1.96 * np.log(medians).std())


def markdown(found: Sequence[Agreement], within: float = WITHIN) -> str:
    """Return the agreements as a table in Markdown: medians, the ratio's interval, both verdicts."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(cells(one, within) for one in found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def cells(found: Agreement, within: float = WITHIN) -> tuple[str, ...]:
    """Return one agreement as text under `HEADER`."""
    ratio = found.ratio.ratio
    sides = [_shown(found.quantity, float(np.median(side))) for side in (found.ratio.a_s, found.ratio.b_s)]
    queries = int(np.median([one.n for one in found.rounds]))
    return (
        found.scenario.replace("_", " "), found.quantity, *sides,
        f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]", f"{ratio.n} x {queries:,}",
        found.verdict(within).value,
    )  # fmt: skip


def valid_sentence(found: Agreement) -> str:
    """Return LoadGen's own verdict over the rounds, with the first reason it gave."""
    invalid = [one for one in found.rounds if not one.is_valid]
    if not invalid:
        return f"VALID in {len(found.rounds)} of {len(found.rounds)}"
    return f"INVALID in {len(invalid)} of {len(found.rounds)}: {invalid[0].why_invalid}"


def _model(scenario: str, plan: ModelPlan, rate_per_s: float, duration_s: float, seed: int) -> Reading:
    check_positive("a duration", duration_s, "seconds")
    settings: dict[str, Any] = {"rate_per_s": rate_per_s, "duration_s": duration_s, "seed": seed}
    if scenario == "server":
        settings["arrivals_s"] = schedule(rate_per_s, duration_s, seed)[0].tolist()
    with tempfile.TemporaryDirectory(prefix="scalelab-judge-") as name:
        said = run_child(Path(name), plan, "ours", scenario, settings)
    if scenario == "offline":
        return Reading(said["per_s"], {})
    return Reading(percentile(said["latencies_s"], int(SCENARIOS[scenario][1:])), {})


def _open_loop(plan: ServicePlan, rate_per_s: float, duration_s: float, seed: int) -> LoadResult:
    """Send LoadGen's arrivals by our own generator, without a warm-up: LoadGen has none."""
    times_s, next_ns = schedule(rate_per_s, duration_s, seed)
    length_s = next_ns / 1e9  # the window holds the last arrival too
    profile = Profile((Part(len(times_s) / length_s, length_s),))
    spec, _ = plan_open(profile, 0.0, timeout_s=plan.timeout_s, connections=plan.connections, seed=seed)
    parts = generate("OpenUser", plan.target, spec, arrivals_s=times_s)
    return load_result(merge(parts), profile, 0.0, mode="open", users=None, processes=1)


def _failures(result: LoadResult) -> dict[str, int]:
    refused = {"HTTP 429": result.rejected} if result.rejected else {}
    return {**result.errors, **refused}


def _shown(quantity: str, value: float) -> str:
    return f"{value:,.1f}/s" if quantity == "qps" else f"{1e3 * value:.2f} ms"
