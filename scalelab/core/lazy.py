"""Import at the moment of use: optional packages, and the public names of our own subpackages."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from scalelab.core.errors import MissingDependency


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, which the optional `extra` of scalelab brings.

    Raises:
        MissingDependency: the module is not installed; the hint is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, but something that *it* needs is not
        raise _missing(module, extra) from None


def need_installed(modules: Sequence[str], *, extra: str) -> None:
    """Make sure that `modules` could be imported, without importing them: before child processes need them.

    Raises:
        MissingDependency: as in `require`, for the first that is missing.
    """
    for module in modules:
        if not is_installed(module):
            raise _missing(module, extra)


def is_installed(module: str) -> bool:
    """Tell whether `module` could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def export(package: str, homes: Mapping[str, Sequence[str]], *, extra: str = "") -> Callable[[str], Any]:
    """Return a module ``__getattr__`` that loads a public name from its module at the first use.

    ``__getattr__ = export(__name__, {"suite": ["Suite", "load_suite"]})`` keeps a package's import light.
    With `extra`, a package of others that is missing then is answered with the command that brings it.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        except ModuleNotFoundError as error:
            if not extra or error.name is None or error.name.startswith("scalelab"):
                raise
            raise _missing(error.name, extra) from None

    return load


def how_to_install(extras: Sequence[str]) -> str:
    """Return the command that installs extras: the set-up in a checkout, pip elsewhere."""
    if (Path(__file__).parents[2] / "scripts" / "setup.py").exists():
        return f"python scripts/setup.py --extras {','.join(extras)}"
    return f'pip install "scalelab[{",".join(extras)}]"'


def _missing(module: str, extra: str) -> MissingDependency:
    return MissingDependency(
        f"the package {module.split('.')[0]!r} is not installed", hint=how_to_install([extra])
    )
