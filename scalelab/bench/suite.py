"""A suite: which notebooks run with which parameters, how often, in which order, within which limits.

```toml
name = "road"
title = "From notebook to service"
tiers = ["ci", "laptop", "multi-gpu"]

[[point]]
name = "prototype"
notebook = "prototype.ipynb"       # beside the suite
timeout_s = 300
memory_mib = 3000                  # of the whole process tree
needs = []                         # points, or all of a matrix, that must have succeeded before
produces = ["reader.safetensors"]  # files in the artifacts folder
rounds = 1                         # how often it runs
only = ["laptop"]                  # tiers that have it; left out: all
[point.parameters]
steps = 600
[point.tiers.ci]                   # overrides for `--tier ci`
steps = 60
[point.matrix]                     # one point for each combination
batch_size = [1, 8]
[point.tiers.ci.matrix]            # other values for `--tier ci`
batch_size = [1]

[[pair]]                           # the two take turns: x y y x x y ...
a = "prototype[batch_size=1]"
b = "prototype[batch_size=8]"
rounds = 6
```
"""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalelab.bench.schedule import Pair, pair_up, resolve_needs, visits
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


def _is_below(value: Any) -> bool:
    return (
        _is_text(value)
        and re.fullmatch(r"[^/\\:][^\\:]*", value) is not None
        and ".." not in value.split("/")
    )


_NAME = ("a name of letters, digits, - and _", lambda value: re.fullmatch(r"[\w-]+", str(value)) is not None)
_TEXT = ("a text", _is_text)
_TEXTS = ("a list of texts", _is_list_of(_is_text))
_TABLE = ("a table", _is_table)
_ROUNDS = ("a whole number from 1", lambda value: type(value) is int and value >= 1)
_SIZE = ("a number above 0", lambda value: type(value) in (int, float) and 0 < value < float("inf"))
_Kinds = Mapping[str, tuple[str, Callable[[Any], bool]]]
_SUITE_KEYS: _Kinds = {
    "name": _NAME,
    "title": _TEXT,
    "tiers": _TEXTS,
    "point": ("a list of tables, each under [[point]]", _is_list_of(_is_table)),
    "pair": ("a list of tables, each under [[pair]]", _is_list_of(_is_table)),
}
_POINT_KEYS: _Kinds = {
    "name": _TEXT,
    "title": _TEXT,
    "notebook": _TEXT,
    "timeout_s": _SIZE,
    "memory_mib": _SIZE,
    "needs": _TEXTS,
    "produces": ("a list of paths below the artifacts folder", _is_list_of(_is_below)),
    "rounds": _ROUNDS,
    "only": ("a list of tiers", _is_list_of(_is_text)),
    "parameters": _TABLE,
    "tiers": ("a table of tables", lambda value: _is_table(value) and all(map(_is_table, value.values()))),
    "matrix": _TABLE,
}
_PAIR_KEYS: _Kinds = {"a": _TEXT, "b": _TEXT, "rounds": _ROUNDS}
_STEM = 100
PAIR_ROUNDS = 6
"""of a pair that does not say: fewer cannot tell two points apart"""


@dataclass(frozen=True)
class Point:
    """One notebook with one set of parameters."""

    name: str
    title: str
    notebook: Path
    parameters: Mapping[str, Any]
    timeout_s: float = 600.0
    memory_bytes: int | None = None
    """limit on the resident memory of the point's process tree"""
    needs: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    rounds: int = 1
    """how often it runs"""
    pair: str = ""
    """the point with which it takes turns"""
    family: str = ""
    """its name in the file, before its matrix made several of it"""

    @property
    def stem(self) -> str:
        """Name of its files, without an ending."""
        clean = re.sub(r"[^A-Za-z0-9_.=-]+", "_", self.name)
        return (
            clean
            if len(clean) <= _STEM
            else f"{clean[:_STEM]}-{hashlib.sha256(clean.encode()).hexdigest()[:8]}"
        )


@dataclass(frozen=True)
class Suite:
    """The points as the file has them; `schedule.visits` is the order in which they run."""

    name: str
    title: str
    path: Path
    points: tuple[Point, ...]
    tiers: tuple[str, ...] = field(default=())
    tier: str = ""
    """for which it was read"""
    pairs: tuple[Pair, ...] = ()

    def point(self, name: str) -> Point:
        """Return the point called `name`."""
        for point in self.points:
            if point.name == name:
                return point
        raise ConfigError(
            f"the suite {self.name!r} has no point {name!r}",
            hint=did_you_mean(name, [point.name for point in self.points]),
        )


