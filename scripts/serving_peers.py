"""Our service beside its peers, in one run: runs the suite and prints its tables.

    python scripts/serving_peers.py [--tier complete] [--out runs/serving] [--fresh]

The suite is labs/benchmarks/serving.toml; while it runs, OUT/artifacts/serving-tokens.log and then
serving-digits.log grow by a line a visit. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scalelab.cli.suites import run_and_show
from scalelab.core.paths import runs_folder, shipped
from scalelab.core.records import RecordStore


def main() -> None:
    """Run what is not yet done, then print the table of each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="laptop", help="complete: all peers; ci: none")
    parser.add_argument("--out", type=Path, default=runs_folder() / "serving")
    parser.add_argument("--fresh", action="store_true", help="run again what is done already")
    given = parser.parse_args()
    try:
        run_and_show(
            shipped("benchmarks") / "serving.toml", out=given.out, tier=given.tier, fresh=given.fresh
        )
    finally:
        store = given.out / "records.jsonl"
        newest = {record.subject: record for record in (RecordStore(store).read() if store.exists() else [])}
        for record in newest.values():
            if table := record.notes.get("table"):
                print(f"\n{record.subject}, {record.when}, took {record.notes['seconds']:.0f} s\n\n{table}")


if __name__ == "__main__":
    main()
