"""How JupyterLab is opened on a learner's notebook: on it alone, and without questions about news."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import quote

from scalelab.core.errors import MissingDependency
from scalelab.core.lazy import is_installed

SETTINGS = Path(__file__).parent / "jupyter"
"""a folder in Jupyter's format; whatever the learner has set up wins over it"""


def lab_command(notebook: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command that opens `notebook` and the variables that it needs beside the environment's.

    Raises:
        MissingDependency: JupyterLab is not installed.
    """
    for package in ("jupyterlab", "ipywidgets"):
        if not is_installed(package):
            raise MissingDependency(
                f"the package {package!r} is not installed", hint='pip install "scalelab[lab]"'
            )
    command = [
        *(sys.executable, "-m", "jupyterlab", "--notebook-dir", str(notebook.parent)),
        f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}",  # in the printed address too
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
        command.append("--allow-root")
    paths = [*os.environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep), str(SETTINGS)]
    return command, {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}