def load_suite(path: Path | str, *, tier: str = "", rounds: int | None = None) -> Suite:
    """Read a suite and expand its matrices for a `tier` (empty: the parameters as they stand).

    Args:
        rounds: of the points that say how many, or stand in a pair; the others run once.

    Raises:
        ConfigError: no such file, no TOML, an unknown key or tier, a value of another kind, a cycle, an empty
            matrix; the message names the point and the value.
    """
    path = Path(path)
    raw = _read(path)
    _check_keys(raw, _SUITE_KEYS, where=str(path))
    if not raw.get("point"):
        raise ConfigError(f"{path} has no points", hint="add a [[point]] with a name and a notebook")
    tiers = tuple(raw.get("tiers", ()))
    if tier and tier not in tiers:
        has = f"it has {', '.join(tiers)}" if tiers else "it has none"
        raise ConfigError(f"{path} has no tier {tier!r}, {has}", hint=did_you_mean(tier, tiers))
    points = [point for entry in raw["point"] for point in _expand(entry, path, tier, tiers, rounds)]
    if not points:
        which = f"tier {tier!r}" if tier else "a run without a tier"
        raise ConfigError(f"{path} has no points for {which}", hint=f"it has tiers: {', '.join(tiers)}")
    elsewhere = {entry["name"] for entry in raw["point"]} - {point.family for point in points}
    _check_apart(points, path)
    named = [_pair(entry, path, rounds) for entry in raw.get("pair", ())]
    points, pairs = pair_up(resolve_needs(points, elsewhere, path), named, elsewhere, path)
    name, title = raw.get("name", path.stem), raw.get("title", path.stem)
    suite = Suite(name, title, path, tuple(points), tiers, tier, pairs)
    visits(suite)  # a pair that cannot take turns is refused here
    return suite


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no suite {path}", hint="give the path of a .toml file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="give a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint="mend that line") from None


def _pair(entry: Mapping[str, Any], path: Path, rounds: int | None) -> Pair:
    _check_keys(entry, _PAIR_KEYS, where=f"{path}, a pair")
    if "a" not in entry or "b" not in entry:
        raise ConfigError(f"{path}: a pair lacks its a or its b: {dict(entry)}", hint="name two points")
    return Pair(entry["a"], entry["b"], rounds or entry.get("rounds", PAIR_ROUNDS))


def _expand(
    entry: Mapping[str, Any], path: Path, tier: str, tiers: tuple[str, ...], rounds: int | None
) -> list[Point]:
    """Return the points of an entry: none where the tier does not have it, several where it has a matrix."""
    name = entry.get("name")
    where = f"{path}, point {name!r}"
    _check_keys(entry, _POINT_KEYS, where=where)
    if name is None or "notebook" not in entry:
        raise ConfigError(f"{path}: a point lacks its name or its notebook: {dict(entry)}", hint="add both")
    notebook = path.parent / entry["notebook"]
    if not notebook.is_file():
        raise ConfigError(f"{where}: there is no notebook {notebook}", hint="paths are relative to the suite")
    for named in [*entry.get("tiers", {}), *entry.get("only", ())]:
        if named not in tiers:
            raise ConfigError(f"{where}: tier {named!r} is not declared", hint=did_you_mean(named, tiers))
    of_tiers = {each: dict(values) for each, values in entry.get("tiers", {}).items()}
    matrices = {each: _matrix(values.pop("matrix", {}), where) for each, values in of_tiers.items()}
    of_tier = of_tiers.get(tier, {})
    matrix = _matrix(entry.get("matrix", {}), where) | matrices.get(tier, {})
    if tier not in entry.get("only", [tier]):
        return []
    points = []
    for combination in itertools.product(*matrix.values()):
        chosen = dict(zip(matrix, combination, strict=True))
        suffix = "[" + ",".join(f"{key}={value}" for key, value in chosen.items()) + "]" if chosen else ""
        points.append(
            Point(
                name=name + suffix,
                title=entry.get("title", name) + suffix,
                notebook=notebook,
                parameters={**entry.get("parameters", {}), **of_tier, **chosen},
                timeout_s=float(entry.get("timeout_s", 600)),
                memory_bytes=int(entry["memory_mib"] * MIB) if "memory_mib" in entry else None,
                needs=tuple(entry.get("needs", ())),
                produces=tuple(entry.get("produces", ())),
                rounds=rounds or entry["rounds"] if "rounds" in entry else 1,
                family=name,
            )
        )
    return points


def _matrix(matrix: Any, where: str) -> dict[str, list[Any]]:
    if not _is_table(matrix):
        raise ConfigError(f"{where}: matrix = {matrix!r}", hint="matrix is a table of lists")
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where}: the matrix has no values for {key!r}", hint=f"write {key} = [1, 2]")
    return dict(matrix)


def _check_keys(raw: Mapping[str, Any], known: _Kinds, *, where: str) -> None:
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(key, known))
        kind, fits = known[key]
        if not fits(value):
            raise ConfigError(f"{where}: {key} = {value!r}", hint=f"{key} is {kind}")


def _check_apart(points: Sequence[Point], path: Path) -> None:
    """No two points may write one file: which ran last would decide what a later one reads."""
    names: set[str] = set()
    owners: dict[str, str] = {}
    for point in points:
        if point.name in names:
            raise ConfigError(f"{path}: two points are called {point.name!r}", hint="rename one")
        names.add(point.name)
        for file in (f"notebooks/{point.stem}.ipynb".lower(), *point.produces):
            if file in owners:
                raise ConfigError(
                    f"{path}: {owners[file]!r} and {point.name!r} both write {file}", hint="rename one"
                )
            owners[file] = point.name
