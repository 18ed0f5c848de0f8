"""The parameter cell of a notebook: what may be set, with which type.

papermill itself only warns on an unknown parameter and then runs the default; here it is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.lazy import require

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
}


@dataclass(frozen=True)
class Parameter:
    """One line of the parameter cell: ``steps: int = 600  # optimizer steps``."""

    name: str
    type_name: str
    default: str
    help: str


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """Return the parameters that `notebook` declares.

    Raises:
        ConfigError: it is no notebook, or has no cell tagged ``parameters``.
    """
    if notebook.suffix != ".ipynb" or not notebook.is_file():
        raise ConfigError(f"{notebook} is not a notebook", hint="give the path of an .ipynb file")
    inspect = require("papermill", extra="bench").inspect_notebook
    try:
        found = inspect(str(notebook))
    except Exception as error:  # nbformat raises many kinds for a file that is no notebook
        raise ConfigError(
            f"{notebook} is not a notebook: {error}", hint="rebuild it from its source"
        ) from None
    if not found:
        raise ConfigError(f"{notebook} has no parameter cell", hint='tag one cell with "parameters"')
    return {
        name: Parameter(name, raw["inferred_type_name"], raw["default"], raw["help"])
        for name, raw in found.items()
    }


def check_parameters(notebook: Path, values: Mapping[str, Any]) -> dict[str, Parameter]:
    """Make sure that `notebook` declares each of `values` with a fitting type; return what it declares.

    Raises:
        ConfigError: an unknown parameter ("did you mean") or a value of another type.
    """
    declared = read_parameters(notebook)
    for name, value in values.items():
        if name not in declared:
            raise ConfigError(
                f"{notebook.name} has no parameter {name!r}", hint=did_you_mean(name, declared.keys())
            )
        wanted = _TYPES.get(declared[name].type_name)
        if not _is_plain(value):
            raise ConfigError(
                f"{notebook.name}: {name} = {value!r} cannot be handed on",
                hint="parameters are texts, finite numbers, booleans, and lists and tables of them",
            )
        is_wrong_bool = isinstance(value, bool) and declared[name].type_name != "bool"
        if wanted and (not isinstance(value, wanted) or is_wrong_bool):
            raise ConfigError(
                f"{notebook.name}: {name} = {value!r} is no {declared[name].type_name}",
                hint=f"its default is {declared[name].default}",
            )
    return declared


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):  # a TOML date; inf or nan
        return False
    return True
