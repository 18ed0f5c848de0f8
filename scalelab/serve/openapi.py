"""The OpenAPI description of the tasks, which FastAPI does not know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scalelab.serve.contract import JSON, MSGPACK, Contract
from scalelab.serve.options import HEADERS, MAX_DEADLINE_S, MAX_WAIT_S
from scalelab.serve.protocol import CANCELLED, EXPIRED, FAILED, NORMAL, PRIORITIES, QUEUED, STATUSES, Problem
from scalelab.serve.settings import StackSettings

_TASK_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
_TASK = {
    "type": "object",
    "required": ["task_id", "status"],
    "properties": {
        "task_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "status": {"type": "string", "enum": list(STATUSES)},
        "result": {"description": "if done: what the model gives"},
        "error": {"type": "string", "description": "if failed or expired"},
        "batch": {"type": "integer", "description": "how many items ran together"},
        "attempts": {"type": "integer", "description": "deliveries to a worker"},
        "model": {"type": "string", "description": "its version: first digits of its file's SHA-256"},
    },
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "hint"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, with the value"},
        "hint": {"type": "string", "description": "the next step"},
    },
}
_SCHEMAS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "wait_s": (
        "wait so many seconds for the answer",
        {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
        1,
    ),
    "deadline_s": (
        "after so many seconds in the queue the task is dropped",
        {"type": "number", "minimum": 0.001, "maximum": MAX_DEADLINE_S, "default": StackSettings.deadline_s},
        60,
    ),
    "priority": (
        "what is high is run before what is normal, that before what is low",
        {"type": "string", "enum": list(PRIORITIES), "default": PRIORITIES[NORMAL]},
        "high",
    ),
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "the same key again names the same task: a repeated request is not run twice",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
_ID = {
    "name": "task_id",
    "in": "path",
    "description": "as the POST answered it, in its body and in Location",
    "required": True,
    "schema": {"type": "string", "minLength": 1},
    "example": _TASK_ID,
}
_LAST = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "what a browser sends when it comes back; after the last event it is told to stop",
    "schema": {"type": "string"},
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_RETRY = {"Retry-After": {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
_LOCATION = {"Location": {"description": "of the task", "schema": {"type": "string"}}}
_PROBLEMS = {
    400: ("a query, header, key or body that cannot be read", "there is no query parameter 'wait'"),
    401: ("no known API key", "this service wants an API key"),
    404: ("no such task, or its result expired", f"there is no task {_TASK_ID!r}"),
    408: ("the request came too slowly", "the request was not whole after 10 s"),
    413: ("the body is too large", "the body has 70000 bytes or more, the limit is 65536"),
    415: ("the content type is not understood", "content type 'text/html' is not understood"),
    422: ("the body holds something else, or the key was used for another body", "the body holds 7 bytes"),
    429: ("the queue is full, or this client asks too often", "20000 tasks are queued, the limit is 20000"),
    503: ("the broker is away", "no broker: connection refused"),
}
_HINTS = {400: "did you mean 'wait_s'?", 429: "try again in 4 s; 2500 tasks are answered a second"}


def hot_paths(contract: Contract, *, is_naive: bool = False, wants_keys: bool = False) -> dict[str, Any]:
    """Return the OpenAPI path items of the tasks of this contract."""
    posted = {"summary": contract.title, "description": contract.about}
    body = {"required": True, "content": dict(contract.body)}
    if is_naive:
        answers = {
            "200": _answer("the answer", {"result": contract.result}, schema={}),
            **_problems(400, 413, 415, 422),
        }
        return {contract.path: {"post": {**posted, "requestBody": body, "responses": answers}}}
    ran = {"batch": 4, "attempts": 1, "model": "3f1c9a7be024"}
    done = {"task_id": _TASK_ID, "status": "done", "result": contract.result, **ran}
    guarded: dict[str, Any] = {"security": [{name: []} for name in _SECURITY]} if wants_keys else {}
    refusals = (401, 408, 429) if wants_keys else (408, 429)
    post = {
        **posted,
        **guarded,
        "operationId": f"post_{contract.noun}",
        "parameters": [*_options("wait_s", "deadline_s", "priority"), _KEY],
        "requestBody": body,
        "responses": {
            "200": _answer("answered within wait_s", done, _LOCATION),
            "202": _answer("queued; Location names the task", _task(QUEUED), _LOCATION),
            "409": _answer("cancelled by another request, within wait_s", _task(CANCELLED), _LOCATION),
            "500": _answer("the model failed on it, within wait_s", _task(FAILED, error="..."), _LOCATION),
            "504": _answer("its deadline passed within wait_s", _task(EXPIRED, error="..."), _LOCATION),
            **_problems(400, 413, 415, 422, 503, *refusals),
        },
    }
    get = {
        "summary": "Fetch status and result of a task",
        **guarded,
        "operationId": f"get_{contract.noun}",
        "parameters": [_ID, *_options("wait_s")],
        "responses": {"200": _answer("the task as it stands", done), **_problems(400, 404, 503, *refusals)},
    }
    delete = {
        "summary": "Cancel a task",
        "description": "An answer that was there before stands; what no worker has begun is not run.",
        **guarded,
        "operationId": f"cancel_{contract.noun}",
        "parameters": [_ID],
        "responses": {
            "200": _answer("what stands afterwards", _task(CANCELLED)),
            **_problems(400, 404, 503, *refusals),
        },
    }
    stream = f"event: queued\ndata: {json.dumps(_task(QUEUED))}\n\n"
    events = {
        "summary": "Server-sent events until the answer",
        "description": "Each is named by the status and holds the task; comments keep the connection alive.",
        **guarded,
        "operationId": f"events_{contract.noun}",
        "parameters": [_ID, _LAST],
        "responses": {
            "200": {
                "description": "a stream that ends with the answer",
                "content": {"text/event-stream": {"example": stream}},
            },
            "204": {"description": "the last event was seen: do not come back"},
            **_problems(400, 404, 503, *refusals),
        },
    }
    below = contract.path + "/{task_id}"
    return {
        contract.path: {"post": post},
        below: {"get": get, "delete": delete},
        below + "/events": {"get": events},
    }


def security_schemes() -> dict[str, Any]:
    """Return how a key is sent."""
    return {name: dict(scheme) for name, scheme in _SECURITY.items()}


def _options(*names: str) -> list[dict[str, Any]]:
    """Return the parameters: each in the query string, or as a header."""
    options = []
    for name in names:
        description, schema, example = _SCHEMAS[name]
        options.append(
            {"name": name, "in": "query", "description": description, "schema": schema, "example": example}
        )
        said = f"the same, for clients that cannot change the address: {name} counts if both are given"
        options.append({"name": HEADERS[name], "in": "header", "description": said, "schema": schema})
    return options


def _task(status: str, **fields: Any) -> dict[str, Any]:
    return {"task_id": _TASK_ID, "status": status, **fields}


def _answer(
    description: str, example: Any, headers: Mapping[str, Any] | None = None, *, schema: Any = None
) -> dict[str, Any]:
    shown = {"schema": _TASK if schema is None else schema, "example": example}
    kinds = {JSON: shown} if schema is not None else {JSON: shown, MSGPACK: {"schema": _TASK}}
    return {"description": description, **({"headers": dict(headers)} if headers else {}), "content": kinds}


def _problems(*statuses: int) -> dict[str, Any]:
    answers = {}
    for status in sorted(statuses):
        why, detail = _PROBLEMS[status]
        example = json.loads(Problem(status, detail, hint=_HINTS.get(status, "what to do next")).body())
        answers[str(status)] = {
            "description": why + (": see Retry-After" if status in (429, 503) else ""),
            **({"headers": _RETRY} if status in (429, 503) else {}),
            "content": {"application/problem+json": {"schema": _PROBLEM, "example": example}},
        }
    return answers
