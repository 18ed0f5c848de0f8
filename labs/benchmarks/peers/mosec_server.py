"""mosec: a web server in Rust, workers in Python behind sockets of their own, dynamic batches.

https://mosecorg.github.io/mosec/ : one `Worker` class, JSON by default, other bodies by `deserialize`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mosec import Server, ValidationError, Worker

from peers.workload import WORKERS, Given

given = Given.read()
WAIT_MS = 1


class JsonWorker(Worker):
    """Runs the model on a batch of JSON bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.model = given.warm()

    def deserialize(self, data: bytes) -> np.ndarray:
        """Return the item of a body."""
        try:
            return given.workload.from_list(super().deserialize(data)[given.workload.field])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValidationError(str(error)) from None

    def forward(self, data: list[np.ndarray]) -> list[dict[str, Any]]:
        """Run one batch."""
        return self.model.predict_batch(np.stack(data))


class RawWorker(JsonWorker):
    """Runs the model on a batch of raw bodies."""

    def deserialize(self, data: bytes) -> np.ndarray:
        """Return the item of a body."""
        try:
            return given.workload.from_bytes(data)
        except ValueError as error:
            raise ValidationError(str(error)) from None


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        RawWorker if given.is_raw else JsonWorker,
        num=WORKERS,
        max_batch_size=given.max_batch,
        max_wait_time=WAIT_MS,
    )
    server.run()
