"""The notebook kernel that runs us, if one does."""

from __future__ import annotations

import os
import sys
from typing import Any

from scalelab.core.lazy import is_installed


def running_shell() -> Any:
    """Return the IPython shell that runs us, or None in plain Python."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def can_show_widgets() -> bool:
    """Tell whether a kernel with ipywidgets runs us, and ``SCALELAB_PLAIN=1`` does not forbid them."""
    if os.environ.get("SCALELAB_PLAIN", "") not in {"", "0"}:
        return False
    shell = running_shell()
    return shell is not None and hasattr(shell, "kernel") and is_installed("ipywidgets")
