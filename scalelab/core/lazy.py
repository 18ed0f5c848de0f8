"""Import an optional package at the moment of use, or say how to get it."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from scalelab.core.errors import MissingDependency


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, which the optional `extra` of scalelab brings.

    Raises:
        MissingDependency: the module is not installed; the hint is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise  # the package is there, but something that *it* needs is not
        raise MissingDependency(
            f"the package {module.split('.')[0]!r} is not installed", hint=f'pip install "scalelab[{extra}]"'
        ) from None


def is_installed(module: str) -> bool:
    """Tell whether `module` could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None
