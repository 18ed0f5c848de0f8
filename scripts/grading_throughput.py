"""How fast a class is graded, beside nbgrader on the same lab and the same submissions.

    python scripts/grading_throughput.py [--rounds 3] [--peer-students 30] [--out runs/grading.jsonl]

Each round runs all contestants, in turn forwards and backwards. ScaleLab grades with full isolation
(``--require-sandbox``). Two numbers for speed: a class of 30 from a cold start to its gradebook, and the rate
at which rows come in a larger class, from its tenth row on. CPU seconds are those of all processes that a
command started, also of those that outlived their parent; those of a further submission are the difference of
both classes. One JSON line a contestant.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import grading_peer as peer
from grading_class import ROOT, Usage, expected, grade, hand_in, measure, misjudged, student

from scalelab.core.records import Metric, RecordStore, RunRecord
from scalelab.core.units import MIB

SMALL = 30
TARGETS = {"per minute": 500.0, "times less CPU": 30.0, "cold class [s]": 12.0, "memory [MiB]": 1.2 * 1024}


def run_ours(folder: Path, name: str, count: int, jobs: int, *, watch_memory: bool = False) -> Usage:
    """Grade a class from a cold start, and make sure that every verdict is right."""
    out = folder / f"grades-{name}"
    usage = measure(
        grade(folder / f"class{count}", out, jobs=jobs), watch_memory=watch_memory, rows=out / "results.jsonl"
    )
    assert not (wrong := misjudged(out, count)), wrong
    return usage


def run_peer(folder: Path, round_: int, count: int) -> Usage:
    """Let nbgrader grade a class."""
    course = peer.make_course(folder / f"course-{round_}", count)
    usage = measure(peer.autograde(), cwd=course, env=peer.environment(course))
    given = peer.points(course)
    right = sum(given.get(student(number)) == expected(number) for number in range(count))
    print(f"nbgrader: {right} of {count} as due")
    return usage


def record(subject: str, jobs: int, count: int, usages: list[Usage], **more: list[float]) -> RunRecord:
    """Return the record of a contestant."""
    metrics = [
        Metric("duration", "s", tuple(each.seconds for each in usages)),
        Metric("cpu_per_submission", "s", tuple(each.cpu_s / count for each in usages)),
        Metric("submissions_per_minute", "1/min", tuple(60 * count / each.seconds for each in usages)),
        *(Metric(name, unit, tuple(values)) for (name, _, unit), values in
          ((key.partition(" "), values) for key, values in more.items())),
    ]  # fmt: skip
    return RunRecord(f"grading/{subject}", {"jobs": jobs, "submissions": count}, tuple(metrics))


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peer-students", type=int, default=SMALL, help="submissions for nbgrader; 0: leave it out"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "grading.jsonl")
    parser.add_argument("--class-size", type=int, default=150, help="the larger class, for the rate")
    given = parser.parse_args()
    large_class = given.class_size
    with tempfile.TemporaryDirectory(prefix="grading-") as place:
        folder = Path(place)
        for count in (SMALL, large_class):
            hand_in(folder / f"class{count}", count)
        plan = [
            ("small", SMALL, 2),
            ("large", large_class, 2),
            ("small", SMALL, 1),
            ("large", large_class, 1),
        ]
        ours: dict[tuple[str, int], list[Usage]] = {(name, jobs): [] for name, _, jobs in plan}
        theirs: list[Usage] = []
        for round_ in range(given.rounds):
            for name, count, jobs in plan[:: -1 if round_ % 2 else 1]:
                ours[name, jobs].append(run_ours(folder, f"{name}-{jobs}-{round_}", count, jobs))
            if given.peer_students:
                theirs.append(run_peer(folder, round_, given.peer_students))
        peak = run_ours(folder, "memory", large_class, 2, watch_memory=True).peak_pss_bytes
    store = RecordStore(given.out)
    cpu_s: dict[int, float] = {}
    told: list[str] = []
    for jobs in (1, 2):
        pairs = list(zip(ours["small", jobs], ours["large", jobs], strict=True))
        rate = [large.rows_per_minute for _, large in pairs]
        each = [(large.cpu_s - small.cpu_s) / (large_class - SMALL) for small, large in pairs]
        cpu_s[jobs] = statistics.median(each)
        more = {"further_per_minute 1/min": rate, "cpu_per_further s": each}
        more |= {"peak_memory MiB": [peak / MIB]} if jobs == 2 else {}
        store.append(record(f"ours-{jobs}", jobs, SMALL, ours["small", jobs], **more))
        cold = [small.seconds for small, _ in pairs]
        told.append(
            f"ScaleLab, jobs {jobs}: {_spread(rate)} a minute, {_spread(each)} CPU s each; "
            f"a cold class of {SMALL}: {_spread(cold)} s, "
            f"{_spread([small.cpu_s / SMALL for small, _ in pairs])} CPU s each"
        )
    told.append(
        f"peak memory of the pool at 2 jobs: {peak / MIB:.0f} MiB (target < {TARGETS['memory [MiB]']:.0f})"
    )
    if theirs:
        store.append(record("nbgrader", 1, given.peer_students, theirs))
        each = [usage.cpu_s / given.peer_students for usage in theirs]
        rate = [60 * given.peer_students / usage.seconds for usage in theirs]
        told.append(f"nbgrader autograde: {_spread(rate)} a minute, {_spread(each)} CPU s each")
        ratio = statistics.median(each) / cpu_s[2]
        told.append(f"CPU seconds: {ratio:.0f} times fewer (target {TARGETS['times less CPU']:.0f})")
    print("\n".join(told))
    print(f"n = {given.rounds} rounds, interleaved; records: {given.out}")


def _spread(values: list[float]) -> str:
    """Return the median with the range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
