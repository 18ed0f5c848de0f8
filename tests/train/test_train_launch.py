import json
import sys
from pathlib import Path

import pytest

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.processes import Finished, is_alive
from scalelab.train.launch import progress_path, run_ranks

posix = pytest.mark.skipif(sys.platform == "win32", reason="only on systems with POSIX signals")


def pids(folder, world_size):
    found = [json.loads(progress_path(folder, rank).read_text())["pid"] for rank in range(world_size)]
    assert len(set(found)) == world_size
    return found


@pytest.mark.slow
def test_each_rank_returns_its_own_result_and_all_of_them_talk():
    report = run_ranks("rank_programs:who_am_i", {"word": "hello"}, world_size=4, threads=2)
    assert [result["rank"] for result in report.results] == [0, 1, 2, 3]
    assert all(result["sum"] == 6 and result["word"] == "hello" for result in report.results)
    assert all(result["threads"] == 2 for result in report.results)
    assert report.restarts == 0
    assert not any(is_alive(result["pid"]) for result in report.results)


@pytest.mark.slow
def test_what_one_rank_says_is_wrong_comes_back_with_its_number_and_hint(tmp_path):
    with pytest.raises(RunFailed, match="rank 1: the loss became nan at step 3 on 1") as caught:
        run_ranks("rank_programs:fail_on_one", {"number": 1}, world_size=2, folder=tmp_path)
    assert caught.value.hint == "lower the learning rate"
    assert not any(map(is_alive, pids(tmp_path, 2)))


@pytest.mark.slow
@posix
def test_a_killed_rank_is_named_and_the_others_do_not_stay(tmp_path):
    with pytest.raises(RunFailed, match="rank 1 was killed by signal SIGKILL at step 2"):
        run_ranks("rank_programs:die_once", world_size=2, folder=tmp_path)
    assert not any(map(is_alive, pids(tmp_path, 2)))


@pytest.mark.slow
@posix
def test_after_a_restart_all_ranks_are_there_again():
    report = run_ranks("rank_programs:die_once", world_size=2, max_restarts=1)
    assert report.results == (1, 1)
    assert report.restarts == 1


@pytest.mark.slow
def test_a_rank_that_does_not_come_to_the_exchange_is_named_and_nothing_is_left_running(tmp_path):
    with pytest.raises(RunFailed, match="rank 1 hangs at step 5: the others wait for it"):
        run_ranks("rank_programs:wait_for_ever", world_size=2, folder=tmp_path, stall_s=8)
    assert not any(map(is_alive, pids(tmp_path, 2)))


def test_fewer_ranks_than_asked_for_are_a_failure(monkeypatch):
    def one_rank(command, **limits):
        (Path(command[-1]) / "result_0.json").write_text(json.dumps({"result": 1, "restarts": 0}))
        return Finished(0, "", 1.0, 0)

    monkeypatch.setattr("scalelab.train.launch.processes.run", one_rank)
    with pytest.raises(RunFailed, match=r"asked for 2 ranks, torchrun gave 1 rank"):
        run_ranks("rank_programs:who_am_i", world_size=2)


@pytest.mark.parametrize("wrong", [{"world_size": 0}, {"threads": 0}, {"max_restarts": -1}], ids=str)
def test_numbers_that_make_no_group_are_refused(wrong):
    with pytest.raises(ConfigError, match="ranks"):
        run_ranks("rank_programs:who_am_i", **{"world_size": 2, **wrong})
