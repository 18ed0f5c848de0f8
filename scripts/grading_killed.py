"""The grader is killed with -9 at random moments of a run, and the same command finishes the class.

    python scripts/grading_killed.py [--moments 20] [--students 60] [--seed 0]

An undisturbed run gives the gradebook and its duration T. Each trial starts the command afresh, kills it
after a random part of T, looks for processes that outlived it, starts the command again to its end, and
compares every table of the gradebook byte by byte. Exit code 1 if anything differs.
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
from pathlib import Path

from grading_class import ROOT, adopt_orphans, grade, hand_in, misjudged, tree

from scalelab.grading.grades import scan_grades

TABLES = ("gradebook.csv", "canvas.csv", "moodle.csv", "nbgrader.csv")
GRACE_S = 20.0


def run(command: list[str], *, kill_after_s: float | None = None) -> tuple[float, bool]:
    """Run a command; return how long it took, and whether it was killed."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said = process.communicate(timeout=kill_after_s)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
        return time.monotonic() - began, True
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace")[-3000:])
    return time.monotonic() - began, False


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
            moment_s = rng.uniform(0.02, 0.98) * seconds
            _, was_killed = run(command, kill_after_s=moment_s)
            killed += was_killed
            left = survivors()
            rows = sum(1 for _ in scan_grades(out / "results.jsonl"))
            run(command)
            faults = [f"left running: {left}"] * bool(left) + misjudged(out, given.students)
            faults += [name for name, content in tables(out).items() if content != wanted.get(name)]
            wrong += bool(faults)
            how = "killed" if was_killed else "had ended"
            print(
                f"trial {trial + 1}: {how} at {moment_s:.1f} s with {rows} rows: {faults or 'the same'}",
                flush=True,
            )
    print(
        f"{given.moments} trials, {killed} killed, {given.moments - wrong} gradebooks the same byte for byte"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
