"""What gateway and workers count. Names follow Prometheus' conventions: base units, ``_total`` for counters.

They count in plain cells (`tally`), which costs a request about a microsecond; `scrape` turns cells into text
when somebody asks.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scalelab.serve.broker import Answer, Delivery
from scalelab.serve.protocol import CANCELLED, DONE, EXPIRED, FAILED, status_of
from scalelab.serve.settings import StackSettings
from scalelab.serve.tally import COUNTER, GAUGE, HISTOGRAM, Layout, Metric, Tally

log = logging.getLogger("scalelab.metrics")
PORT_VARIABLE = "SCALELAB_METRICS_PORT"
STATUSES = (DONE, FAILED, EXPIRED, CANCELLED)
REASONS = {
    400: "malformed",
    401: "unauthorized",
    403: "unauthorized",
    404: "unknown_task",
    405: "method",
    408: "slow_body",
    413: "too_large",
    415: "content_type",
    422: "key_reused",
    429: "overload",
    503: "broker_away",
}
"""HTTP status -> why a request was refused"""
OTHER = "other"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""200 ms is the limit that the labs promise"""
TASKS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
METRICS_FOLDER = "metrics"
"""in the folder of a stack"""
_FAILED = FAILED.encode()
STAGES = ("queue", "model", "total")

GATEWAY = Layout(
    Metric("requests_accepted", COUNTER, "tasks queued by this gateway"),
    Metric("requests_repeated", COUNTER, "requests whose idempotency key named a task that stands"),
    Metric(
        "requests_rejected",
        COUNTER,
        "requests refused",
        "reason",
        (*dict.fromkeys(REASONS.values()), "other"),
    ),
    Metric("answers", COUNTER, "answers heard for tasks of this gateway", "status", STATUSES),
    Metric(
        "answer_wait_seconds", HISTOGRAM, "from request to answer, where the client waited", bounds=SECONDS
    ),
    Metric("requests_cancelled", COUNTER, "tasks cancelled at a client's word"),
    Metric("requests_waiting", GAUGE, "requests that wait for an answer now"),
)
WORKER = Layout(
    Metric("batch_size_tasks", HISTOGRAM, "tasks in one run of the model", bounds=TASKS),
    Metric(
        "task_duration_seconds",
        HISTOGRAM,
        "queue: from accepted to taken; model: the run that it was part of; total: from accepted to stored",
        "stage",
        STAGES,
        SECONDS,
    ),
    Metric("tasks_finished", COUNTER, "answers stored", "status", STATUSES),
    Metric("task_retries", COUNTER, "deliveries of tasks that were delivered before"),
    Metric("tasks_dead_lettered", COUNTER, "tasks put aside for people, since the model failed on them"),
    Metric("tasks_running", GAUGE, "tasks in the hands of the worker now"),
    Metric("last_step_timestamp_seconds", GAUGE, "when the worker last looked for tasks"),
)


class GatewayMetrics:
    """What a gateway counts; each call costs under a microsecond."""

    def __init__(self) -> None:
        self.tally = Tally(GATEWAY)
        self.accepted = self.tally.counter("requests_accepted")
        self.repeated = self.tally.counter("requests_repeated")
        self.cancelled = self.tally.counter("requests_cancelled")
        self.waited = self.tally.histogram("answer_wait_seconds")
        self.waiting = self.tally.gauge("requests_waiting")
        self._rejected = {
            reason: self.tally.counter("requests_rejected", reason) for reason in {*REASONS.values(), OTHER}
        }
        self._answers = {status.encode(): self.tally.counter("answers", status) for status in STATUSES}

    def reject(self, http_status: int) -> None:
        """Count a request that was refused with this status."""
        self._rejected[REASONS.get(http_status, OTHER)]()

    def heard(self, answer: bytes) -> None:
        """Count an answer by its status."""
        (self._answers.get(status_of(answer)) or self._answers[_FAILED])()

    def counts(self) -> dict[str, int]:
        """Return the few sums that `/v1/stats` tells."""
        answers = {status: self._value("answers", status) for status in STATUSES}
        refused = {reason: self._value("requests_rejected", reason) for reason in self._rejected}
        rejected = refused.pop("overload") + refused.pop("broker_away")
        return {
            "accepted": self._value("requests_accepted"),
            "repeated": self._value("requests_repeated"),
            "answered": sum(answers.values()),
            "failed": sum(answers.values()) - answers[DONE],
            "rejected": rejected,
            "malformed": sum(refused.values()),
            "cancelled": self._value("requests_cancelled"),
        }

    def _value(self, name: str, label: str = "") -> int:
        return int(self.tally.cells[GATEWAY.starts[name, label]])


class WorkerMetrics:
    """What a worker counts; `path` is for the gateway of the same stack to read."""

    def __init__(
        self,
        path: Path | None = None,
        facts: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.tally = Tally(WORKER, path, facts)
        self._clock = clock
        self._batch_size = self.tally.histogram("batch_size_tasks")
        self._queue, self._model, self._total = (
            self.tally.histogram("task_duration_seconds", stage) for stage in STAGES
        )
        self._finished = {s.encode(): self.tally.counter("tasks_finished", s) for s in STATUSES}
        self._retries = self.tally.counter("task_retries")
        self._dead_lettered = self.tally.counter("tasks_dead_lettered")
        self._running = self.tally.gauge("tasks_running")
        self._last_step = self.tally.gauge("last_step_timestamp_seconds")
        self._taken_s = 0.0

    def looked(self) -> None:
        """Note that the worker looks for tasks now: a frozen one does not."""
        self._last_step(time.time())

    def took(self, deliveries: Sequence[Delivery]) -> None:
        """Count a batch when it was taken."""
        self._taken_s = self._clock()
        self._running(len(deliveries))
        for delivery in deliveries:
            self._queue(delivery.waited_s)
            if delivery.attempt > 1:
                self._retries()

    def ran(self, tasks: int, seconds: float) -> None:
        """Count one run of the model on `tasks` tasks."""
        self._batch_size(tasks)
        self._model(seconds, tasks)

    def stored(self, answers: Sequence[Answer]) -> None:
        """Count answers when they were stored."""
        since_taken_s = self._clock() - self._taken_s
        for answer in answers:
            self._total(answer.delivery.waited_s + since_taken_s)
            (self._finished.get(status_of(answer.body)) or self._finished[_FAILED])()
            if answer.dead_letter:
                self._dead_lettered()
        self._running(0)


def open_worker_metrics(folder: Path, settings: StackSettings, *, name: str, version: str) -> WorkerMetrics:
    """Return the counters of the worker `name`, which the gateway reads in `folder`.

    With `PORT_VARIABLE` set, they are answered on that port too. `version` is the model's.
    """
    facts = {"model": settings.model, "file": Path(settings.model_path).name, "version": version}
    try:
        folder.mkdir(exist_ok=True)
        metrics = WorkerMetrics(folder / f"{name}.cells", facts)
    except OSError as error:  # a full disk must not keep a worker from working
        log.warning("metrics stay in this process: %s", error)
        metrics = WorkerMetrics(facts=facts)
    if port := os.environ.get(PORT_VARIABLE):
        from scalelab.serve.scrape import serve_worker_metrics

        serve_worker_metrics(metrics, name=name, host=settings.host, port=int(port))
    return metrics
