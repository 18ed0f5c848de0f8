"""One drill: a stack, a load of requests with keys, a fault in the middle, an account of every request."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import ConfigError, RunFailed, did_you_mean
from scalelab.core.records import RunRecord, metric
from scalelab.serve.drills.client import Request, send_all
from scalelab.serve.drills.counting import GOOD, SLOW, Runs, make_item, write_model
from scalelab.serve.drills.faults import FAULTS, Fault, Scene
from scalelab.serve.stack import Stack, running_stack
from scalelab.serve.state import READY

_MODEL = "scalelab.serve.drills.counting:make"
_ITEM_S = 0.001
_FAULT_AT = 0.3
"""share of the requests that is sent before the fault"""


@dataclass(frozen=True)
class DrillResult:
    """The account of one drill."""

    fault: str
    sent: int
    accepted: int
    answered: int
    lost: int
    """accepted, and without an answer"""
    wrong: int
    """answered otherwise than it had to be: an innocent failed, or a harmful item did not"""
    answered_twice: int
    """keys that led to a second task or a second answer"""
    run_twice: int
    """items that the model ran to their end more than once: at-least-once allows it, no answer shows it"""
    refusals: int
    """requests that had to be sent again, because they were refused or could not be sent"""
    recovery_s: float
    """from the fault until every process served again, all that was accepted before it was answered, and so
    was a request sent after it; infinite if that did not happen"""
    restarts: int
    deaths: tuple[str, ...]
    """how processes ended, in the supervisor's words"""

    @property
    def is_passed(self) -> bool:
        """Nothing was lost, wrong or answered twice, everything was accepted, and the stack recovered."""
        harmless = not (self.lost or self.wrong or self.answered_twice)
        return harmless and self.accepted == self.sent and self.recovery_s < float("inf")

    def to_record(self, *, rate: float, workers: int, broker: str) -> RunRecord:
        """Return the drill as a record."""
        counts = ("sent", "accepted", "answered", "lost", "wrong", "answered_twice", "run_twice", "refusals")
        metrics = [metric(name, "requests", getattr(self, name)) for name in counts]
        if self.recovery_s < float("inf"):
            metrics.append(metric("recovery", "s", self.recovery_s))
        return RunRecord(
            f"serve/chaos/{self.fault}",
            {"requests": self.sent, "rate_per_s": rate, "workers": workers, "broker": broker or "default"},
            tuple(metrics),
            notes={"deaths": list(self.deaths), "passed": self.is_passed},
            status="done" if self.is_passed else "failed",
        )


def run_drill(
    name: str,
    *,
    requests: int = 2000,
    rate: float = 400.0,
    workers: int = 2,
    broker: str = "",
    limit_s: float = 40.0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> DrillResult:
    """Start a stack, send requests at a rate, harm it, and account for every request.

    Args:
        name: of the fault.
        rate: requests a second.
        limit_s: how long after the last request answers are waited for.

    Raises:
        ConfigError: there is no such fault.
        RunFailed: it cannot be done on this system or with this broker.
    """
    if name not in FAULTS:
        raise ConfigError(f"there is no fault {name!r}", hint=did_you_mean(name, FAULTS))
    fault = FAULTS[name]
    if why := fault.is_possible(broker):
        raise RunFailed(f"the fault {name!r}: {why}", hint="run the others, or use the default broker")
    at = round(requests * _FAULT_AT)
    if requests < 50:
        raise ConfigError(f"{requests} requests are too few for a drill", hint="send 50 or more")
    drill = uuid.uuid4().hex[:8]
    sent = [
        Request(number, make_item(number, fault.kinds.get(number - at, GOOD)), f"{drill}-{number}")
        for number in range(requests)
    ]
    with tempfile.TemporaryDirectory(prefix="scalelab-chaos-") as temporary:
        folder = Path(temporary)
        model, log = folder / "model.json", folder / "runs.log"
        write_model(model, log=log, item_s=_ITEM_S)
        options = {"worker_memory_bytes": fault.worker_memory_bytes, "workers": workers, "queue": drill}
        on_progress("starting a stack")
        with running_stack(model, model=_MODEL, broker=broker, folder=folder / "stack", **options) as stack:
            on_progress(fault.about)
            scene = Scene(stack, log, at)
            fault_s, whole_s = asyncio.run(_harm(fault, scene, sent, rate, limit_s))
            state = stack.state()
            runs = Runs.read(log)
    return _account(name, sent, runs, fault_s, whole_s, state.restarts, tuple(state.deaths), at)


async def _harm(
    fault: Fault, scene: Scene, sent: list[Request], rate: float, limit_s: float
) -> tuple[float, float]:
    """Return when the fault happened and when all processes served again (infinite: never)."""
    path = "/v1/pins"
    load = asyncio.create_task(send_all(scene.stack.url, path, sent, rate=rate, limit_s=limit_s))
    while not load.done() and not sent[scene.at].accepted_s:
        await asyncio.sleep(0.005)
    before = scene.stack.state().restarts
    fault_s = time.monotonic()
    await asyncio.to_thread(fault.inject, scene)
    wanted = before + fault.restarts
    whole = asyncio.create_task(asyncio.to_thread(_until_whole, scene.stack, wanted, limit_s))
    await load
    return fault_s, await whole


def _until_whole(stack: Stack, restarts: int, limit_s: float) -> float:
    """Return when all processes lived and served, after so many restarts; infinite if never."""
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        try:
            state = stack.state()
        except RunFailed:  # being replaced
            continue
        ready = state.phase == READY and set(state.facts) >= set(state.children)
        if state.restarts >= restarts and ready and all(one.is_alive() for one in state.children.values()):
            return time.monotonic()
        time.sleep(0.02)
    return float("inf")


def _account(
    name: str,
    sent: list[Request],
    runs: Runs,
    fault_s: float,
    whole_s: float,
    restarts: int,
    deaths: tuple[str, ...],
    at: int,
) -> DrillResult:
    involved = {at + offset for offset in FAULTS[name].kinds}
    harmful = {at + offset for offset, kind in FAULTS[name].kinds.items() if kind not in (GOOD, SLOW)}
    accepted = [one for one in sent if one.task_id]
    answered = [one for one in accepted if one.status and one.status != "lost"]
    wrong = [one for one in answered if one.status != ("failed" if one.number in harmful else "done")]
    lost = len(accepted) - len(answered)
    before = [one.answered_s for one in answered if one.accepted_s < fault_s or one.number in involved]
    after = [one.answered_s for one in answered if one.accepted_s >= fault_s]
    is_served = bool(after) and not lost
    recovered_s = max(*before, min(after), whole_s, fault_s) if is_served else float("inf")
    return DrillResult(
        fault=name,
        sent=len(sent),
        accepted=len(accepted),
        answered=len(answered),
        lost=lost,
        wrong=len(wrong),
        answered_twice=sum(one.is_answered_twice for one in sent),
        run_twice=sum(count > 1 for count in runs.done.values()),
        refusals=sum(one.refusals for one in sent),
        recovery_s=round(recovered_s - fault_s, 3),
        restarts=restarts,
        deaths=deaths,
    )
