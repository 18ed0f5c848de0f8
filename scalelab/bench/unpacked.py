"""A bundle's suite and notebooks as files, after a look that reading them does no harm; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.bench.evidence import GET_ANOTHER, SOURCES, SUITE, plain, tables_of
from scalelab.core.errors import DataError

MAX_RUNS = 100_000
"""of a suite"""


def lay_out(members: Mapping[str, bytes], folder: Path) -> Path:
    """Write the sources of a bundle and its suite into `folder`; return the suite's path."""
    for name, content in members.items():
        if name.startswith(SOURCES):
            target = folder / name.removeprefix(SOURCES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    path = folder / SUITE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(members[SUITE])
    return path


def check_suite(members: Mapping[str, bytes]) -> None:
    """Make sure that a bundle's suite names its own notebooks, and stays small with its matrices multiplied.

    Raises:
        DataError: it does not, or is no TOML.
    """
    points = tables_of(members[SUITE], "point")
    for point in points:
        if f"{SOURCES}{point.get('notebook')}" not in members:
            raise DataError(f"it lacks the notebook {plain(str(point.get('notebook')))!r}", hint=GET_ANOTHER)
    rounds = [table.get("rounds") for table in [*points, *tables_of(members[SUITE], "pair")]]
    most = max((number for number in rounds if type(number) is int), default=1)
    if most * sum(map(_combinations, points)) > MAX_RUNS:
        raise DataError(f"its suite stands for more than {MAX_RUNS} runs", hint=GET_ANOTHER)


def _combinations(point: Mapping[str, Any]) -> int:
    """Return how many combinations the matrix of a point can have, whatever the tier."""
    tiers = point.get("tiers")
    tables = [point, *(tiers.values() if isinstance(tiers, dict) else ())]
    matrices = [table.get("matrix") for table in tables if isinstance(table, dict)]
    longest: dict[str, int] = {}
    for matrix in matrices:
        for key, values in matrix.items() if isinstance(matrix, dict) else ():
            longest[key] = max(longest.get(key, 1), len(values) if isinstance(values, list) else 1)
    return math.prod(longest.values())
