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


def lab_command(opened: Path, root: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the command that opens a notebook or folder, and the variables that it needs as well.

    Args:
        root: what JupyterLab's file browser shows; `opened` lies in it. The folder of `opened` if left out.

    Raises:
        MissingDependency: JupyterLab is not installed.
    """
    for package in ("jupyterlab", "ipywidgets"):
        if not is_installed(package):
            raise MissingDependency(
                f"the package {package!r} is not installed", hint='pip install "scalelab[lab]"'
            )
    root = root or opened.parent
    command = [
        *(sys.executable, "-m", "jupyterlab", "--notebook-dir", str(root)),
        f"--LabApp.default_url=/lab/tree/{quote(opened.relative_to(root).as_posix())}",  # printed, too
        "--ServerApp.log_level=ERROR",  # prints that address, and not thirty lines around it
        "--LabApp.log_level=ERROR",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
        command.append("--allow-root")
    paths = [*os.environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep), str(SETTINGS)]
    return command, {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}
