"""Measure what a report of 10,000 records costs: seconds and megabytes.

    python scripts/report_budget.py [--json]

Twice: 10 points in 1,000 rounds, and 10,000 points in one round. The records are made by a seed and look
like the road's (14 metrics, a latency of 100 values, a curve of 8 windows); each report is built in a fresh
process, its imports counted. Target: under 10 s and under 10 MB on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scalelab.core.machine import busy_cores
from scalelab.core.records import RunRecord, metric

SHARES = ("digit_accuracy", "pin_accuracy")
SECONDS = ("latency_p50", "latency_p95", "latency_p99", "train_time")
MONEY = (("usd_per_million", "USD"), ("inr_per_million", "INR"))
MACHINE = {
    "cpu": "made by a seed", "cores": 2, "ram_bytes": 2**33, "system": "none", "machine": "none",
    "python": "3", "flags": [], "versions": {}, "load_1min": 0.0,
}  # fmt: skip
BUILD = (
    "import sys; from pathlib import Path; from scalelab.bench import build_report; "
    "build_report(Path(sys.argv[1]))"
)


def write_records(folder: Path, *, points: int, rounds: int, seed: int = 0) -> None:
    """Write points x rounds records, round after round."""
    source = random.Random(seed)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        for number in range(rounds):
            for point in range(points):
                file.write(_record(source, point, number).to_json() + "\n")


def _record(source: random.Random, point: int, number: int) -> RunRecord:
    def one(low: float, high: float) -> float:
        return source.uniform(low, high)

    metrics = [metric(name, "share", one(0.9, 1.0)) for name in SHARES]
    metrics += [metric(name, "s", one(0.01, 0.3)) for name in SECONDS]
    metrics += [metric(name, unit, one(0.1, 9)) for name, unit in MONEY]
    metrics += [
        metric("latency", "s", [one(0.01, 0.3) for _ in range(100)]),
        metric("throughput", "1/s", one(100, 4000)),
        metric("peak_memory", "B", one(1e8, 4e8)),
        metric("model_bytes", "B", one(1e6, 4e7)),
        metric("curve_rate", "1/s", [one(100, 4000) for _ in range(8)]),
        metric("curve_p95", "s", [one(0.01, 0.9) for _ in range(8)]),
    ]
    notes = {
        "title": f"step {point}",
        "bought": f"{one(1, 9):.2f} times the rate",
        "throughput_of": ("requests", "predictions")[point % 2],
        "claims": [{"claim": "faster", "verdict": "INCONCLUSIVE", "detail": f"{one(0.9, 1.1):.3f} times"}],
    }
    run = {"key": f"k{point}", "round": number}
    parameters = {"slo_p95_s": 0.2, "size": point}
    return RunRecord(
        f"road/p{point}", parameters, tuple(metrics), notes, machine=MACHINE, git="", reference_s=(0.3, 0.3),
        run=run,
    )  # fmt: skip


def main() -> None:
    """Build both reports, and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    as_json = parser.parse_args().json
    found = []
    for points, rounds in ((10, 1000), (10_000, 1)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_records(folder, points=points, rounds=rounds)
            busy = busy_cores()
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", BUILD, str(folder)], check=True)
            seconds = time.perf_counter() - started
            size = (folder / "report.html").stat().st_size
        run = {
            "points": points,
            "rounds": rounds,
            "records": points * rounds,
            "seconds": seconds,
            "bytes": size,
        }
        found.append({**run, "busy_cores_before": busy})
        if not as_json:
            print(
                f"{points:,} points x {rounds:,} rounds: {seconds:.1f} s, {size / 1e6:.2f} MB "
                f"({busy:.1f} cores busy before)"
            )
    if as_json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
