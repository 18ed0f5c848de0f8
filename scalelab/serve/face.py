"""The documented face of the service: a FastAPI application with health, counters, OpenAPI and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from scalelab.serve.broker import BrokerAway
from scalelab.serve.contract import Contract
from scalelab.serve.openapi import hot_paths, security_schemes
from scalelab.serve.page import render_page
from scalelab.serve.protocol import Problem

if TYPE_CHECKING:
    from scalelab.serve.gateway import Gateway


def build_face(gateway: Gateway) -> FastAPI:
    """Return the application that serves everything but the hot path of `gateway`."""
    app = new_app("ScaleLab gateway", gateway.contract, wants_keys=gateway.guard.wants_keys)

    @app.get("/readyz", summary="Can a task be answered now?", responses={503: {"description": "not now"}})
    async def readyz() -> JSONResponse:
        """Return 200 if the broker answers and at least one worker lives, else 503 and what is missing."""
        try:
            stats = await gateway.stats()
        except BrokerAway as error:
            return JSONResponse({"ready": False, "missing": error.message}, 503)
        if not stats["workers"]:
            return JSONResponse({"ready": False, "missing": "no worker lives"}, 503)
        return JSONResponse({"ready": True, "workers": stats["workers"]})

    @app.get("/v1/stats", summary="Counters and the state of the queue")
    async def stats() -> dict[str, Any]:
        """Return counters since this gateway started, and the queue's depth, workers and dead letters."""
        return await gateway.stats()

    @app.get(
        "/metrics",
        summary="For Prometheus: what gateway and workers counted",
        response_class=Response,  # its own content type would be a third one
        responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}},
    )
    async def metrics(request: Request) -> Response:
        """Return counters, histograms and gauges, in the text format or in OpenMetrics if asked for."""
        text, content_type = await gateway.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    @app.exception_handler(BrokerAway)
    async def broker_away(_: Any, error: BrokerAway) -> Any:
        return problem_response(Problem(503, error.message, hint="try again in a second"))

    return app


def new_app(title: str, contract: Contract, *, is_naive: bool = False, wants_keys: bool = False) -> FastAPI:
    """Return a FastAPI application with health check, documents that open offline, and problem bodies."""
    app = FastAPI(title=title, version="1", docs_url=None, redoc_url=None)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            ours = hot_paths(contract, is_naive=is_naive, wants_keys=wants_keys)
            made["paths"] = {**ours, **made["paths"]}
            if wants_keys:
                made.setdefault("components", {})["securitySchemes"] = security_schemes()
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

    @app.get("/healthz", summary="Does this process live?")
    async def healthz() -> dict[str, bool]:
        """Return 200 as long as the process serves requests."""
        return {"alive": True}

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs(request: Request) -> str:
        return render_page(document(), contract, str(request.base_url).rstrip("/"))

    @app.exception_handler(Problem)
    async def problem(_: Any, error: Problem) -> Any:
        return problem_response(error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Any, error: HTTPException) -> Any:
        what = f"{request.method} {request.url.path[:80]}: {str(error.detail).lower()}"
        return problem_response(
            Problem(
                error.status_code, what, hint="/docs lists what there is", headers=dict(error.headers or {})
            )
        )

    return app


def problem_response(problem: Problem) -> Any:
    """Return a problem as a Starlette response."""
    return Response(problem.body(), problem.status, problem.headers, media_type="application/problem+json")
