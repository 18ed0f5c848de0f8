"""How wide is the interval of a paired ratio beside busy neighbours, and how many rounds make it narrow?

    python scripts/bench_repeatability.py [--burners 2] [--rounds 16] [--batches 1 8] [--out FOLDER]

Beside so many processes that do nothing but compute, it measures the demo's network for one image and for
eight, once as a pair of points of a suite (a process and a kernel for each round, in turn) and once within a
process (`compare_paired`). Printed is the width of the ratio's 95 % interval after each round; the target is
under 5 %. Of the metrics, the latency's lowest tenth is what neighbours disturb least (Chen & Revels 2016,
Robust benchmarking in noisy environments, arXiv:1608.04295). With `--batches 1 1` both points are the same
work. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np

from scalelab.bench import load_suite, run_suite
from scalelab.bench.compare import compare_pairs
from scalelab.bench.results import Results, read_results
from scalelab.cli.suite_progress import Progress
from scalelab.core.machine import Neighbours, fingerprint
from scalelab.core.ratios import ENOUGH_PAIRS, estimate_ratio
from scalelab.core.stats import Estimate, compare_paired

TARGET = 0.05
TRIES = 5
BLOCKS = ((15, 0.05), (150, 0.005), (300, 0.005), (1000, 0.005))
"""pairs within a process, and the time of one of their sides [s]"""
BURN = "from scalelab.core.processes import die_with_parent\ndie_with_parent()\nwhile True: pass"
SUITE = """
name = "repeatability"
title = "A pair beside neighbours"
{points}
[[pair]]
a = "a"
b = "b"
rounds = {rounds}
"""
POINT = """
[[point]]
name = "{name}"
notebook = "forward.ipynb"
timeout_s = 300
[point.parameters]
batch = {batch}
"""
PARAMETERS = """batch: int = 1  # images of a forward pass
seconds: float = 2.0  # measured time [s]
record_path: str = ""
"""
BODY = """
import torch

from scalelab.bench import write_record
from scalelab.core.records import metric
from scalelab.core.stats import measure, percentile
from scalelab.models.reader import PinReader

torch.set_num_threads(1)
torch.manual_seed(0)
model = PinReader().eval()
images = torch.randint(0, 256, (batch, 28, 168), dtype=torch.uint8)
with torch.inference_mode():
    taken = measure(lambda: model(images), warmup_s=0.3, min_duration_s=seconds)
metrics = [metric("throughput", "1/s", batch * len(taken) / sum(taken))]
metrics += [metric(f"latency_p{p}", "s", percentile(taken, p)) for p in (10, 50, 95) if len(taken) >= 20]
write_record(record_path, "forward", parameters={"batch": batch, "seconds": seconds}, metrics=metrics)
"""


def main() -> None:
    """Measure both ways beside the burners and print the widths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--burners", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--batches", type=int, nargs=2, default=(1, 8), metavar=("A", "B"))
    parser.add_argument("--out", type=Path, help="keep the suite's results here, and go on from them")
    given = parser.parse_args()
    machine = fingerprint()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min']:.1f} before; ", end="")
    print(f"{given.burners} burners; batch {given.batches[1]} against {given.batches[0]}\n")
    with tempfile.TemporaryDirectory() as scratch, burners(given.burners):
        suite = write_suite(Path(scratch), given.rounds, given.batches)
        out = given.out or Path(scratch) / "results"
        with Progress() as progress:
            run_suite(load_suite(suite), out, watcher=progress)
        show_rounds(read_results(out), given.rounds)
        show_in_process(given.batches)


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Keep so many processes computing."""
    processes = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def write_suite(folder: Path, rounds: int, batches: tuple[int, int]) -> Path:
    """Write the pair as a suite and return its path."""
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS, id="parameters"),
        nbformat.v4.new_code_cell(BODY, id="body"),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder / "forward.ipynb")
    points = "".join(POINT.format(name=name, batch=batch) for name, batch in zip("ab", batches, strict=True))
    path = folder / "repeatability.toml"
    path.write_text(SUITE.format(points=points, rounds=rounds))
    return path


def show_rounds(results: Results, rounds: int) -> None:
    """Print the interval after each number of rounds, and from which on it stays narrow."""
    names = [row.metric for row in compare_pairs(results).rows if row.better]
    for name in names:
        print(f"\n{name} of the pair, b / a\nrounds  ratio  95 % interval    width")
        widths = {}
        for n in range(ENOUGH_PAIRS, rounds + 1):
            first = tuple(record for record in results.records if record.run.get("round", 0) < n)
            ratio = next(
                r.ratio for r in compare_pairs(Results(results.path, first)).rows if r.metric == name
            )
            widths[n] = ratio.relative_width
            print(f"{n:6}  {described(ratio)}")
        stays = [n for n in widths if all(widths[m] < TARGET for m in widths if m >= n)]
        found = f"from {stays[0]} rounds on" if stays else f"not in {rounds} rounds"
        print(f"under {100 * TARGET:g} %: {found}")


def show_in_process(batches: tuple[int, int]) -> None:
    """Print how wide the interval of `compare_paired` is, try by try."""
    import torch

    from scalelab.models.reader import PinReader

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = PinReader().eval()
    images = [torch.randint(0, 256, (batch, 28, 168), dtype=torch.uint8) for batch in batches]
    found: dict[tuple[int, float], list[Estimate]] = {block: [] for block in BLOCKS}
    around = Neighbours()
    for _ in range(TRIES):
        for pairs, block_s in BLOCKS:
            with torch.inference_mode():
                took = compare_paired(
                    lambda: model(images[1]), lambda: model(images[0]), pairs=pairs, min_block_s=block_s
                )
            found[pairs, block_s].append(estimate_ratio(np.divide(took.a_s, took.b_s).tolist()))
    print(f"\nwithin one process, {TRIES} tries of each in turn; ", end="")
    print(f"others had {100 * around.share():.0f} % of the machine")
    for (pairs, block_s), ratios in found.items():
        widths = sorted(ratio.relative_width for ratio in ratios)
        middles = sorted(ratio.median for ratio in ratios)
        print(
            f"{pairs} pairs of {1e3 * block_s:g} ms: ratio {middles[0]:.3f} to {middles[-1]:.3f}, width ",
            end="",
        )
        print(
            f"{100 * statistics.median(widths):.1f} % [{100 * widths[0]:.1f}, {100 * widths[-1]:.1f}], ",
            end="",
        )
        print(f"under {100 * TARGET:g} % in {sum(width < TARGET for width in widths)} of {TRIES}")


def described(ratio: Estimate) -> str:
    """Return ratio, interval and relative width."""
    return f"{ratio.median:.3f}  [{ratio.low:.3f}, {ratio.high:.3f}]  {100 * ratio.relative_width:5.1f} %"


if __name__ == "__main__":
    main()
