"""Records of rounds, made up for tests that compare them."""

from pathlib import Path

from scalelab.bench.compare import compare_results
from scalelab.bench.reference import REFERENCE
from scalelab.bench.results import Results
from scalelab.core.records import RunRecord, metric

HERE = {"system": "Linux", "cpu": "here", "cores": 2}
THERE = {"system": "Linux", "cpu": "there", "cores": 8}
NOISE = (1.0, 1.02, 0.985, 1.01, 0.99, 1.005, 0.995, 1.015)


def rounds(
    values, name="latency_p50", unit="s", subject="s/p", machine=HERE, reference=0.3, parameters=None, **run
):
    """Return a record for each value; a list is many values of one round."""
    return [
        RunRecord(
            subject, parameters or {"n": 1}, (metric(name, unit, value),), machine=machine, git="",
            when=f"2026-01-01T00:00:{number:02d}+00:00", reference_s=(reference,) * 2 if reference else (),
            run={"key": "k", "round": number, "reference": REFERENCE if reference else "", **run},
        )
        for number, value in enumerate(values)
    ]  # fmt: skip


def results(*records, name="a"):
    return Results(Path(name), tuple(record for group in records for record in group))


def times(factor=1.0, n=8, shift=0):
    return [factor * NOISE[(number + shift) % 8] for number in range(n)]


def only_row(a, b, **options):
    (row,) = compare_results(results(a), results(b, name="b"), **options).rows
    return row
