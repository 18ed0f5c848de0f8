"""Kill the grader at random moments of a run, run it again, and compare the gradebooks byte for byte.

``python tests/grader/grader_kills.py --moments 20 --submissions 60`` prints what it found, and ends in an
error if a gradebook differs or a process is left. The test of the same is in test_grader_run.py, in short.
"""

from __future__ import annotations

import argparse
import difflib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grader_light as light
import grader_tiny as tiny
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


def show_differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    """Print the first lines that differ in each file."""
    for name in sorted(set(found) | set(wanted)):
        here, there = (books.get(name, b"").decode().splitlines() for books in (found, wanted))
        for line in list(difflib.unified_diff(there, here, "undisturbed", name, n=0, lineterm=""))[:8]:
            print(f"    {line[:200]}")


def main() -> None:
    """Measure; see the top of the file."""
    options = argparse.ArgumentParser()
    options.add_argument("--moments", type=int, default=20)
    options.add_argument("--submissions", type=int, default=60)
    options.add_argument("--lab", choices=("light", "tiny"), default="light", help="tiny: with torch")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        key = root / "key"
        key.write_text("secret")
        if given.lab == "light":
            lab = light.make_lab(root / "lab")
            submissions = light.fill_class(root / "class", given.submissions)
        else:
            lab, submissions = tiny.LAB, root / "class"
            submissions.mkdir()
            for number in range(given.submissions):
                answers = (tiny.RIGHT, tiny.HALF, tiny.WRONG, {})[number % 4]
                (submissions / f"student{number:03}.ipynb").write_bytes(tiny.raw(answers))
        started = time.monotonic()
        assert start(lab, submissions, root / "calm", key).wait() == 0
        whole_s = time.monotonic() - started
        wanted = gradebooks(root / "calm")
        print(f"undisturbed: {given.submissions} submissions in {whole_s:.1f} s, {len(wanted)} files")
        alive = equal = 0
        for moment in range(given.moments):
            out = root / f"out{moment}"
            after_s = rng.uniform(0.05, whole_s)
            process = start(lab, submissions, out, key)
            time.sleep(after_s)
            was_alive = kill(process)
            kept = (out / RESULTS).read_bytes().count(b"\n") if (out / RESULTS).exists() else 0
            assert start(lab, submissions, out, key).wait() == 0
            found = gradebooks(out)
            is_equal = found == wanted
            show_differences(found, wanted)
            alive, equal = alive + was_alive, equal + is_equal
            print(f"killed after {after_s:5.1f} s ({kept:3} rows): {'equal' if is_equal else 'DIFFERENT'}")
        print(
            f"{equal} of {given.moments} gradebooks equal the undisturbed one; {alive} runs were still going"
        )
        sys.exit(equal != given.moments)


if __name__ == "__main__":
    main()
