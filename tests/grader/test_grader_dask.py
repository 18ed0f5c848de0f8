"""Grading on a Dask cluster: a scheduler and two workers, each a process of its own, one killed midway."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grader_light as light
import psutil
import pytest

from scalelab.core.errors import ConfigError
from scalelab.core.processes import start, stop_tree
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import RESULTS, run_grading
from scalelab.grading.grades import read_grades, scan_grades

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
DASK = [sys.executable, "-m", "dask"]


@pytest.fixture
def cluster(tmp_path) -> Iterator[tuple[str, list[int]]]:
    """Address of a scheduler, and the pids of its two workers."""
    file, log = tmp_path / "scheduler.json", (tmp_path / "dask.log").open("wb")
    options = ["--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    scheduler = start([*DASK, "scheduler", *options, "--port", "0"], output=log)
    running = [scheduler]
    try:
        address = wait_for(lambda: json.loads(file.read_text())["address"])
        for number in range(2):
            folder = ["--local-directory", str(tmp_path / f"worker{number}"), "--name", str(number)]
            quiet = ["--no-dashboard", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1"]
            running.append(start([*DASK, "worker", address, *quiet, *folder], output=log))
        yield address.replace("tcp://", "dask://"), [process.pid for process in running[1:]]
    finally:
        for process in running:
            stop_tree(process.pid, grace_s=0)
            process.wait()
        log.close()


def wait_for(look, *, within_s: float = 60):
    """Return what `look` finds, once it finds something."""
    until = time.monotonic() + within_s
    while True:
        try:
            if found := look():
                return found
        except (OSError, ValueError, KeyError):
            pass
        assert time.monotonic() < until, look
        time.sleep(0.05)


def wait_for_workers(address: str, count: int) -> None:
    import distributed

    with distributed.Client(address.replace("dask://", "tcp://"), set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def test_each_submission_is_graded_once_though_a_worker_is_killed_midway(cluster, tmp_path):
    address, workers = cluster
    wait_for_workers(address, 2)
    lab = GradedLab.load(light.make_lab(tmp_path / "lab"))
    submissions = light.fill_class(tmp_path / "class", 40)
    victims = [workers[0], *(child.pid for child in psutil.Process(workers[0]).children(recursive=True))]
    killed = []

    def kill_one(progress) -> None:
        if progress.done == 10 and not killed:
            killed.append(workers[0])
            psutil.Process(workers[0]).send_signal(signal.SIGKILL)

    finished = run_grading(lab, submissions, tmp_path / "out", executor=address, on_progress=kill_one)
    assert killed
    assert dict(finished.by_status) == {"graded": 32, "refused": 8}
    counted = Counter(grade.student for grade in scan_grades(tmp_path / "out" / RESULTS))
    assert len(counted) == 40
    assert set(counted.values()) == {1}
    assert sum(grade.points for grade in read_grades(tmp_path / "out" / RESULTS)) == 8 * (3 + 1 + 1 + 1)
    assert not any(psutil.pid_exists(pid) and is_judge(pid) for pid in victims)
    wait_for(
        lambda: not any(is_judge(child.pid) for child in psutil.Process(workers[1]).children(recursive=True))
    )


def is_judge(pid: int) -> bool:
    try:
        return "scalelab.grader" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def test_a_cluster_without_a_worker_or_an_address_without_a_scheduler_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.grader.executors._CONNECT_S", 0.5)
    lab = GradedLab.load(light.make_lab(tmp_path / "lab"))
    submissions = light.fill_class(Path(tmp_path / "class"), 1)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        run_grading(lab, submissions, tmp_path / "out", executor="dask://127.0.0.1:9")
