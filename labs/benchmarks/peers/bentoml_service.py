"""BentoML: ``bentoml serve peers.bentoml_service:Predictor``, adaptive batches by ``batchable=True``.

https://docs.bentoml.com : a batchable method takes and gives a batch, so a body holds a list of one item.
"""

from __future__ import annotations

from typing import Any

import bentoml
import numpy as np

from peers.workload import WORKERS, Given

given = Given.read()
LATENCY_MS = 5000
"""above this the batcher refuses; its own default is a minute"""


@bentoml.service(workers=WORKERS, traffic={"timeout": 30})
class Predictor:
    """The model, once per worker."""

    def __init__(self) -> None:
        self.model = given.warm()

    @bentoml.api(batchable=True, max_batch_size=given.max_batch, max_latency_ms=LATENCY_MS)
    def predict(self, items: list[list[int]]) -> list[dict[str, Any]]:
        """Run one batch."""
        shape = (len(items), *given.workload.shape)
        return self.model.predict_batch(np.array(items, given.workload.dtype).reshape(shape))
