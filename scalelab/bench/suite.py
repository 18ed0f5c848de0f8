"""A suite: which notebooks run with which parameters, in which order, within which limits.

```toml
name = "road"
title = "From notebook to service"

[[point]]
name = "prototype"
notebook = "prototype.ipynb"     # beside the suite
timeout_s = 300
memory_mib = 3000                # of the whole process tree
needs = []                       # points that must have succeeded before
produces = ["reader.safetensors"]  # files in the artifacts folder
[point.parameters]
steps = 600
[point.tiers.ci]                 # overrides for `--tier ci`
steps = 60
[point.matrix]                   # one point for each combination
batch_size = [1, 8]
```
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.units import MIB

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_list_of(is_one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_one, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


_NAME = ("a name of letters, digits, - and _", lambda value: re.fullmatch(r"[\w-]+", str(value)) is not None)
_TEXT = ("a text", _is_text)
_TEXTS = ("a list of texts", _is_list_of(_is_text))
_TABLE = ("a table", _is_table)
_SIZE = ("a number above 0", lambda value: type(value) in (int, float) and 0 < value < float("inf"))
_Kinds = Mapping[str, tuple[str, Callable[[Any], bool]]]
_SUITE_KEYS: _Kinds = {
    "name": _NAME,
    "title": _TEXT,
    "tiers": _TEXTS,
    "point": ("a list of tables, each under [[point]]", _is_list_of(_is_table)),
}
_POINT_KEYS: _Kinds = {
    "name": _TEXT,
    "title": _TEXT,
    "notebook": _TEXT,
    "timeout_s": _SIZE,
    "memory_mib": _SIZE,
    "needs": _TEXTS,
    "produces": _TEXTS,
    "parameters": _TABLE,
    "tiers": ("a table of tables", lambda value: _is_table(value) and all(map(_is_table, value.values()))),
    "matrix": _TABLE,
}


@dataclass(frozen=True)
class Point:
    """One run of one notebook."""

    name: str
    title: str
    notebook: Path
    parameters: Mapping[str, Any]
    timeout_s: float = 600.0
    memory_bytes: int | None = None
    """limit on the resident memory of the point's process tree"""
    needs: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """The points in the order they run."""

    name: str
    title: str
    path: Path
    points: tuple[Point, ...]
    tiers: tuple[str, ...] = field(default=())

    def point(self, name: str) -> Point:
        """Return the point called `name`."""
        for point in self.points:
            if point.name == name:
                return point
        raise ConfigError(
            f"the suite {self.name!r} has no point {name!r}",
            hint=did_you_mean(name, [point.name for point in self.points]),
        )


def load_suite(path: Path | str, *, tier: str = "") -> Suite:
    """Read a suite and expand its matrices for a `tier` (empty: the parameters as they stand).

    Raises:
        ConfigError: no such file, no TOML, an unknown key or tier, a value of another kind, a cycle, an empty
            matrix; the message names the point and the value.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no suite {path}", hint="give the path of a .toml file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="give a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="mend that line") from None
    _check_keys(raw, _SUITE_KEYS, where=str(path))
    if not raw.get("point"):
        raise ConfigError(f"{path} has no points", hint="add a [[point]] with a name and a notebook")
    tiers = tuple(raw.get("tiers", ()))
    if tier and tier not in tiers:
        has = f"it has {', '.join(tiers)}" if tiers else "it has none"
        raise ConfigError(f"{path} has no tier {tier!r}, {has}", hint=did_you_mean(tier, tiers))
    points = tuple(point for entry in raw["point"] for point in _expand(entry, path, tier, tiers))
    suite = Suite(raw.get("name", path.stem), raw.get("title", path.stem), path, points, tiers)
    _check_order(suite)
    return suite


def _expand(entry: Mapping[str, Any], path: Path, tier: str, tiers: tuple[str, ...]) -> list[Point]:
    name = entry.get("name")
    where = f"{path}, point {name!r}"
    _check_keys(entry, _POINT_KEYS, where=where)
    if name is None or "notebook" not in entry:
        raise ConfigError(f"{path}: a point lacks its name or its notebook: {dict(entry)}", hint="add both")
    notebook = path.parent / entry["notebook"]
    if not notebook.is_file():
        raise ConfigError(f"{where}: there is no notebook {notebook}", hint="paths are relative to the suite")
    for named in entry.get("tiers", {}):
        if named not in tiers:
            raise ConfigError(f"{where}: tier {named!r} is not declared", hint=did_you_mean(named, tiers))
    parameters = {**entry.get("parameters", {}), **(entry.get("tiers", {}).get(tier, {}) if tier else {})}
    matrix: Mapping[str, list[Any]] = entry.get("matrix", {})
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where}: the matrix has no values for {key!r}", hint=f"write {key} = [1, 2]")
    points = []
    for combination in itertools.product(*matrix.values()):
        chosen = dict(zip(matrix, combination, strict=True))
        suffix = "[" + ",".join(f"{key}={value}" for key, value in chosen.items()) + "]" if chosen else ""
        points.append(
            Point(
                name=name + suffix,
                title=entry.get("title", name) + suffix,
                notebook=notebook,
                parameters={**parameters, **chosen},
                timeout_s=float(entry.get("timeout_s", 600)),
                memory_bytes=int(entry["memory_mib"] * MIB) if "memory_mib" in entry else None,
                needs=tuple(entry.get("needs", ())),
                produces=tuple(entry.get("produces", ())),
            )
        )
    return points


def _check_keys(raw: Mapping[str, Any], known: _Kinds, *, where: str) -> None:
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(key, known))
        kind, fits = known[key]
        if not fits(value):
            raise ConfigError(f"{where}: {key} = {value!r}", hint=f"{key} is {kind}")


def _check_order(suite: Suite) -> None:
    """Points run top to bottom, so what a point needs must stand above it: that rules cycles out."""
    above: set[str] = set()
    for point in suite.points:
        if point.name in above:
            raise ConfigError(f"{suite.path}: two points are called {point.name!r}", hint="rename one")
        for need in point.needs:
            if need not in above:
                raise ConfigError(
                    f"{suite.path}: {point.name!r} needs {need!r}, which does not stand above it",
                    hint=did_you_mean(need, above) if above else "move it above",
                )
        above.add(point.name)
