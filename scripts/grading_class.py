"""A class of the tiny lab (tests/grader) for the grader's benchmarks, and how a run is measured."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "grader")]

from grader_tiny import HALF, LAB, POINTS, RIGHT, WRONG, notebook, release  # noqa: E402

from scalelab.grading.grades import read_grades  # noqa: E402

__all__ = [
    "KINDS", "LAB", "POINTS", "RIGHT", "ROOT", "Usage", "adopt_orphans", "expected", "grade", "hand_in",
    "kind_of", "measure", "misjudged", "release", "student", "tree",
]  # fmt: skip

BROKEN = {
    name: text.replace(":\n", ":\n    raise ValueError('not yet')\n", 1) for name, text in RIGHT.items()
}
KINDS: Mapping[str, tuple[Mapping[str, str], float]] = {
    "right": (RIGHT, POINTS),
    "half": (HALF, 6.0),
    "wrong": (WRONG, 0.0),
    "raises": (BROKEN, 0.0),
    "does not parse": ({**RIGHT, "softmax": "def softmax(x:\n    return x"}, 10.0),
}
_CYCLE = ("right", "wrong", "raises", "right", "half", "right", "wrong", "does not parse", "right", "half")


def student(number: int) -> str:
    """Return a student's name."""
    return f"student{number:04d}"


def kind_of(number: int) -> str:
    """Return what kind of submission a student has: 4 of 10 right, 2 half right, 2 wrong, 2 with errors."""
    return _CYCLE[number % len(_CYCLE)]


def expected(number: int) -> float:
    """Return the points that are due."""
    return KINDS[kind_of(number)][1]


def hand_in(folder: Path, count: int, *, first: int = 0) -> Path:
    """Write the submissions of a class, one folder a student."""
    for number in range(first, first + count):
        place = folder / student(number)
        place.mkdir(parents=True)
        text = json.dumps(notebook(KINDS[kind_of(number)][0]))
        (place / "lab.ipynb").write_text(text, encoding="utf-8")
    return folder


def grade(submissions: Path, out: Path, *, jobs: int) -> list[str]:
    """Return the command that grades them."""
    words = [sys.executable, "-m", "scalelab", "grade", str(LAB), str(submissions), "--out", str(out)]
    return [*words, "--jobs", str(jobs), "--require-sandbox"]


def misjudged(out: Path, count: int) -> list[str]:
    """Return who has not the points that are due."""
    found = {each.student: each.points for each in read_grades(out / "results.jsonl")}
    due = {student(number): expected(number) for number in range(count)}
    return [
        f"{name}: {found.get(name)}, due are {due.get(name)}" for name in due if found.get(name) != due[name]
    ]


@dataclass(frozen=True)
class Usage:
    """What a command took, with all that it started."""

    seconds: float
    cpu_s: float
    peak_pss_bytes: int = 0
    """proportional set size of all processes together; 0 if it was not watched"""
    rows_per_minute: float = 0.0
    """from the tenth row to the last one: without the start; 0 if no rows were watched"""


def measure(command: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None,
            watch_memory: bool = False, rows: Path | None = None) -> Usage:  # fmt: skip
    """Run a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    adopt_orphans()
    before, began = _cpu_s(), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    memory = _Memory(process.pid) if watch_memory else None
    seen = _Rows(rows) if rows else None
    said = process.communicate()[0].decode(errors="replace")
    seconds = time.perf_counter() - began
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said[-3000:]}")
    return Usage(seconds, _cpu_s() - before, memory.close() if memory else 0, seen.close() if seen else 0.0)


def adopt_orphans() -> None:
    """Let orphans below this process become its children (Linux): their CPU seconds count, none is lost."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Rows:
    """Watches rows come into a file."""

    def __init__(self, path: Path):
        self._path, self._ended = path, threading.Event()
        self._seen: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> float:
        """Return rows a minute."""
        self._ended.set()
        self._thread.join()
        late = [(when, count) for when, count in self._seen if count >= 10]
        if len(late) < 2 or late[-1][1] == late[0][1]:
            return 0.0
        return 60 * (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            count = self._path.read_bytes().count(b"\n") if self._path.exists() else 0
            if count and (not self._seen or self._seen[-1][1] != count):
                self._seen.append((time.perf_counter(), count))


class _Memory:
    """Watches the proportional memory of a process and all below it."""

    def __init__(self, pid: int):
        self._pid, self._peak, self._ended = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self._peak = max(self._peak, sum(map(_pss, tree(self._pid))))


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            children.setdefault(int(parent), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
