"""Grading on a Dask cluster: a scheduler and two workers, each a process of its own, one killed midway."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grader_light as light
import psutil
import pytest
from dask_cluster import Cluster, run_cluster, wait_for

from scalelab.core.errors import ConfigError
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import RESULTS, run_grading
from scalelab.grading.grades import read_grades, scan_grades

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    """Two workers without a nanny."""
    with run_cluster(tmp_path) as cluster:
        cluster.add_worker("0").add_worker("1").wait_for_workers(2)
        yield cluster


def test_each_submission_is_graded_once_though_a_worker_is_killed_midway(cluster, tmp_path):
    workers = [process.pid for process in cluster.workers.values()]
    lab = GradedLab.load(light.make_lab(tmp_path / "lab"))
    submissions = light.fill_class(tmp_path / "class", 40)
    victims = [workers[0], *(child.pid for child in psutil.Process(workers[0]).children(recursive=True))]
    killed = []

    def kill_one(progress) -> None:
        if progress.done == 10 and not killed:
            killed.append(workers[0])
            psutil.Process(workers[0]).send_signal(signal.SIGKILL)

    finished = run_grading(lab, submissions, tmp_path / "out", executor=cluster.address, on_progress=kill_one)
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


def test_an_address_without_a_scheduler_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.core.cluster._ANSWER_S", 0.5)
    lab = GradedLab.load(light.make_lab(tmp_path / "lab"))
    submissions = light.fill_class(Path(tmp_path / "class"), 1)
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        run_grading(lab, submissions, tmp_path / "out", executor="dask://127.0.0.1:9")
