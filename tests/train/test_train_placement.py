import pytest

from scalelab.core.errors import ConfigError
from scalelab.train.placement import (
    BACKENDS,
    Machines,
    choose_device,
    device_of_rank,
    local_ranks,
    torchrun_flags,
)

SECOND = Machines(2, 1, "10.0.0.1:29500")


def test_a_cpu_talks_by_gloo_and_a_gpu_by_nccl():
    assert BACKENDS == {"cpu": "gloo", "cuda": "nccl"}


@pytest.mark.parametrize(
    ("wanted", "gpus", "ranks", "device"),
    [
        ("auto", 0, 2, "cpu"),
        ("auto", 1, 2, "cpu"),
        ("auto", 2, 2, "cuda"),
        ("auto", 8, 2, "cuda"),
        ("cpu", 8, 2, "cpu"),
        ("cuda", 2, 2, "cuda"),
    ],
)
def test_auto_takes_gpus_only_where_each_rank_gets_one(wanted, gpus, ranks, device):
    assert choose_device(wanted, gpus=gpus, local_ranks=ranks) == device


@pytest.mark.parametrize(
    ("gpus", "hint"), [(0, "torch sees no GPU here"), (1, "at most 1 ranks"), (3, "at most 3 ranks")]
)
def test_too_few_gpus_are_refused_with_what_would_go(gpus, hint):
    with pytest.raises(ConfigError, match=f"4 ranks on {gpus} GPUs") as caught:
        choose_device("cuda", gpus=gpus, local_ranks=4)
    assert hint in caught.value.hint


def test_an_unknown_device_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no device 'cude'") as caught:
        choose_device("cude", gpus=1, local_ranks=1)
    assert "cuda" in caught.value.hint


def test_each_rank_of_a_machine_has_a_gpu_of_its_own():
    assert [device_of_rank("cuda", rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:2"]
    assert device_of_rank("cpu", 2) == "cpu"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_machines_share_out_all_ranks_and_none_twice(count):
    shares = [local_ranks(12, Machines(count, number, "a:1")) for number in range(count)]
    assert sorted(rank for share in shares for rank in share) == list(range(12))
    assert {len(share) for share in shares} == {12 // count}
    assert local_ranks(12, None) == range(12)


def test_ranks_that_machines_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="5 ranks cannot be shared equally by 2 machines") as caught:
        local_ranks(5, SECOND)
    assert "multiple of 2" in caught.value.hint


def test_torchrun_is_told_where_the_machines_meet():
    assert torchrun_flags(6, SECOND) == [
        "--nnodes=2",
        "--node-rank=1",
        "--master-addr=10.0.0.1",
        "--master-port=29500",
        "--nproc-per-node=3",
    ]
    assert "--master-addr=fe80::1" in torchrun_flags(2, Machines(2, 0, "[fe80::1]:29500"))


def test_a_single_machine_keeps_to_itself():
    assert torchrun_flags(3, None) == ["--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=3"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ((1, 0, "a:1"), "machine 0 of 1"),
        ((2, 2, "a:1"), "machine 2 of 2"),
        ((2, -1, "a:1"), "machine -1 of 2"),
        ((2, 0, ""), "'' is no place"),
        ((2, 0, "10.0.0.1"), "'10.0.0.1' is no place"),
        ((2, 0, "a:0"), "'a:0' is no place"),
        ((2, 0, "a:70000"), "'a:70000' is no place"),
        ((2, 0, ":29500"), "':29500' is no place"),
    ],
    ids=str,
)
def test_machines_that_cannot_meet_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        Machines(*wrong)
