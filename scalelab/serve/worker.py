"""A worker: takes tasks in batches, runs the model once on each batch, stores the answers.

``python -m scalelab.serve.worker SETTINGS NAME`` is what the stack starts. SIGTERM lets it finish its batch.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from scalelab.serve.batching import BatchPolicy, fixed_cost_s, predict_apart, wait_more_s
from scalelab.serve.broker import Answer, BrokerAway, BrokerLimits, Delivery, WorkerSide, open_worker_side
from scalelab.serve.child import run_child
from scalelab.serve.ends import STUCK
from scalelab.serve.loading import LoadedModel, load_model
from scalelab.serve.metrics import METRICS_FOLDER, WorkerMetrics, open_worker_metrics
from scalelab.serve.protocol import DONE, EXPIRED, FAILED, answer
from scalelab.serve.pulse import Pulse
from scalelab.serve.retries import backoff_s, may_pass
from scalelab.serve.service import predict_bytes
from scalelab.serve.settings import StackSettings, broker_url

log = logging.getLogger("scalelab.worker")
_IDLE_S = 0.25
"""how often an idle worker looks for what a dead one held"""
_RETRY_S = 0.2
_PULSE_S = 0.25
_DRAIN_S = 2.0
_OPEN_S = 60.0
"""how long a broker may take to come up beside us"""


class Worker:
    """The loop between a broker and a model."""

    def __init__(
        self,
        broker: WorkerSide,
        model: LoadedModel,
        *,
        policy: BatchPolicy,
        limits: BrokerLimits,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        metrics: WorkerMetrics | None = None,
    ):
        self._broker, self._model, self._policy, self._limits = broker, model, policy, limits
        self._clock, self._chance = clock, chance
        self.metrics = metrics or WorkerMetrics()
        self._runs: deque[tuple[int, float]] = deque(maxlen=64)  # (tasks, seconds)
        self._run_began_s: float | None = None
        self._last_batch, self._last_run_s = 0, 0.0
        self._last_take_over_s = float("-inf")
        self._is_draining = False  # no Event: its lock may be held when the signal handler asks for it

    def drain(self) -> None:
        """Let `run` return after the batch in hand; may be called by a signal handler."""
        self._is_draining = True

    def running_s(self) -> float:
        """Return for how long the model has been running on the batch in hand; 0 if it is not."""
        began_s = self._run_began_s
        return 0.0 if began_s is None else self._clock() - began_s

    def run(self) -> None:
        """Serve until `drain` is called; a broker that is away is waited for."""
        while not self._is_draining:
            try:
                self.step(_IDLE_S)
            except BrokerAway as error:
                log.warning("the broker is away: %s", error)
                time.sleep(_RETRY_S)
        self._until_back(self._broker.settle)

    def step(self, wait_s: float) -> int:
        """Take one batch and answer it; return how many tasks it had."""
        self.metrics.looked()
        if self._clock() - self._last_take_over_s >= _IDLE_S:
            while not self._is_draining and (orphan := self._broker.take_over()):
                self._answer(orphan)  # alone: it may be what killed the worker before us
            self._last_take_over_s = self._clock()
        deliveries = self._collect(wait_s)
        self._answer(deliveries)
        return len(deliveries)

    def _collect(self, wait_s: float) -> list[Delivery]:
        taken = self._broker.take(self._policy.max_batch, wait_s)
        first_s = self._clock()
        fixed_s = fixed_cost_s(self._runs) if self._policy.window_s else 0.0
        while more_s := wait_more_s(
            self._policy,
            taken=len(taken),
            last_batch=self._last_batch,
            first_taken_s=first_s,
            now_s=self._clock(),
            fixed_s=fixed_s,
        ):
            try:
                taken += self._broker.take(self._policy.max_batch - len(taken), more_s)
            except BrokerAway:  # what is in hand must not be forgotten: it counts as ours
                break
        self._last_batch = len(taken)
        return taken

    def _answer(self, deliveries: Sequence[Delivery]) -> None:
        self.metrics.took(deliveries)
        live = [delivery for delivery in deliveries if not delivery.is_expired]
        answers = [
            Answer(late, answer(late.task.task_id, EXPIRED, error=f"waited over {late.task.deadline_s:g} s"))
            for late in deliveries
            if late.is_expired
        ]
        again: list[Delivery] = []
        for delivery, result in zip(live, self._run_on(live), strict=True):
            has_attempts = delivery.attempt < self._limits.max_attempts
            if isinstance(result, Exception) and has_attempts and may_pass(result):
                log.warning("attempt %d of %s: %r", delivery.attempt, delivery.task.task_id, result)
                again.append(delivery)
            else:
                answers.append(self._final(delivery, result, len(live)))
        wanted = 0 if self._is_draining else self._policy.max_batch
        if answers:
            self._until_back(lambda: self._broker.post(answers, wanted, self._last_run_s, _IDLE_S))
            self.metrics.stored(answers)
        for delivery in again:
            after_s = backoff_s(delivery.attempt, self._chance())
            self._until_back(lambda one=delivery, s=after_s: self._broker.give_back([one], after_s=s))

    def _run_on(self, live: Sequence[Delivery]) -> list[Any | Exception]:
        if not live:
            return []
        self._run_began_s = began_s = self._clock()
        try:
            results = predict_apart(self._predict, [delivery.task.payload for delivery in live])
        finally:
            self._last_run_s, self._run_began_s = self._clock() - began_s, None
        if not any(isinstance(result, Exception) for result in results):  # else it was several runs
            self._runs.append((len(live), self._last_run_s))
        return results

    def _predict(self, payloads: Sequence[bytes]) -> Sequence[Any]:
        started_s = self._clock()
        try:
            return predict_bytes(self._model.service, self._model.contract, payloads)
        finally:
            self.metrics.ran(len(payloads), self._clock() - started_s)

    def _final(self, delivery: Delivery, result: Any, batch: int) -> Answer:
        task_id, attempts = delivery.task.task_id, delivery.attempt
        by = {"batch": batch, "attempts": attempts, "model": self._model.version}
        try:
            if not isinstance(result, Exception):
                return Answer(delivery, answer(task_id, DONE, result=result, **by))
        except (TypeError, ValueError) as error:  # no JSON: it fails alone, like an input that is bad
            result = error
        times = f" {attempts} times" if attempts > 1 else ""
        item = self._model.contract.item
        reason = f"the model failed on this {item}{times}: {type(result).__name__}: {str(result)[:200]}"
        return Answer(delivery, answer(task_id, FAILED, error=reason, **by), dead_letter=reason)

    def _until_back(self, step: Callable[[], Any]) -> None:
        """Repeat a step however long the broker is away: it stands at most once, the work need not be.

        Raises:
            BrokerAway: this worker is to end, and the broker did not come back; others will run the tasks.
        """
        began_s = self._clock()
        while True:
            try:
                step()
                return
            except BrokerAway as error:
                if self._is_draining and self._clock() - began_s > _DRAIN_S:
                    raise
                log.warning("answers cannot be stored yet: %s", error)
                time.sleep(_RETRY_S)


def _open_broker(settings: StackSettings, name: str) -> WorkerSide:
    """Open our side of the broker; one that comes up beside us, or comes back, is waited for."""
    until_s = time.monotonic() + _OPEN_S
    while True:
        try:
            return open_worker_side(broker_url(), queue=settings.queue, name=name, limits=settings.limits)
        except BrokerAway:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.02)


def _beat_for_ever(broker: WorkerSide, every_s: float) -> None:
    while True:
        try:
            broker.beat()
        except Exception as error:  # a heart goes on; the main loop meets the same error and says so
            log.debug("no heartbeat: %s", error)
        time.sleep(every_s)


def _watch_for_ever(worker: Worker, pulse: Pulse, *, run_limit_s: float) -> None:
    """Show that this process lives, and end it if its model hangs; a broker that hangs is no reason."""
    while True:
        if worker.running_s() > run_limit_s:
            log.error("the model has been running for over %g s: this worker ends", run_limit_s)
            os._exit(STUCK)  # its tasks are taken over one by one; the one that hangs becomes a dead letter
        pulse.beat()
        time.sleep(_PULSE_S)


def _let_gateway_first() -> None:
    """Where a CPU is shared, do not cut in on a gateway that runs; the share of time stays (Linux).

    SCHED_BATCH is made for what only computes: see sched(7).
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main() -> None:
    """Run one worker until SIGTERM."""
    _let_gateway_first()  # threads that are started later do as this one
    file, name = Path(sys.argv[1]), sys.argv[2]
    settings = StackSettings.read(file)
    model = load_model(settings)
    broker = _open_broker(settings, name)
    metrics = open_worker_metrics(file.parent / METRICS_FOLDER, settings, name=name, version=model.version)
    worker = Worker(broker, model, policy=settings.policy, limits=settings.limits, metrics=metrics)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.drain())
    pulse = Pulse.from_environment()
    pulse.say(model=model.version)
    watch = partial(_watch_for_ever, worker, pulse, run_limit_s=settings.run_limit_s)
    for task in (watch, partial(_beat_for_ever, broker, settings.limits.worker_ttl_s / 4)):
        threading.Thread(target=task, daemon=True).start()
    log.info("%s serves %s, version %s", name, settings.model_path, model.version)
    worker.run()
    with suppress(BrokerAway):  # then it learns from our silence
        broker.leave()


if __name__ == "__main__":
    run_child(main)
