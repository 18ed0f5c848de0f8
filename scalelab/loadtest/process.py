"""One generator process: it meets the others, watches itself, and leaves its files whole.

Runs inside the locust process, where `time.sleep` lets other greenlets run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from scalelab.loadtest.recorder import Recorder

MEETING_S = 40.0
"""so long a process waits for the others to be ready"""
SAMPLE_S = 0.05


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def meet(folder: Path, part: int, processes: int, *, limit_s: float = MEETING_S) -> float:
    """Wait until all processes are ready; return their common start, the latest's moment [epoch seconds].

    Raises:
        TimeoutError: one of them never came.
    """
    write(folder / f"ready.{part}", repr(time.time()))
    files = [folder / f"ready.{number}" for number in range(processes)]
    until_s = time.monotonic() + limit_s
    while not all(file.exists() for file in files):
        if time.monotonic() > until_s:
            raise TimeoutError(f"of {processes} generators, some were not ready in {limit_s:g} s")
        time.sleep(0.01)
    # some room, for those who see the last file a moment later
    return max(float(file.read_text(encoding="utf-8")) for file in files) + 0.05 * (processes > 1)


def watch(recorder: Recorder, loop: Any) -> None:
    """Measure in the window the share of a core this process used, and the share of time it had work.

    The second holds on a shared machine too, where a process that wants a whole core gets half of one: it
    is the time that the event loop did not spend waiting.

    Args:
        loop: gevent's event loop; it calls us before and after it waits.
    """
    waited = {"since_s": 0.0, "sum_s": 0.0}

    def begin() -> None:
        waited["since_s"] = time.perf_counter()

    def end() -> None:
        if waited["since_s"]:
            waited["sum_s"] += time.perf_counter() - waited["since_s"]

    time.sleep(max(0.0, recorder.start_s - recorder.now()))
    before, after = loop.prepare(), loop.check()
    before.start(begin)
    after.start(end)
    cpu_s, wall_s = time.process_time(), recorder.now()
    while recorder.now() < recorder.end_s:
        time.sleep(min(SAMPLE_S, max(0.0, recorder.end_s - recorder.now())))
        passed_s = max(1e-9, recorder.now() - wall_s)
        recorder.cpu_share = (time.process_time() - cpu_s) / passed_s
        recorder.busy_share = 1 - min(passed_s, waited["sum_s"]) / passed_s
    before.stop()
    after.stop()
