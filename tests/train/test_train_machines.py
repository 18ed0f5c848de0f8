"""Several machines, which here are two torchruns on loopback."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from scalelab.core.errors import RunFailed
from scalelab.core.machine import free_port
from scalelab.train import DdpConfig, run_ddp
from scalelab.train.launch import run_ranks
from scalelab.train.placement import Machines

pytestmark = pytest.mark.slow


def on_both(act):
    """Call ``act(machines)`` for both machines at the same time; return both results."""
    port = free_port()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(act, Machines(2, number, f"127.0.0.1:{port}")) for number in (0, 1)]
        return [one.result() for one in both]


def test_two_machines_are_one_group_and_each_gets_the_results_of_its_own_ranks():
    def act(machines):
        return run_ranks("rank_programs:who_am_i", {"word": "hello"}, world_size=4, machines=machines)

    first, second = on_both(act)
    assert [one["rank"] for one in first.results] == [0, 1]
    assert [one["rank"] for one in second.results] == [2, 3]
    assert {one["sum"] for one in first.results + second.results} == {6.0}


def test_ddp_over_two_machines_reports_on_the_first():
    config = DdpConfig(batch_size=8, steps=2, width=8, accumulate=2)
    report, nothing = on_both(lambda machines: run_ddp(config, machines=machines))
    assert nothing is None
    assert report.world_size == 2
    assert report.same_parameters
    assert report.bytes_per_step == report.expected_bytes_per_step
    assert report.device == "cpu"


def test_an_error_on_one_machine_is_said_there_and_ends_the_other():
    def act(machines):
        with pytest.raises(RunFailed) as caught:
            run_ranks("rank_programs:fail_on_one", {"number": 1}, world_size=2, machines=machines)
        return caught.value.message

    first, second = on_both(act)
    assert second.startswith("rank 1: the loss became nan")
    assert first.startswith("rank 0 ended with code 1")


def test_machines_that_do_not_come_are_said():
    alone = Machines(2, 1, f"127.0.0.1:{free_port()}")
    with pytest.raises(RunFailed, match=r"rank 1 of machine 1 did not join.*on all 2 machines.*127\.0\.0\.1"):
        run_ranks("rank_programs:who_am_i", {"word": ""}, world_size=2, machines=alone, timeout_s=8)
