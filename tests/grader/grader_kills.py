"""Runs that are killed with -9, for a test; scripts/grading_killed.py does it at 20 moments."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from scalelab.gradebook import write_gradebook
from scalelab.grader.run import RESULTS

COMMAND = """
import sys
from pathlib import Path
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import run_grading
lab, submissions, out, key = map(Path, sys.argv[1:5])
run_grading(GradedLab.load(lab), submissions, out, jobs=2, key_file=key)
"""


def start(lab: Path, submissions: Path, out: Path, key: Path) -> subprocess.Popen[bytes]:
    """Start a run of two judges as a process of its own."""
    words = [sys.executable, "-c", COMMAND, *map(str, (lab, submissions, out, key))]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a run with -9; tell whether it still ran. Nothing that it started may be left."""
    is_running = process.poll() is None
    below = psutil.Process(process.pid).children(recursive=True) if is_running else []
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert alive == [], alive
    return is_running


def wait_for_rows(process: subprocess.Popen[bytes], out: Path, count: int, *, within_s: float = 120) -> None:
    """Wait until a run has written so many rows, or has ended."""
    until = time.monotonic() + within_s
    while process.poll() is None and time.monotonic() < until:
        if (out / RESULTS).exists() and (out / RESULTS).read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.002)


def gradebooks(out: Path) -> dict[str, bytes]:
    """Return all tables and pages for students that the rows in `out` give."""
    write_gradebook(out)
    files = [*sorted(out.glob("*.csv")), *sorted((out / "feedback").iterdir())]
    return {path.name: path.read_bytes() for path in files}
