"""The measurement: rounds that visit each system in turn, A B C ... C B A, between readings of the ceiling.

A visit starts a system, runs the closed loop, looks for the knee, holds half of mosec's knee rate, and in the
last round kills a worker. What slows the machine for a minute slows a system and the ceilings beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers.bare import Ceiling
from peers.load import Door, closed_loop, open_loop, with_peers
from peers.systems import Running, System, running
from peers.workload import Given, Workload
from scalelab.core.errors import RunFailed

SLO_S = 0.2
STEP = 1.03
MOST_WINDOWS = 8
MOST_BAD = 0.01
CONTENDER = 0.9
"""of the best system's knee in the first round: a peer who holds less is not searched again"""
PACEMAKER = "mosec-raw"
OURS = ("ours", "ours-valkey")
LEAST_BATCH = 4


@dataclass(frozen=True)
class Effort:
    """How much is measured; a length of 0 leaves that part out."""

    rounds: int = 3
    ceiling_s: float = 0.8
    closed_s: float = 3.0
    knee_s: float = 4.0
    """window of each rate that is tried"""
    calm_s: float = 4.0
    """window at half of mosec's knee rate"""
    kill_requests: int = 2000
    kill_rate_per_s: float = 250.0


@dataclass
class Seen:
    """What was seen of one system with one kind of body, a value per round."""

    system: System
    body: str
    closed: list[float] = field(default_factory=list)
    """good answers per second"""
    closed_share: list[float] = field(default_factory=list)
    """of the ceiling around it"""
    ceiling: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    """of all processes, for one request of the closed loop, the model's run included"""
    knee: list[float] = field(default_factory=list)
    knee_share: list[float] = field(default_factory=list)
    calm: list[dict[str, Any]] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    memory_bytes: list[float] = field(default_factory=list)
    bad: int = 0
    """closed loop: answers of another status, broken connections"""
    wrong: int = 0
    """open loops: answers with another label than the model gives alone"""
    checked: int = 0
    killed: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Return the name of the system with its body, as metrics carry it."""
        return f"{self.system.name.removesuffix('-' + self.body)}-{self.body}"


@dataclass
class Findings:
    """All of a run."""

    workload: Workload
    effort: Effort
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    ceilings: list[float] = field(default_factory=list)
    ceiling_cpu_us: list[float] = field(default_factory=list)
    """of one item in the bare runtime"""
    batch: int = 0
    """at which the bare runtime is fastest"""
    max_batch: int = 0
    """of every system: what a request costs besides is shared by more of them, until the model pays for it"""
    calm_rate_per_s: float = 0.0
    absent: dict[str, str] = field(default_factory=dict)
    """system -> why there is no number of it"""
    generator: str = ""

    def of(self, system: str, body: str) -> Seen | None:
        """Return what was seen, or None."""
        return self.seen.get((system, body))


def compare(
    workload: Workload,
    systems: Sequence[System],
    model_path: Path,
    python: Path,
    effort: Effort,
    *,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Findings:
    """Measure all systems; one that fails is reported in `absent`, and left out from then on."""
    findings = Findings(workload, effort)
    given = Given(workload, str(model_path), 0, True)
    with Ceiling(given, {**given.environment(), **with_peers(), "OMP_NUM_THREADS": "1"}) as ceiling:
        findings.ceilings.append(ceiling.find_batch())
        findings.max_batch = max(ceiling.largest, LEAST_BATCH)
        findings.batch, findings.ceiling_cpu_us = ceiling.batch, ceiling.cpu_us
        say(f"{workload.title}: ceiling {findings.ceilings[0]:,.0f}/s at batch {ceiling.batch}")
        for number in range(effort.rounds):
            for system in systems if number % 2 == 0 else tuple(reversed(systems)):
                if system.name in findings.absent:
                    continue
                started_s = time.monotonic()
                try:
                    with running(system, workload, model_path, python, max_batch=findings.max_batch) as run:
                        _visit(run, findings, ceiling, number, seed)
                except Exception as error:  # a failure is a result: the others go on
                    findings.absent[system.name] = f"round {number + 1}: {error}"
                    say(f"round {number + 1}, {system.name}: FAILED, {error}")
                else:
                    told = "; ".join(map(_told, (findings.seen[system.name, body] for body in system.bodies)))
                    say(f"round {number + 1}, {system.name}: {told} ({time.monotonic() - started_s:.0f} s)")
    return findings


def find_knee(
    holds: Callable[[float], bool], start_per_s: float, *, step: float = STEP, most: int = MOST_WINDOWS
) -> float:
    """Return the highest rate that was tried and held: down in growing steps, then up in small ones.

    0.0 if none did within `most` tries.
    """
    rate, tried, leap = start_per_s, 1, step
    lowest_failed = float("inf")
    while not holds(rate):
        if tried == most:
            return 0.0
        lowest_failed = rate
        rate, tried, leap = rate / leap, tried + 1, leap**2
    while tried < most and rate * step < lowest_failed * (1 - 1e-9):
        tried += 1
        if not holds(rate * step):
            break
        rate *= step
    return rate


def _visit(run: Running, findings: Findings, ceiling: Ceiling, number: int, seed: int) -> None:
    effort = findings.effort
    for body, door in run.doors.items():
        seen = findings.seen.setdefault((run.system.name, body), Seen(run.system, body))
        seen.start_s.append(run.start_s)
        before = _read(findings, ceiling)
        cpu_s = run.cpu_s()
        closed = closed_loop(door, effort.closed_s)
        seen.cpu_us.append(1e6 * (run.cpu_s() - cpu_s) / max(1, closed.answered))
        findings.generator = closed.generator
        after = _read(findings, ceiling)
        seen.closed.append(closed.per_second)
        seen.bad += closed.bad
        seen.ceiling.append((before + after) / 2)
        seen.closed_share.append(closed.per_second / seen.ceiling[-1])
        if effort.knee_s and _is_searched(findings, seen, number):
            share = seen.knee_share[-1] if seen.knee_share else min(1.0, seen.closed_share[-1]) * 0.97
            knee = _knee(door, seen, share * after, effort, seed + number)
            around = (after + _read(findings, ceiling)) / 2
            seen.knee.append(knee)
            seen.knee_share.append(knee / around)
            if run.system.name == PACEMAKER and not findings.calm_rate_per_s:
                findings.calm_rate_per_s = knee / 2
        if effort.calm_s and findings.calm_rate_per_s:
            calm = open_loop(door, findings.calm_rate_per_s, effort.calm_s, seed=seed + number)
            seen.calm.append(calm)
            _check(seen, calm)
        seen.memory_bytes.append(run.memory_bytes())
    if effort.kill_requests and number == effort.rounds - 1:
        body, door = next(iter(run.doors.items()))
        seconds = effort.kill_requests / effort.kill_rate_per_s
        findings.seen[run.system.name, body].killed = open_loop(
            door, effort.kill_rate_per_s, seconds, warmup_s=0.0, timeout_s=15.0, seed=seed,
            during=(seconds / 2, run.kill_worker),
        )  # fmt: skip


def _knee(door: Door, seen: Seen, start_per_s: float, effort: Effort, seed: int) -> float:
    def holds(rate: float) -> bool:
        found = open_loop(door, rate, effort.knee_s, seed=seed)
        _check(seen, found)
        p95_s = found["p95_s"]
        is_held = p95_s is not None and p95_s < SLO_S and found["ok"] >= (1 - MOST_BAD) * found["n"]
        if not is_held:
            _settle(door)
        return is_held

    # twice, since what disturbs the machine for a moment would end the search far below the knee
    return find_knee(lambda rate: holds(rate) or holds(rate), start_per_s)


def _settle(door: Door, most_s: float = 15.0) -> None:
    """Let a system work off its queue, or the next rate would pay for this one."""
    until_s = time.monotonic() + most_s
    while time.monotonic() < until_s:
        found = open_loop(door, 20.0, 0.4, warmup_s=0.0)
        if found["p50_s"] is not None and found["p50_s"] < SLO_S / 2:
            return


def _is_searched(findings: Findings, seen: Seen, number: int) -> bool:
    if number == 0 or not seen.knee:
        return number == 0
    if seen.system.name in OURS:  # what is claimed of ours needs an interval
        return True
    best = max((each.knee[0] for each in findings.seen.values() if each.knee), default=0.0)
    return seen.knee[0] >= CONTENDER * best


def _read(findings: Findings, ceiling: Ceiling) -> float:
    rate = ceiling.measure(findings.effort.ceiling_s)
    findings.ceilings.append(rate)
    return rate


def _check(seen: Seen, found: dict[str, Any]) -> None:
    seen.wrong += found["wrong"]
    seen.checked += found["ok"]
    if found["ok"] > 50 and found["wrong"] > 0.2 * found["ok"]:
        raise RunFailed(
            f"{found['wrong']} of {found['ok']} answers have another label than the model gives",
            hint="answers go to the wrong requests",
        )


def _told(seen: Seen) -> str:
    text = f"{seen.body} {seen.closed[-1]:,.0f}/s ({100 * seen.closed_share[-1]:.0f} %)"
    if len(seen.knee) == len(seen.closed):  # searched in this round too
        text += f", knee {seen.knee[-1]:,.0f}/s ({100 * seen.knee_share[-1]:.0f} %)"
    if seen.calm and seen.calm[-1]["p95_s"] is not None:
        text += f", p95 {1e3 * seen.calm[-1]['p95_s']:.0f} ms"
    if seen.killed:
        text += f", {seen.killed['n'] - seen.killed['ok']} of {seen.killed['n']} lost"
    return text
