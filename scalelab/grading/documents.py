"""Documents as answers: what a Dockerfile, a compose file or a manifest must hold, as rules in a table.

``rules.toml`` beside checks.py has a table for each kind of document and in it, by feedback code, a regular
expression that must be found (``wants``) or must not (``refuses``), over the document as lines.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalelab.grading.meanings import Meanings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Rules:
    """The rules of a lab; the first that a document breaks is told, with its meaning.

    Args:
        checks: the path of the lab's checks.py, ``__file__`` there.
        meanings: what each code means.
    """

    def __init__(self, checks: str, meanings: Meanings):
        text = (Path(checks).parent / "rules.toml").read_text("utf-8")
        self._meanings = meanings
        self.tables: dict[str, dict[str, dict[str, str]]] = tomllib.loads(text)

    def check(self, kind: str, lines: Sequence[str]) -> None:
        """Fail with the first rule of a kind that the lines break."""
        text = "".join(f"{line}\n" for line in lines)
        for code, rule in self.tables[kind].items():
            for way, pattern in rule.items():
                found = re.search(pattern, text, re.MULTILINE)
                line = (
                    repr(found[0].splitlines()[0]) if found and found[0].strip() else "something is missing"
                )
                self._meanings.fail_if(bool(found) == (way == "refuses"), f"the {kind}: {line}", code)


def instructions(dockerfile: str) -> list[str]:
    """Return a Dockerfile's instructions, one a line: continued lines joined, comments gone."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = [line.split(None, 1) for line in re.sub(r"\\\s*\n", " ", "\n".join(lines)).splitlines()]
    return [" ".join([words[0].upper(), *words[1:]]) for words in joined]


def settings(document: Any, path: str = "") -> list[str]:
    """Return nested dicts as sorted lines, ``services.worker.deploy.replicas = 2``; values are JSON."""
    if not isinstance(document, dict) or not document:
        return [f"{path} = {json.dumps(document, default=str)}"]
    parts = [settings(part, f"{path}.{key}".lstrip(".")) for key, part in document.items()]
    return sorted(line for part in parts for line in part)
