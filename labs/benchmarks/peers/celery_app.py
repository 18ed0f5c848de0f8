"""Celery and Redis behind FastAPI, the usual queue of a Python web application. Celery has no batches.

``celery -A peers.celery_app:cel worker`` and ``uvicorn peers.celery_app:app``. Tasks are acknowledged when
they are done, and queued again when their worker is lost: not the defaults, but what its documentation
advises for tasks that may run twice.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from celery import Celery
from celery.exceptions import TimeoutError as TookTooLong
from celery.signals import worker_process_init
from fastapi import FastAPI, HTTPException

from peers.workload import Given, Model

given = Given.read()
cel = Celery("peers", broker=os.environ["PEERS_REDIS"], backend=os.environ["PEERS_REDIS"])
cel.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    result_expires=300,
    worker_hijack_root_logger=False,
)
app = FastAPI()
_loaded: list[Model] = []


@worker_process_init.connect
def load(**_: Any) -> None:
    """Load the model in each child of the pool."""
    _loaded.append(given.warm())


@cel.task(name="predict")
def run(values: list[int]) -> dict[str, Any]:
    """Run the model on one item."""
    return _loaded[0].predict_batch(np.expand_dims(given.workload.from_list(values), 0))[0]


@app.post("/predict")
def predict(body: dict[str, list[int]]) -> dict[str, Any]:
    """Queue one item and wait for its result."""
    try:
        return run.delay(body[given.workload.field]).get(timeout=30)
    except TookTooLong:
        raise HTTPException(504, "no result in 30 s") from None
