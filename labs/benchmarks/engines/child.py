"""One engine in a process: ``python -m engines.child ENGINE FLIGHTS AIRLINES THREADS OUT.json``."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

from scalelab.core.processes import die_with_parent


def peak_memory() -> int:
    """Return the largest resident memory of this process so far [bytes], 0 where the system does not say."""
    status = Path("/proc/self/status")
    if sys.platform == "linux":
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return 0  # then the parent's samples are all there is


def main(engine: str, flights: str, airlines: str, threads: str, out: str) -> None:
    """Answer the question once, and write the answer, the seconds and the memory."""
    started_s = time.perf_counter()
    module = importlib.import_module(f"engines.{engine}")
    imported_s = time.perf_counter()
    found = module.answer(Path(flights), Path(airlines), int(threads))
    ended_s = time.perf_counter()
    result = {
        "import_s": imported_s - started_s,
        "query_s": ended_s - imported_s,
        "peak_bytes": peak_memory(),
        "rows": found,
    }
    Path(out).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    die_with_parent()
    main(*sys.argv[1:])
