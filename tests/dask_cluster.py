"""A Dask cluster for tests: a scheduler and workers, each a process of its own, by Dask's commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalelab.core.processes import start, stop_tree

_DASK = [sys.executable, "-m", "dask"]


class Cluster:
    """A running scheduler, and workers by their names."""

    def __init__(self, folder: Path, log: Any):
        self._folder, self._log = folder, log
        self.workers: dict[str, subprocess.Popen] = {}
        self._file = folder / "scheduler.json"
        options = ["--no-dashboard", "--host", "127.0.0.1", "--port", "0"]
        self.scheduler = start(
            [*_DASK, "scheduler", *options, "--scheduler-file", str(self._file)], output=log
        )
        self._running = [self.scheduler]

    @property
    def address(self) -> str:
        """``dask://HOST:PORT``."""
        return self._tcp.replace("tcp://", "dask://")

    @property
    def _tcp(self) -> str:
        return wait_for(lambda: json.loads(self._file.read_text())["address"])

    def add_worker(
        self, name: str, *, threads: int = 1, nanny: bool = False, preload: Path | None = None
    ) -> Cluster:
        """Start a worker; it comes when it comes: `wait_for_workers`."""
        options = ["--no-dashboard", "--host", "127.0.0.1", "--name", name, "--nthreads", str(threads)]
        options += ["--local-directory", str(self._folder / name), "--nanny" if nanny else "--no-nanny"]
        options += ["--preload", str(preload)] if preload else []
        self.workers[name] = start([*_DASK, "worker", self._tcp, *options], output=self._log)
        self._running.append(self.workers[name])
        return self

    def wait_for_workers(self, count: int) -> None:
        """Wait until `count` workers are there."""
        import distributed

        with distributed.Client(self._tcp, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def stop(self) -> None:
        """End all of it at once."""
        for process in self._running:
            stop_tree(process.pid, grace_s=0)
            process.wait()


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """Give a cluster without workers; what it and they say is in ``dask.log``."""
    with (folder / "dask.log").open("wb") as log:
        cluster = Cluster(folder, log)
        try:
            yield cluster
        finally:
            cluster.stop()


def wait_for(look: Callable[[], Any], *, within_s: float = 60) -> Any:
    """Return what `look` finds, once it finds something."""
    until = time.monotonic() + within_s
    while True:
        try:
            if found := look():
                return found
        except (OSError, ValueError, KeyError):
            pass
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(0.05)
