"""What a benchmark point costs over its notebook's own work: process, kernel, papermill, reference, records.

    python scripts/bench_harness.py [--points 10]

Runs points of a trivial notebook as `scalelab bench run` does, and prints for each part the median of the
points, the lowest and the highest. Wall seconds mean something on an idle machine only; processor seconds
nearly anywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from scalelab.bench import Point, load_suite, run_suite
from scalelab.core.machine import Neighbours
from scalelab.core.records import RecordStore, RunRecord

NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "cells": [
        {"cell_type": "code", "id": "parameters", "metadata": {"tags": ["parameters"]}, "outputs": [],
         "execution_count": None, "source": 'number: int = 0\nrecord_path: str = ""'},
        {"cell_type": "code", "id": "work", "metadata": {}, "outputs": [], "execution_count": None,
         "source": "from scalelab.bench import write_record\nfrom scalelab.core.records import metric\n"
                   'write_record(record_path, "", parameters={}, metrics=[metric("nothing", "1", number)])'},
    ],
}  # fmt: skip
TARGET_S = 3.0


class Stopwatch:
    """A watcher that notes what each point took, from its begin to its record in the store."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}
        self._began = (0.0, 0.0)

    def started(self, point: Point, number: int, total: int, remaining: object = None) -> None:
        """Note when a point begins."""
        self._began = (time.perf_counter(), _cpu_s())

    def tick(self) -> None:
        """Do nothing."""

    def ended(self, point: Point, status: str, seconds: float, detail: str) -> None:
        """Note what a point took."""
        if status != "done":
            raise SystemExit(f"{point.name} {status}: {detail}")
        self.wall_s[point.name] = time.perf_counter() - self._began[0]
        self.cpu_s[point.name] = _cpu_s() - self._began[1]


def _cpu_s() -> float:
    """Return the processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def measure(points: int, folder: Path) -> tuple[dict[str, list[float]], float]:
    """Run points; return the seconds of each part, a value a point, and the others' share of the machine."""
    (folder / "trivial.ipynb").write_text(json.dumps(NOTEBOOK))
    matrix = f"[point.matrix]\nnumber = {list(range(points))}\n"
    (folder / "harness.toml").write_text(f'[[point]]\nname = "p"\nnotebook = "trivial.ipynb"\n{matrix}')
    watch, beside = Stopwatch(), Neighbours()
    run_suite(load_suite(folder / "harness.toml"), folder / "out", watcher=watch)
    parts: dict[str, list[float]] = {}
    for record in RecordStore(folder / "out" / "records.jsonl").read():
        name = record.subject.partition("/")[2]
        for part, seconds in _parts(record, watch.wall_s[name], watch.cpu_s[name], folder / "out").items():
            parts.setdefault(part, []).append(seconds)
    return parts, beside.share()


def _parts(record: RunRecord, wall_s: float, cpu_s: float, out: Path) -> dict[str, float]:
    executed = json.loads((out / record.run["executed"]).read_text())
    own_s = sum(cell["metadata"]["papermill"]["duration"] for cell in executed["cells"])
    papermill_s = executed["metadata"]["papermill"]["duration"]
    child_s = record.metric("point_seconds").values[0]
    return {
        "harness: wall over the notebook's own work": wall_s - own_s,
        "  papermill's run over its cells (kernel starts, ends)": papermill_s - own_s,
        "  the child over papermill's run (interpreter, imports)": child_s - papermill_s,
        "  around the child (reference twice, records)": wall_s - child_s,
        "the notebook's own work": own_s,
        "processor time, the notebook's included": cpu_s,
    }


def main() -> None:
    """Measure, and print a line a part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts, others = measure(given.points, Path(folder))
    print(f"{'seconds, n = ' + str(given.points):<56} median  lowest highest")
    for part, seconds in parts.items():
        print(f"{part:<56} {statistics.median(seconds):6.2f}  {min(seconds):6.2f}  {max(seconds):6.2f}")
    cost_s = statistics.median(next(iter(parts.values())))
    word = "under" if cost_s < TARGET_S else "NOT under"
    print(f"the median is {word} {TARGET_S:g} s; others had {100 * others:.0f} % of the machine meanwhile")


if __name__ == "__main__":
    main()
