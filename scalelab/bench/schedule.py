"""The order in which a suite's points run: what they need goes first, and the two of a pair take turns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from scalelab.bench.suite import Point, Suite


@dataclass(frozen=True)
class Pair:
    """Two points that are to be compared: they take turns for so many rounds."""

    a: str
    b: str
    rounds: int


@dataclass(frozen=True)
class Visit:
    """One round of a point."""

    point: Point
    round: int
    """from 0"""

    @property
    def group(self) -> str:
        """What runs on one machine, one after the other: a pair, or the rounds of a point; else empty."""
        if self.point.pair:
            return " | ".join(sorted((self.point.name, self.point.pair)))
        return self.point.name if self.point.rounds > 1 else ""

    @property
    def stem(self) -> str:
        """Name of its files."""
        return self.point.stem + (f".r{self.round}" if self.round else "")


def visits(suite: Suite) -> tuple[Visit, ...]:
    """Return all rounds of all points in the order they run.

    Points run as they stand in the file, each with all its rounds, so that what needs it finds what its last
    round left. The two of a pair take turns, x y y x x y ..., where the first stands or, if the second needs
    more than is there by then, later. So a slow drift of the machine hits both alike.

    Raises:
        ConfigError: one of a pair needs the other, itself or through other points.
    """
    waiting = list(_units(suite))
    order: list[Visit] = []
    gone: set[str] = set()
    while waiting:
        unit = next(
            (unit for unit in waiting if {need for point in unit for need in point.needs} <= gone), None
        )
        if unit is None:
            a, b = (point.name for point in next(unit for unit in waiting if len(unit) == 2))
            raise ConfigError(
                f"{suite.path}: {a!r} and {b!r} cannot take turns: one needs what comes of the other",
                hint="mend `needs`, or take the [[pair]] away",
            )
        waiting.remove(unit)
        gone.update(point.name for point in unit)
        for number in range(unit[0].rounds):
            order += [Visit(point, number) for point in (unit[::-1] if number % 2 else unit)]
    return tuple(order)


def _units(suite: Suite) -> Iterator[tuple[Point, ...]]:
    """Yield what runs as one block: a point, or a pair with its `a` first, in the order of the file."""
    pairs = {
        name: (suite.point(pair.a), suite.point(pair.b)) for pair in suite.pairs for name in (pair.a, pair.b)
    }
    seen: set[str] = set()
    for point in suite.points:
        if point.name not in seen:
            unit = pairs.get(point.name, (point,))
            seen.update(one.name for one in unit)
            yield unit


def pair_up(
    points: Iterable[Point], pairs: Iterable[Pair], elsewhere: Collection[str], path: Path
) -> tuple[list[Point], tuple[Pair, ...]]:
    """Return `points` with what they are paired with, and the pairs; those of other tiers are left out.

    Args:
        elsewhere: names of points, before their matrix, that only other tiers have.

    Raises:
        ConfigError: a pair of an unknown point, of one with itself, or of one that stands in another pair.
    """
    found = {point.name: point for point in points}
    kept = []
    for pair in pairs:
        away = [name for name in (pair.a, pair.b) if name not in found]
        for name in away:
            if name.partition("[")[0] not in elsewhere:
                raise ConfigError(f"{path}: a pair names {name!r}", hint=did_you_mean(name, found))
        if away:
            continue
        if pair.a == pair.b:
            raise ConfigError(f"{path}: {pair.a!r} is paired with itself", hint="name two points")
        for name, other in ((pair.a, pair.b), (pair.b, pair.a)):
            if found[name].pair:
                raise ConfigError(
                    f"{path}: {name!r} stands in two pairs", hint="give a second point its parameters"
                )
            found[name] = replace(found[name], pair=other, rounds=pair.rounds)
        kept.append(pair)
    return list(found.values()), tuple(kept)


def resolve_needs(points: Sequence[Point], elsewhere: Collection[str], path: Path) -> list[Point]:
    """Return `points` with each need a point's name: that of a matrix stands for all of its points.

    Raises:
        ConfigError: a need that does not stand above its point, which rules cycles out.
    """
    above: dict[str, list[str]] = {}
    resolved: list[Point] = []
    for number, point in enumerate(points):
        for need in point.needs:
            if need not in above or any(need == later.family for later in points[number:]):
                raise _not_above(point.name, need, points, above, elsewhere, path)
        needs = dict.fromkeys(name for need in point.needs for name in above[need])
        resolved.append(replace(point, needs=tuple(needs)))
        above.setdefault(point.family, []).append(point.name)
        above[point.name] = [point.name]
    return resolved


def _not_above(
    name: str,
    need: str,
    points: Sequence[Point],
    above: Iterable[str],
    elsewhere: Collection[str],
    path: Path,
) -> ConfigError:
    if need.partition("[")[0] in elsewhere:
        return ConfigError(
            f"{path}: {name!r} needs {need!r}, which this tier does not have",
            hint="let both have the same tiers",
        )
    way = _way(need, name, points, ())
    if way:
        return ConfigError(
            f"{path}: a cycle: {' needs '.join([name, *way])}", hint="take one of these needs away"
        )
    below = any(need in (point.name, point.family) for point in points)
    return ConfigError(
        f"{path}: {name!r} needs {need!r}, which does not stand above it",
        hint="move it above" if below else did_you_mean(need, above) if above else "name a point above it",
    )


def _way(start: str, goal: str, points: Sequence[Point], been: tuple[str, ...]) -> list[str]:
    """Return the points on a way of needs from `start` to `goal`, both with it; empty: there is none."""
    if start == goal:
        return [goal]
    for point in points:
        if start in (point.name, point.family) and start not in been:
            for need in point.needs:
                if way := _way(need, goal, points, (*been, start)):
                    return [start, *way]
    return []
