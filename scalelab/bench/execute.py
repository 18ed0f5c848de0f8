"""The child process of one benchmark point: run a notebook by papermill, with parameters from a JSON file.

``python -m scalelab.bench.execute IN.ipynb OUT.ipynb PARAMETERS.json``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

from scalelab.core.lazy import require
from scalelab.core.processes import die_with_parent

_NOT_NEEDED = ("rfc3987_syntax", "pyarrow")
"""optional imports of papermill's libraries: a check of web addresses, whose grammar takes two thirds of the
whole time, and a file system of Hadoop"""


def load_papermill() -> ModuleType:
    """Import papermill without the optional packages that cost most and that nothing here uses.

    Raises:
        MissingDependency: papermill is not installed.
    """
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        return require("papermill", extra="bench")
    finally:
        for name in hidden:
            del sys.modules[name]


def execute(notebook: Path, executed: Path, parameters: Path) -> int:
    """Run `notebook`; keep it with outputs at `executed` even if a cell fails. Returns 1 after a failure."""
    papermill = load_papermill()
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=json.loads(parameters.read_text(encoding="utf-8")),
            kernel_name="python3",
            cwd=str(notebook.parent),
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        message = "".join(str(error.evalue).splitlines(keepends=True)[:20])
        sys.stderr.write(f"\ncell {error.cell_index}: {error.ename}: {message}\n")
        return 1
    return 0


if __name__ == "__main__":
    die_with_parent()
    sys.exit(execute(*(Path(argument) for argument in sys.argv[1:4])))
