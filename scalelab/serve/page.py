"""The OpenAPI document as one page for people: it fetches nothing, so that it opens offline."""

from __future__ import annotations

import html
import json
from typing import Any

from scalelab.serve.contract import Contract


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
                content = answer.get("content", {}).get("application/json", {})
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
    if "enum" in schema:
        said.append(", ".join(schema["enum"]))
    if "maxLength" in schema:
        said.append(f"at most {schema['maxLength']} characters")
    if "default" in schema:
        default = schema["default"]
        said.append(f"default {default if isinstance(default, str) else format(default, 'g')}")
    return f" ({', '.join(said)})" if said else ""


def _row(name: str, text: str) -> str:
    return f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
