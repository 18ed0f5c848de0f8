"""The parameter cell of a notebook: what may be set, with which type.

papermill itself only warns on an unknown parameter and then runs the default; here it is an error.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.bench.execute import load_papermill
from scalelab.core.errors import ConfigError, did_you_mean

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}
"""what TOML and JSON have for a Python type"""


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
    inspect = load_papermill().inspect_notebook
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
        if not _is_plain(value):
            raise ConfigError(
                f"{notebook.name}: {name} = {value!r} cannot be handed on",
                hint="parameters are texts, finite numbers, booleans, and lists and tables of them",
            )
        if not _fits(value, _type_of(declared[name])):
            raise ConfigError(
                f"{notebook.name}: {name} = {value!r} is no {ast.unparse(_type_of(declared[name]))}",
                hint=f"its default is {declared[name].default}",
            )
    return declared


def _type_of(parameter: Parameter) -> ast.expr:
    """Return the declared type; where the line has none, that of its default."""
    declared = parameter.type_name
    if declared == "None":  # so papermill says it
        with suppress(SyntaxError, ValueError):
            declared = type(ast.literal_eval(parameter.default)).__name__
    try:
        return ast.parse(declared, mode="eval").body
    except SyntaxError:
        return ast.Name("object")


def _fits(value: Any, wanted: ast.expr) -> bool:
    """Tell whether a plain value is of a type; of types that are not known here, each value is."""
    match wanted:
        case ast.Subscript(value=ast.Name(id="list"), slice=each):
            return isinstance(value, list) and all(_fits(one, each) for one in value)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, each])):
            return isinstance(value, dict) and all(_fits(one, each) for one in value.values())
        case ast.Subscript(value=ast.Name() as outer):
            return _fits(value, outer)
        case ast.Name(id=name) if name in _TYPES:
            return isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool))
    return True


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):  # a TOML date; inf or nan
        return False
    return True
