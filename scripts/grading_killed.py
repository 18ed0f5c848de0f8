"""The grader is killed with -9 at random moments of a run, and the same command finishes the class.

    python scripts/grading_killed.py [--moments 20] [--students 60] [--seed 0]

An undisturbed run gives the gradebook. Each trial starts the command afresh, kills it at a random moment
(while it starts, or after a random number of rows), looks for processes that outlived it, starts the command
again to its end, and compares every table of the gradebook byte by byte. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from grading_class import ROOT, adopt_orphans, grade, hand_in, misjudged, tree

TABLES = ("gradebook.csv", "canvas.csv", "moodle.csv", "nbgrader.csv")
GRACE_S = 20.0


def run(command: list[str], *, kill_when: Callable[[], bool] = lambda: False) -> tuple[float, bool]:
    """Run a command; return how long it took, and whether it was killed."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if kill_when():
                process.send_signal(signal.SIGKILL)
                process.wait()
                return time.monotonic() - began, True
            time.sleep(0.02)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode(errors="replace")[-3000:])
    return time.monotonic() - began, False


def moment(rng: random.Random, out: Path, students: int) -> tuple[str, Callable[[], bool]]:
    """Choose a moment: while the judges start, or so many rows into the class and a moment later."""
    rows, pause_s = rng.randrange(-students // 6, students), rng.uniform(0, 0.5)
    began = time.monotonic()
    if rows < 0:
        start_s = -rows * pause_s
        return f"after {start_s:.1f} s", lambda: time.monotonic() - began > start_s
    reached_s: list[float] = []

    def is_due() -> bool:
        if not reached_s and row_count(out) >= rows:
            reached_s.append(time.monotonic())
        return bool(reached_s) and time.monotonic() - reached_s[0] > pause_s

    return f"after {rows} rows and {pause_s:.2f} s", is_due


def row_count(out: Path) -> int:
    """Return how many whole rows there are."""
    path = out / "results.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def tables(out: Path) -> dict[str, bytes]:
    """Return the tables of a gradebook."""
    found = {name: (out / name).read_bytes() for name in TABLES if (out / name).exists()}
    assert "gradebook.csv" in found, os.listdir(out)
    return found


def survivors() -> list[int]:
    """Return the processes below this one, orphans among them, once they had time to end."""
    until = time.monotonic() + GRACE_S
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        found = tree(os.getpid())[1:]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def main() -> int:
    """Run the trials and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    wrong = killed = 0
    with tempfile.TemporaryDirectory(prefix="killed-") as place:
        folder = Path(place)
        adopt_orphans()
        submissions = hand_in(folder / "class", given.students)
        seconds, _ = run(grade(submissions, folder / "calm", jobs=2))
        wanted = tables(folder / "calm")
        print(f"undisturbed: {seconds:.1f} s, {given.students} submissions, seed {given.seed}", flush=True)
        for trial in range(given.moments):
            out = folder / f"trial{trial}"
            command = grade(submissions, out, jobs=2)
            when, is_due = moment(rng, out, given.students)
            _, was_killed = run(command, kill_when=is_due)
            killed += was_killed
            left = survivors()
            rows = row_count(out)
            run(command)
            faults = [f"left running: {left}"] * bool(left) + misjudged(out, given.students)
            faults += [name for name, content in tables(out).items() if content != wanted.get(name)]
            wrong += bool(faults)
            how = f"killed {when}" if was_killed else f"had ended {when}"
            print(
                f"trial {trial + 1}: {how}, with {rows} rows: {faults or 'the same'}",
                flush=True,
            )
    print(
        f"{given.moments} trials, {killed} killed, {given.moments - wrong} gradebooks the same byte for byte"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
