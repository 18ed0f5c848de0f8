"""The baseline: model and web server in one process, as a first version is written.

The handler is ``async def`` (the usual choice, since the body must be awaited) and calls the model directly,
one item at a time: while the model computes, the event loop stands still. Bodies and errors are those of the
gateway, so that both answer the same requests.

    python -m scalelab.serve.naive --model-path reader.onnx --port 8000
"""

from __future__ import annotations

import argparse
from typing import Any

from fastapi import FastAPI, Request

from scalelab.serve.child import run_child
from scalelab.serve.contract import Contract, load_contract
from scalelab.serve.face import new_app
from scalelab.serve.loading import warm_up
from scalelab.serve.options import read_options
from scalelab.serve.protocol import MAX_BODY_BYTES
from scalelab.serve.routes import read_body
from scalelab.serve.server import serve_app
from scalelab.serve.service import DEFAULT_MODEL, Service, load_service, predict_bytes
from scalelab.serve.settings import StackSettings


def build_naive_app(service: Service, contract: Contract, *, max_body_bytes: int = MAX_BODY_BYTES) -> FastAPI:
    """Return the application around a loaded model."""
    app = new_app("ScaleLab naive app", contract, is_naive=True)

    @app.post(contract.path, include_in_schema=False)
    async def predict(request: Request) -> dict[str, Any]:
        head = dict(request.scope["headers"])
        read_options(request.scope["query_string"], head)  # the gateway's are understood, but nothing waits
        body = await read_body(head, request.receive, max_body_bytes)
        payload = contract.parse(request.headers.get("content-type", ""), body)
        return {"result": predict_bytes(service, contract, [payload])[0]}

    return app


def main() -> None:
    """Run the naive app until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="module:factory")
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--contract", default=StackSettings.contract, help="module:NAME")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    asked = parser.parse_args()
    service = load_service(asked.model, asked.model_path, threads=asked.threads)
    contract = load_contract(asked.contract)
    warm_up(service, contract, 1, asked.model_path)
    serve_app(build_naive_app(service, contract), asked.host, asked.port)


if __name__ == "__main__":
    run_child(main)
