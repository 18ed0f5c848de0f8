"""Execute a notebook as a student's Jupyter would, in a kernel of its own.

``python -m scalelab.authoring.execute NOTEBOOK OUT [--go-on]`` writes the notebook with its outputs; with
``--go-on`` a cell that raises does not end the run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from scalelab.core.lazy import require


def execute(notebook: Path, out: Path, *, go_on: bool = False, cell_limit_s: int = 300) -> None:
    """Run all cells of `notebook` in the current folder and write the result to `out`, after an error too."""
    nbclient = require("nbclient", extra="grade")
    nbformat = require("nbformat", extra="author")
    document = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(
        document, timeout=cell_limit_s, allow_errors=go_on, kernel_name="python3"
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError:
        pass  # the outputs have it
    finally:
        nbformat.write(document, out)


def scores(document: dict[str, Any]) -> dict[str, float | str]:
    """Return the score of every check cell as nbgrader reads it: the bare number of its last output.

    Where there is none, the value says in words what the cell shows instead; a cell that writes to stderr
    has no score either, since nbgrader gives it none.
    """
    found: dict[str, float | str] = {}
    for cell in document["cells"]:
        grader = cell["metadata"].get("nbgrader", {})
        if not grader.get("grade"):
            continue
        name = grader["grade_id"].removeprefix("check-")
        found[name] = "no output"
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                found[name] = f"{output['ename']}: {output['evalue']}"
                break
            if output["output_type"] == "stream" and output["name"] == "stderr":
                found[name] = f"wrote to stderr: {''.join(output['text']).strip()[:200]}"
                break
            if output["output_type"] == "execute_result":
                text = "".join(output["data"].get("text/plain", ""))
                try:
                    found[name] = float(text)
                except ValueError:
                    found[name] = f"shows {text[:80]!r} where its points should be"
    return found


def cards(document: dict[str, Any]) -> dict[str, str]:
    """Return the HTML that every check cell shows."""
    return {
        cell["metadata"]["nbgrader"]["grade_id"].removeprefix("check-"): "".join(
            "".join(output.get("data", {}).get("text/html", "")) for output in cell.get("outputs", [])
        )
        for cell in document["cells"]
        if cell["metadata"].get("nbgrader", {}).get("grade")
    }


def errors(document: dict[str, Any]) -> list[tuple[int, str]]:
    """Return the number (from 1) and the error of every cell that raised."""
    return [
        (number, f"{output['ename']}: {output['evalue']}")
        for number, cell in enumerate(document["cells"], 1)
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]


if __name__ == "__main__":
    execute(Path(sys.argv[1]), Path(sys.argv[2]), go_on="--go-on" in sys.argv)
