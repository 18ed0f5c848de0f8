"""Ranks in memory: the same sums and counts as over gloo, and words for every way to get stuck."""

import threading

import pytest
import torch

from scalelab.core.errors import ConfigError
from scalelab.grading.limits import OverLimit, time_limit
from scalelab.train.data_parallel import BucketedModel, ring_all_reduce, run_in_memory, run_in_threads
from scalelab.train.data_parallel.memory import RanksStuck


def numbers(rank, n=7):
    return torch.randn(n, generator=torch.Generator().manual_seed(rank))


def everything(wire):
    """Return the results of all that a wire can do, and what it counted."""
    mine = numbers(wire.rank)
    ring = ring_all_reduce(mine.clone(), wire)
    total = wire.all_reduce(mine.clone()).wait()
    rows = wire.all_gather(mine).wait()
    of_first = mine.clone()
    wire.broadcast(of_first)
    return [ring, total, rows, of_first], vars(wire.traffic)


def test_it_sums_gathers_and_counts_as_gloo_does():
    by_memory, by_gloo = run_in_memory(everything, 3), run_in_threads(everything, 3)
    for (found, counted), (wanted, counted_there) in zip(by_memory, by_gloo, strict=True):
        torch.testing.assert_close(found, wanted)
        assert counted == counted_there


def test_a_sum_is_there_only_after_waiting():
    def rank(wire):
        mine = torch.ones(2)
        pending = wire.all_reduce(mine)
        before = mine.clone()
        return before, pending.wait()

    for before, after in run_in_memory(rank, 2):
        assert (before.tolist(), after.tolist()) == ([1, 1], [2, 2])


def test_a_model_in_buckets_gets_the_mean_gradient():
    models = [torch.nn.Linear(3, 2) for _ in range(3)]
    rows = [numbers(rank, 3) for rank in range(3)]

    def rank(wire):
        replica = BucketedModel(models[wire.rank], wire, bucket_bytes=8)
        replica(rows[wire.rank]).sum().backward()
        return replica.module.weight.grad

    for gradient in run_in_memory(rank, 3):
        torch.testing.assert_close(gradient[0], torch.stack(rows).mean(0))


def wait_for_the_right(wire):
    right = (wire.rank + 1) % wire.world_size
    wire.exchange(torch.ones(2), right, torch.zeros(2), right)


def end_early(wire):
    if wire.rank:
        wire.all_reduce(torch.ones(1)).wait()


def send_more_than_fits(wire):
    other = 1 - wire.rank % 2
    wire.exchange(torch.ones(2 + wire.rank), other, torch.zeros(2 + wire.rank), other)


def sum_other_shapes(wire):
    wire.all_reduce(torch.ones(1 + wire.rank)).wait()


def send_without_end(wire):
    while True:
        wire.exchange(torch.ones(1), 1 - wire.rank, torch.zeros(1), 1 - wire.rank)


def send_once(wire):
    wire.group.send([torch.ones(1)], 1 - wire.rank, 0)


def send_past_the_last(wire):
    wire.group.send([torch.ones(1)], wire.rank + 1, 0)


STUCK = [
    (wait_for_the_right, 3, "waits", "rank 2 waits for a message from rank 0"),
    (end_early, 2, "waits", "rank 1 waits for the others, exchange 1; rank 0 has ended"),
    (send_more_than_fits, 2, "misfit", r"sent \d numbers \(float32\), rank \d has room for"),
    (sum_other_shapes, 2, "misfit", "rank 0 a sum of 1 number .*; rank 1 a sum of 2 numbers"),
    (send_once, 2, "untaken", "1 from rank 0 to rank 1"),
    (send_past_the_last, 2, "nobody", "rank 1 of 2 sends to rank 2"),
    (lambda wire: wire.group.recv([torch.ones(1)], wire.rank, 0), 2, "nobody", "waits for rank"),
    (send_without_end, 2, "endless", "sent over 10,000 messages"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "ranks", "kind", "told"), STUCK, ids=[each[2] for each in STUCK])
def test_ranks_that_cannot_go_on_say_why_without_a_timeout(function, ranks, kind, told):
    with pytest.raises(RanksStuck, match=told) as caught:
        run_in_memory(function, ranks)
    assert caught.value.kind == kind
    assert caught.value.hint


def test_what_a_rank_raised_comes_out_not_that_the_others_wait_for_it():
    def rank(wire):
        if wire.rank == 1:
            raise ZeroDivisionError("mine")
        wire.all_reduce(torch.ones(1)).wait()

    with pytest.raises(ZeroDivisionError, match="mine"):
        run_in_memory(rank, 3)


@pytest.mark.parametrize("loops", [True, False], ids=["computes", "waits"])
def test_a_time_limit_ends_the_ranks_too(loops):
    inside, release = threading.Event(), threading.Event()

    def rank(wire):
        inside.set()
        while loops:
            pass
        release.wait()

    before = set(threading.enumerate())
    with pytest.raises(OverLimit), time_limit(0.3):
        run_in_memory(rank, 1)
    release.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
    assert inside.is_set()


def test_no_rank_is_no_group():
    with pytest.raises(ConfigError, match="0 ranks"):
        run_in_memory(lambda wire: None, 0)
