"""Where judges run: in threads' own child processes here, or on the workers of a Dask cluster.

Both are executors of the standard library's kind, and both run `judge_one`: whoever runs it, each thread has
a judge's process of its own, kept warm from one submission to the next.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from scalelab.core.cluster import connect
from scalelab.grader.worker import JudgeDied, JudgeProcess

_mine = threading.local()
_all: list[JudgeProcess] = []
_lock = threading.Lock()


def judge_one(plan: Mapping[str, Any], handed: Mapping[str, Any]) -> bytes:
    """Judge a submission in this thread's judge process; return its row as a line.

    Raises:
        JudgeDied: the process ended over it; the next submission gets a new one.
        ScalelabError: what concerns every submission.
    """
    wanted = json.dumps(dict(plan), sort_keys=True)
    kept, process = getattr(_mine, "judge", ("", None))
    if process is None or kept != wanted:
        if process is not None:
            _close(process)
        process = JudgeProcess(plan)
        with _lock:
            _all.append(process)
        _mine.judge = (wanted, process)
    try:
        return process.grade(handed).to_json()
    except JudgeDied:
        _mine.judge = ("", None)
        _close(process)
        raise


def close_judges() -> None:
    """End all judge processes of this process, in the middle of their work if need be."""
    with _lock:
        every, _all[:] = list(_all), []
    for process in every:
        process.close()
    global _mine
    _mine = threading.local()


def _close(process: JudgeProcess) -> None:
    with _lock:
        if process in _all:
            _all.remove(process)
    process.close()


@contextmanager
def open_executor(address: str = "", *, jobs: int = 1) -> Iterator[tuple[Executor, int]]:
    """Open the executor at `address`, and say how many submissions it can judge at one time.

    Args:
        address: ``dask://HOST:PORT`` of a Dask scheduler, whose workers have the same ScaleLab and see the
            lab's folder under the same path; empty: threads here.
        jobs: judge processes at one time, here.

    Raises:
        ConfigError: the address is of another kind, nobody answers there, or there is no worker.
    """
    if not address:
        executor = ThreadPoolExecutor(jobs, thread_name_prefix="judge")
        try:
            yield executor, jobs
        finally:
            close_judges()  # before the threads are waited for: each may be reading from its process
            executor.shutdown(cancel_futures=True)
            close_judges()
        return
    with connect(address) as client:
        try:
            yield client.get_executor(pure=False, retries=0), sum(client.nthreads().values())
        finally:
            with suppress(Exception):  # the cluster may be gone by now
                client.run(close_judges)
