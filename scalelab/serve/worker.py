"""A worker: takes tasks in batches, runs the model once on each batch, stores the answers.

``python -m scalelab.serve.worker SETTINGS NAME`` is what the stack starts. SIGTERM lets it finish its batch.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scalelab.serve.batching import BatchPolicy, predict_apart, wait_more_s
from scalelab.serve.broker import Answer, BrokerAway, Delivery, WorkerSide, open_worker_side
from scalelab.serve.child import run_child
from scalelab.serve.contract import Contract, load_contract
from scalelab.serve.protocol import DONE, EXPIRED, FAILED, answer
from scalelab.serve.service import Service, load_service, predict_bytes, warm_up
from scalelab.serve.settings import StackSettings, broker_url

log = logging.getLogger("scalelab.worker")
_IDLE_S = 0.5
_RETRY_S = 0.2


class Worker:
    """The loop between a broker and a model."""

    def __init__(
        self,
        broker: WorkerSide,
        service: Service,
        contract: Contract,
        *,
        policy: BatchPolicy,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._broker, self._service, self._contract = broker, service, contract
        self._policy, self._clock = policy, clock
        self._last_batch = 0
        self._last_take_over_s = float("-inf")
        self._is_draining = False  # no Event: its lock may be held when the signal handler asks for it

    def drain(self) -> None:
        """Let `run` return after the batch in hand; may be called by a signal handler."""
        self._is_draining = True

    def run(self) -> None:
        """Serve until `drain` is called; a broker that is away is waited for."""
        while not self._is_draining:
            try:
                self.step(_IDLE_S)
            except BrokerAway as error:
                log.warning("the broker is away: %s", error)
                time.sleep(_RETRY_S)

    def step(self, wait_s: float) -> int:
        """Take one batch and answer it; return how many tasks it had."""
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
        while more_s := wait_more_s(
            self._policy,
            taken=len(taken),
            last_batch=self._last_batch,
            first_taken_s=first_s,
            now_s=self._clock(),
        ):
            taken += self._broker.take(self._policy.max_batch - len(taken), more_s)
        self._last_batch = len(taken)
        return taken

    def _answer(self, deliveries: Sequence[Delivery]) -> None:
        live = [delivery for delivery in deliveries if not delivery.is_expired]
        results = predict_apart(
            lambda payloads: predict_bytes(self._service, self._contract, payloads),
            [delivery.task.payload for delivery in live],
        )
        answers = [
            Answer(late, answer(late.task.task_id, EXPIRED, error=f"waited over {late.task.deadline_s:g} s"))
            for late in deliveries
            if late.is_expired
        ]
        answers += [
            _final(delivery, result, len(live)) for delivery, result in zip(live, results, strict=True)
        ]
        self._finish(answers)

    def _finish(self, answers: Sequence[Answer]) -> None:
        """Store answers, however long the broker is away: `finish` may be repeated, the work need not be."""
        while True:
            try:
                self._broker.finish(answers)
                return
            except BrokerAway as error:
                log.warning("answers cannot be stored yet: %s", error)
                time.sleep(_RETRY_S)


def _final(delivery: Delivery, result: Any, batch: int) -> Answer:
    task_id = delivery.task.task_id
    try:
        if not isinstance(result, Exception):
            body = answer(task_id, DONE, result=result, batch=batch, attempts=delivery.attempt)
            return Answer(delivery, body)
    except (
        TypeError,
        ValueError,
    ) as error:  # a result that is no JSON fails alone, like an image that is bad
        result = error
    reason = f"the model failed on this image: {type(result).__name__}: {str(result)[:200]}"
    body = answer(task_id, FAILED, error=reason, attempts=delivery.attempt)
    return Answer(delivery, body, dead_letter=reason)


def _beat_for_ever(broker: WorkerSide, every_s: float) -> None:
    while True:
        try:
            broker.beat()
        except BrokerAway as error:  # the main loop says so too
            log.debug("no heartbeat: %s", error)
        time.sleep(every_s)


def main() -> None:
    """Run one worker until SIGTERM."""
    settings, name = StackSettings.read(Path(sys.argv[1])), sys.argv[2]
    service = load_service(settings.model, settings.model_path, threads=settings.threads)
    contract = load_contract(settings.contract)
    warm_up(service, contract, (1, settings.policy.max_batch))
    broker = open_worker_side(broker_url(), queue=settings.queue, name=name, limits=settings.limits)
    worker = Worker(broker, service, contract, policy=settings.policy)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.drain())
    beats = (broker, settings.limits.worker_ttl_s / 4)
    threading.Thread(target=_beat_for_ever, args=beats, name="heartbeat", daemon=True).start()
    log.info("%s serves %s", name, settings.model_path)
    worker.run()
    broker.leave()


if __name__ == "__main__":
    run_child(main)
