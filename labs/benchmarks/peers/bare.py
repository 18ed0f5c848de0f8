"""The ceiling: processes that run the model on the same items and nothing else.

Each waits on its standard input for a line ``SECONDS BATCH`` and answers with items per second and CPU
microseconds per item. They stay open between measurements (idle, no CPU), so that a reading takes a second
and can stand between any two systems.

    python -m peers.bare
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from peers.workload import WORKERS, Given
from scalelab.core.processes import start, stop_tree

BATCHES = (1, 4, 8, 16)
ITEMS = 64
COST = 0.05


class Ceiling:
    """Two processes of one thread each; use as a context."""

    def __init__(self, given: Given, environment: dict[str, str], *, processes: int = WORKERS):
        self._given, self._environment, self._count = given, environment, processes
        self.batch = 0
        """at which it is fastest"""
        self.largest = 0
        """the largest batch that costs it at most `COST`"""
        self.cpu_us: list[float] = []
        """of one item, at the best batch size, reading by reading"""

    def __enter__(self) -> Ceiling:
        command = [sys.executable, "-m", "peers.bare"]
        self._processes = [start(command, env=self._environment, pipes=True) for _ in range(self._count)]
        for process in self._processes:
            self._line(process)  # ready
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with process:  # closes its pipes
                stop_tree(process.pid, grace_s=0)

    def find_batch(self, seconds: float = 0.4, turns: int = 3) -> float:
        """Choose `batch` and `largest` by turns of all sizes; return the highest rate."""
        rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
        for _ in range(turns):
            for batch, found in rates.items():
                found.append(self.measure(seconds, batch))
        middle = {batch: statistics.median(found) for batch, found in rates.items()}
        self.batch = max(middle, key=lambda batch: middle[batch])
        self.largest = max(batch for batch in BATCHES if middle[batch] >= (1 - COST) * middle[self.batch])
        return middle[self.batch]

    def measure(self, seconds: float, batch: int = 0) -> float:
        """Return items per second of all processes together, at `batch` or at the best."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"%f %d\n" % (seconds, batch or self.batch))
            process.stdin.flush()
        answers = [tuple(map(float, self._line(process).split())) for process in self._processes]
        if not batch:
            self.cpu_us.append(sum(cpu_us for _, cpu_us in answers) / len(answers))
        return sum(rate for rate, _ in answers)

    @staticmethod
    def _line(process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line:
            raise RuntimeError(f"the bare runtime ended with exit code {process.wait()}")
        return line


def main() -> None:
    """Serve measurements until standard input ends."""
    given = Given.read()
    model, items = given.warm(), given.workload.items(ITEMS)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        seconds, batch = float(line.split()[0]), int(line.split()[1])
        batches = [items[at : at + batch] for at in range(0, ITEMS, batch)]
        done, started_s, cpu_s = 0, time.perf_counter(), time.process_time()
        while (spent_s := time.perf_counter() - started_s) < seconds:
            for chunk in batches:
                model.predict_batch(chunk)
            done += ITEMS
        sys.stdout.write(f"{done / spent_s} {1e6 * (time.process_time() - cpu_s) / done}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
