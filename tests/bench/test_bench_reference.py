"""The work by which machines are compared: the same each time, on one thread."""

import subprocess
import sys

import pytest

from scalelab.bench import reference

ALONE = """
import time
from scalelab.bench.reference import measure_reference
measure_reference()  # the threads of a BLAS that was just loaded spin for a moment
wall, cpu = time.perf_counter(), time.process_time()
measure_reference()
print((time.process_time() - cpu) / (time.perf_counter() - wall))
"""


def test_it_is_the_median_of_its_blocks(monkeypatch):
    ticks = iter([0.0, 5.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(reference.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(reference, "_STEPS", 1)
    assert reference.measure_reference() == 2.0


def test_twice_the_work_takes_longer(monkeypatch):
    once = min(reference.measure_reference() for _ in range(3))
    for name in ("_PRODUCTS", "_STEPS", "_COPIES"):
        monkeypatch.setattr(reference, name, 4 * getattr(reference, name))
    assert reference.measure_reference() > once


@pytest.mark.slow
def test_it_keeps_to_one_thread():
    """In a process of its own: of CPU time and wall time, only one thread's work keeps the ratio to 1."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.15
