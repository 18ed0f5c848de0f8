"""LitServe: FastAPI in front, workers behind ZeroMQ, batches by `max_batch_size`.

https://lightning.ai/docs/litserve : the parameter of `decode_request` must be called ``request``, and both it
and the answer go without annotations: FastAPI would make a query parameter of one and validate the other.
"""

from __future__ import annotations

from typing import Any

import litserve
import numpy as np

from peers.workload import WORKERS, Given

given = Given.read()
WAIT_S = 0.001


class Api(litserve.LitAPI):
    """The model between a JSON body and a JSON answer."""

    def setup(self, device: str) -> None:
        """Load the model, once per worker."""
        self.model = given.warm()

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Return the item of a body."""
        return given.workload.from_list(request[given.workload.field])

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Put items together."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> list[dict[str, Any]]:
        """Run one batch."""
        return self.model.predict_batch(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take results apart."""
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """Return the answer."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=given.max_batch, batch_timeout=WAIT_S),
        accelerator="cpu",
        devices=1,
        workers_per_device=WORKERS,
        fast_queue=True,  # ZeroMQ: "when serving hundreds of requests per second"
        restart_workers=True,  # not its default, which ends the whole server with its first worker
    )
    server.run(host="127.0.0.1", port=given.port, log_level="error", generate_client_file=False)
