"""All engines in turn, A B C, C B A, ...: what slows the machine for a moment slows neighbours alike."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.question import Row, rows
from scalelab.core.errors import ConfigError, RunFailed, did_you_mean
from scalelab.core.lazy import is_installed
from scalelab.core.processes import run
from scalelab.core.stats import PairedRatio, paired_ratio
from scalelab.data import FlightFiles

ENGINES = {
    "pandas": ("by_pandas", "pandas"),
    "polars": ("by_polars", "polars"),
    "duckdb": ("by_duckdb", "duckdb"),
    "dask": ("by_dask", "dask.dataframe"),
    "spark": ("by_spark", "pyspark"),
    "python": ("question", "csv"),
}
"""engine -> its module here, and the package that must be installed; `python` is the plain loop"""


@dataclass
class Seen:
    """What one engine did, a value each round."""

    name: str
    query_s: list[float] = field(default_factory=list)
    """from the files to the rows; the import is not in it"""
    total_s: list[float] = field(default_factory=list)
    """of the whole process: start, import, question"""
    peak_bytes: list[float] = field(default_factory=list)
    """resident, Spark's Java included"""
    answers: list[list[Row]] = field(default_factory=list)
    problem: str = ""
    """why there is no further round: a limit passed, or an error"""


def choose(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the engines of `names` that can run here, and for each other one why not.

    Raises:
        ConfigError: an unknown engine, or none that can run here.
    """
    for name in names:
        if name not in ENGINES:
            raise ConfigError(f"there is no engine {name!r}", hint=did_you_mean(name, ENGINES))
    absent = {name: f"{_package(name)} is not installed" for name in names if not _is_here(name)}
    chosen = [name for name in names if name not in absent]
    if not chosen:
        raise ConfigError(f"none of {', '.join(names)} is installed", hint='pip install "scalelab[data]"')
    return chosen, absent


def take_turns(
    names: Sequence[str],
    files: FlightFiles,
    *,
    rounds: int,
    threads: int,
    memory_bytes: int | None,
    timeout_s: float,
    say: Callable[[str], None] = print,
) -> dict[str, Seen]:
    """Ask each engine once a round; one that breaks a limit is asked no more, and the rest goes on."""
    seen = {name: Seen(name) for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            if not seen[name].problem:
                _ask(seen[name], files, threads, memory_bytes, timeout_s)
                say(f"round {number + 1}, {name}: {seen[name].problem or f'{seen[name].query_s[-1]:.2f} s'}")
    return seen


def ratio(slow: Seen, fast: Seen) -> PairedRatio:
    """Return how many times longer the first took than the second, from rounds that both ended."""
    pairs = min(len(slow.query_s), len(fast.query_s))
    return paired_ratio(slow.query_s[:pairs], fast.query_s[:pairs])


def _ask(seen: Seen, files: FlightFiles, threads: int, memory_bytes: int | None, timeout_s: float) -> None:
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "answer.json"
        command = [sys.executable, "-m", "engines.child", ENGINES[seen.name][0], *map(str, files)]
        try:
            finished = run(
                [*command, str(threads), str(out)],
                timeout_s=timeout_s,
                memory_bytes=memory_bytes,
                cwd=Path(__file__).resolve().parents[1],
                env={"POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
            )
        except RunFailed as error:
            seen.problem = error.message.splitlines()[0]
            return
        if finished.returncode != 0:
            seen.problem = finished.output.rpartition("\n")[2] or f"exit code {finished.returncode}"
            return
        told = json.loads(out.read_text(encoding="utf-8"))
    seen.query_s.append(told["query_s"])
    seen.total_s.append(finished.wall_s)
    seen.peak_bytes.append(max(told["peak_bytes"], finished.peak_memory_bytes))
    seen.answers.append(rows(told["rows"]))


def _package(name: str) -> str:
    return ENGINES[name][1].partition(".")[0]


def _is_here(name: str) -> bool:
    return is_installed(_package(name)) and is_installed(ENGINES[name][1])
