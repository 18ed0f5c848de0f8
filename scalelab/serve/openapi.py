"""The OpenAPI description of the hot path, and a page that shows it without fetching anything."""

from __future__ import annotations

import html
import json
from typing import Any

from scalelab.serve.contract import Contract
from scalelab.serve.options import MAX_DEADLINE_S, MAX_WAIT_S
from scalelab.serve.protocol import STATUSES
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
    },
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "hint"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, with the value"},
        "hint": {"type": "string", "description": "the next step"},
    },
}
_WAIT = {
    "name": "wait_s",
    "in": "query",
    "description": "wait so many seconds for the answer",
    "schema": {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
    "example": 1,
}
_DEADLINE = {
    "name": "deadline_s",
    "in": "query",
    "description": "after so many seconds in the queue the task is dropped",
    "schema": {
        "type": "number",
        "minimum": 0.001,
        "maximum": MAX_DEADLINE_S,
        "default": StackSettings.deadline_s,
    },
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "the same key again names the same task: a repeated request is not run twice",
    "schema": {"type": "string", "maxLength": 200},
}
_ID = {
    "name": "task_id",
    "in": "path",
    "description": "as the POST answered it, in its body and in Location",
    "required": True,
    "schema": {"type": "string"},
    "example": _TASK_ID,
}
_WHY = {
    400: "a query, key or JSON that cannot be read",
    404: "no such task, or its result expired",
    413: "the body is too large",
    415: "the content type is not understood",
    422: "the body holds something else, or the key was used for another body",
    429: "the queue is full: see Retry-After",
    503: "the broker is away: see Retry-After",
}


def _answers(*problems: int, **good: tuple[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        status.lstrip("_"): {
            "description": what,
            "content": {"application/json": {"schema": _TASK, "example": example}},
        }
        for status, (what, example) in good.items()
    }
    for status in problems:
        content = {"application/problem+json": {"schema": _PROBLEM}}
        answers[str(status)] = {"description": _WHY[status], "content": content}
    return answers


def hot_paths(contract: Contract, *, is_naive: bool = False) -> dict[str, Any]:
    """Return the OpenAPI path items of the hot path, which FastAPI does not know."""
    posted = {"summary": contract.title, "description": contract.about}
    body = {"required": True, "content": dict(contract.body)}
    if is_naive:
        answers = _answers(400, 413, 415, 422, _200=("the answer", {"result": contract.result}))
        return {contract.path: {"post": {**posted, "requestBody": body, "responses": answers}}}
    done = {"task_id": _TASK_ID, "status": "done", "result": contract.result, "batch": 4, "attempts": 1}
    answers = _answers(
        400,
        413,
        415,
        422,
        429,
        503,
        _200=("answered within wait_s", done),
        _500=("the model failed on it, within wait_s", {"task_id": _TASK_ID, "status": "failed"}),
        _504=("its deadline passed within wait_s", {"task_id": _TASK_ID, "status": "expired"}),
        _202=("queued; Location names the task", {"task_id": _TASK_ID, "status": "queued"}),
    )
    post = {**posted, "parameters": [_WAIT, _DEADLINE, _KEY], "requestBody": body, "responses": answers}
    get = {
        "summary": "Fetch status and result of a task",
        "parameters": [_ID, _WAIT],
        "responses": _answers(400, 404, 503, _200=("the task as it stands", done)),
    }
    return {contract.path: {"post": post}, contract.path + "/{task_id}": {"get": get}}


def render_page(document: dict[str, Any], contract: Contract, url: str) -> str:
    """Return the OpenAPI document of the service at `url` as one HTML page that fetches nothing."""
    title = html.escape(document["info"]["title"])
    commands = html.escape("\n".join(contract.try_it).replace("{url}", url))
    parts = [
        f"<h1>{title}</h1>",
        f"<h2>Try it</h2><pre>{commands}</pre>",
        '<p>For programs: <a href="/openapi.json">OpenAPI</a></p>',
    ]
    # the work first, then health and numbers
    for path, operations in sorted(
        document["paths"].items(), key=lambda one: (contract.path not in one[0], one[0])
    ):
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            summary = operation.get("summary", "")
            said = f"{summary}{'' if summary.endswith('?') else '.'} {_text(operation)}"
            parts.append(f"<p>{html.escape(said)}</p><table>")
            for parameter in operation.get("parameters", []):
                said = _text(parameter) + _limits(parameter["schema"])
                parts.append(_row(f"{parameter['in']} {parameter['name']}", said))
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                parts.append(_row(f"body {kind}", _text(content["schema"])))
            for status, answer in sorted(operation["responses"].items()):
                content = next(iter(answer.get("content", {}).values()), {})
                example = f": {json.dumps(content['example'])}" if "example" in content else ""
                parts.append(_row(status, answer["description"] + example))
            parts.append("</table>")
    body = "\n".join(parts)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>:root{{color-scheme:light dark}}
body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
h1,h2,p,td{{overflow-wrap:anywhere}}
pre{{font-size:.9rem;white-space:pre-wrap;overflow-wrap:anywhere;
 padding:.8rem;border:1px solid #8888;border-radius:.3rem}}
th{{text-align:left;vertical-align:top;padding-right:1rem;white-space:nowrap}}
@media (max-width:40rem){{th,td{{display:block}}td{{padding-bottom:.5rem}}}}</style>
{body}
</html>"""


def _text(described: dict[str, Any]) -> str:
    return str(described.get("description", ""))


def _limits(schema: dict[str, Any]) -> str:
    """Return what a value may be, as it stands in brackets behind the description."""
    said = []
    if "maximum" in schema:
        said.append(f"{schema['minimum']:g} to {schema['maximum']:g}")
    if "maxLength" in schema:
        said.append(f"at most {schema['maxLength']} characters")
    if "default" in schema:
        said.append(f"default {schema['default']:g}")
    return f" ({', '.join(said)})" if said else ""


def _row(name: str, text: str) -> str:
    return f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
