"""The ceiling: processes that run the model on the same items and nothing else.

Each waits on its standard input for a line ``SECONDS BATCH`` and answers with items per second. They stay
open between measurements (idle, no CPU), so that one takes two seconds and can stand between any two systems.

    python -m peers.bare
"""

from __future__ import annotations

import subprocess
import sys
import time

from peers.workload import WORKERS, Given
from scalelab.core.processes import start, stop_tree

BATCHES = (1, 8, 16)
ITEMS = 64


class Ceiling:
    """Two processes of one thread each; use as a context."""

    def __init__(self, given: Given, environment: dict[str, str], *, processes: int = WORKERS):
        self._given, self._environment, self._count = given, environment, processes
        self.batch = 0

    def __enter__(self) -> Ceiling:
        command = [sys.executable, "-m", "peers.bare"]
        self._processes = [start(command, env=self._environment, pipes=True) for _ in range(self._count)]
        for process in self._processes:
            self._line(process)  # ready
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            stop_tree(process.pid, grace_s=0)
            process.wait()

    def find_batch(self, seconds: float = 0.7) -> float:
        """Choose the batch size that gives the most; return that rate."""
        rates = {batch: self.measure(seconds, batch) for batch in BATCHES}
        self.batch = max(rates, key=lambda batch: rates[batch])
        return rates[self.batch]

    def measure(self, seconds: float, batch: int = 0) -> float:
        """Return items per second of all processes together, at `batch` or at the best."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"%f %d\n" % (seconds, batch or self.batch))
            process.stdin.flush()
        return sum(float(self._line(process)) for process in self._processes)

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
        done, started_s = 0, time.perf_counter()
        while (spent_s := time.perf_counter() - started_s) < seconds:
            for chunk in batches:
                model.predict_batch(chunk)
            done += ITEMS
        sys.stdout.write(f"{done / spent_s}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
