import itertools
from collections import Counter

import pytest

from scalelab.core.errors import ConfigError
from scalelab.train.data_parallel import ShardedSampler

SIZES = list(itertools.product([1, 2, 7, 12, 100, 101], [1, 3, 8, 200], [1, 2, 3, 4, 7]))


def group(samples, batch_size, world_size, **more):
    return [
        ShardedSampler(samples, batch_size, rank=r, world_size=world_size, **more) for r in range(world_size)
    ]


@pytest.mark.parametrize(("samples", "batch_size", "world_size"), SIZES)
def test_no_sample_is_lost_or_seen_twice(samples, batch_size, world_size):
    ranks = group(samples, batch_size, world_size)
    for _epoch in range(2):
        shares = [list(sampler) for sampler in ranks]
        seen = Counter(i for rank in shares for share in rank for i in share)
        assert seen == Counter(range(samples))
        assert {len(rank) for rank in shares} == {len(ranks[0])}  # all take the same number of steps
        for step in zip(*shares, strict=True):
            sizes = [len(share) for share in step]
            assert max(sizes) - min(sizes) <= 1
            assert sum(sizes) <= batch_size


def test_torchs_own_sampler_repeats_or_drops_what_the_ranks_do_not_divide():
    from torch.utils.data import DistributedSampler

    def seen(drop_last):
        ranks = [DistributedSampler(range(7), 4, rank=r, drop_last=drop_last) for r in range(4)]
        return Counter(i for rank in ranks for i in rank)

    assert sum(seen(False).values()) == 8  # one twice
    assert sum(seen(True).values()) == 4  # three lost
    ours = Counter(i for sampler in group(7, 4, 4) for share in sampler for i in share)
    assert ours == Counter(range(7))


def test_another_number_of_ranks_trains_on_the_same_batches():
    def batches(world_size):
        shares = zip(*group(101, 8, world_size), strict=True)
        return [sorted(itertools.chain(*step)) for step in shares]

    assert batches(1) == batches(3) == batches(8)


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
    (sampler,) = group(50, 50, 1)
    (again,) = group(50, 50, 1)
    (other,) = group(50, 50, 1, seed=1)
    first, second = list(sampler), list(sampler)
    assert first != second
    assert list(again) == first
    assert list(other) != first


def test_without_shuffling_samples_come_in_order():
    (sampler,) = group(7, 3, 1, shuffle=False)
    assert list(sampler) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(sampler) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("stop", [0, 1, 4, 9, 10, 13])
def test_a_restored_sampler_goes_on_where_the_other_stood(stop):
    def stream(sampler):
        while True:
            yield from sampler

    (whole,) = group(37, 4, 1, seed=5)
    wanted = list(itertools.islice(stream(whole), 25))
    (first,) = group(37, 4, 1, seed=5)
    begun = list(itertools.islice(stream(first), stop))
    (second,) = group(37, 4, 1, seed=5)
    second.restore(first.state())
    assert begun + list(itertools.islice(stream(second), 25 - stop)) == wanted


def test_another_number_of_ranks_can_go_on():
    (alone,) = group(20, 6, 1)
    iterator = iter(alone)
    done = [next(iterator), next(iterator)]
    rest = []
    for sampler in group(20, 6, 3):
        sampler.restore(alone.state())
        rest += list(sampler)
    assert sorted(itertools.chain(*done, *rest)) == list(range(20))


def test_a_state_of_other_data_is_refused_and_says_what_differs():
    (sampler,) = group(20, 6, 1)
    (other,) = group(21, 6, 1, seed=3)
    with pytest.raises(ConfigError, match="samples 21, not 20; seed 3, not 0"):
        sampler.restore(other.state())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"samples": 0}, "0 samples"),
        ({"batch_size": 0}, "batches of 0"),
        ({"rank": 2}, "rank 2 of 2 ranks"),
        ({"rank": -1}, "rank -1 of 2 ranks"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_shared_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        ShardedSampler(**{"samples": 10, "batch_size": 4, "rank": 0, "world_size": 2, **wrong})
