import time

import pytest
import torch

from scalelab.core.errors import ConfigError
from scalelab.train.data_parallel import (
    BucketedModel,
    InjectedWire,
    Link,
    TopK,
    fit_link,
    ring_all_reduce,
    run_in_threads,
)
from scalelab.train.data_parallel.link_fit import fit_injected_link
from scalelab.train.data_parallel.ring import ring_bytes

SLOW = Link(alpha_s=0.005, bytes_per_s=1e6)


def over(link):
    return lambda group: InjectedWire(link, group)


def timed(act, world_size=2, link=SLOW):
    """The seconds that `act` took on each rank."""

    def run(wire):
        wire.broadcast(torch.zeros(1))  # all are there
        started_s = time.monotonic()
        act(wire)
        return time.monotonic() - started_s

    return run_in_threads(run, world_size, make_wire=over(link))


def test_a_message_costs_its_latency_and_its_bytes():
    assert Link(0.001, 1e6).message_s(2_000) == pytest.approx(0.003)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_an_all_reduce_costs_what_its_ring_would(world_size):
    link = Link(0.001, 1e6)
    steps, chunk = 2 * (world_size - 1), 12_000 / world_size
    assert link.all_reduce_s(12_000, world_size) == pytest.approx(steps * link.message_s(chunk))
    assert link.all_gather_s(12_000, world_size) == pytest.approx((world_size - 1) * link.message_s(12_000))


def test_numbers_come_through_unchanged():
    def run(wire):
        mine = torch.arange(5.0) + wire.rank
        by_ring = ring_all_reduce(mine.clone(), wire)
        return by_ring, wire.all_reduce(mine.clone()).wait(), wire.all_gather(mine).wait(), wire.traffic

    for by_ring, by_gloo, all_of_them, traffic in run_in_threads(run, 2, make_wire=over(Link(0, 1e9))):
        assert by_ring.tolist() == by_gloo.tolist() == [1, 3, 5, 7, 9]
        assert all_of_them.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
        assert (traffic.messages, traffic.sent_bytes) == (2, ring_bytes(5, 4, 2))  # no time stamp is counted
        assert (traffic.launches, traffic.handed_bytes) == (2, 40)


@pytest.mark.parametrize("world_size", [2, 3])
def test_nothing_is_faster_than_the_link(world_size):
    numbers = torch.ones(6_000)
    at_least_s = SLOW.all_reduce_s(24_000, world_size) * 0.999
    assert min(timed(lambda wire: ring_all_reduce(numbers.clone(), wire), world_size)) >= at_least_s
    assert min(timed(lambda wire: wire.all_reduce(numbers.clone()).wait(), world_size)) >= at_least_s
    at_least_s = SLOW.all_gather_s(24_000, world_size) * 0.999
    assert min(timed(lambda wire: wire.all_gather(numbers).wait(), world_size)) >= at_least_s


def test_a_late_rank_delays_all():
    def act(wire):
        if wire.rank == 1:
            time.sleep(0.1)  # what rank 0 must wait for
        wire.all_reduce(torch.ones(10)).wait()

    assert min(timed(act)) >= 0.1 + SLOW.all_reduce_s(40, 2) * 0.999


def test_the_link_takes_one_collective_after_the_other():
    def act(wire):
        pending = [wire.all_reduce(torch.ones(1_000)) for _ in range(3)]
        for one in pending:
            one.wait()

    assert min(timed(act)) >= 3 * SLOW.all_reduce_s(4_000, 2) * 0.999


def test_a_machine_slower_than_the_link_is_said():
    def run(wire):
        ring_all_reduce(torch.ones(10), wire)
        return wire.late_share

    assert run_in_threads(run, 2, make_wire=over(Link(0, 1e15))) == [1, 1]


def test_gradients_go_over_it_too():
    model = torch.nn.Linear(3, 2)

    def run(wire):
        bucketed = BucketedModel(torch.nn.Linear(3, 2), wire, exchange=TopK(0.5))
        bucketed(torch.ones(4, 3)).square().mean().backward()
        return bucketed.last.exposed_s, bucketed.module.weight.grad

    found = run_in_threads(run, 2, make_wire=over(SLOW))
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][1].shape == model.weight.shape
    assert all(exposed_s > 0 for exposed_s, _ in found)


@pytest.mark.parametrize("world_size", [2, 4])
def test_exact_times_give_the_link_back(world_size):
    link, sizes = Link(0.002, 5e6), [1_000, 50_000, 900_000]
    found = fit_link(sizes, [link.all_reduce_s(size, world_size) for size in sizes], world_size)
    assert found.alpha_s == pytest.approx(link.alpha_s)
    assert found.bytes_per_s == pytest.approx(link.bytes_per_s)


@pytest.mark.parametrize(
    ("sizes", "seconds", "world_size"),
    [([1000], [1], 2), ([1000, 1000], [1, 1], 2), ([1, 2], [1], 2), ([1, 2], [1, 0], 2), ([1, 2], [1, 2], 1)],
)
def test_too_little_to_fit_is_refused(sizes, seconds, world_size):
    with pytest.raises(ConfigError, match="give no link"):
        fit_link(sizes, seconds, world_size)


def test_times_that_fall_with_the_size_are_refused():
    with pytest.raises(ConfigError, match="do not grow"):
        fit_link([1_000, 1_000_000], [0.2, 0.1], 2)


@pytest.mark.parametrize("wrong", [(-1, 1e6), (0, 0), (0, -5), (float("nan"), 1)], ids=str)
def test_a_link_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="a link with"):
        Link(*wrong)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_latency_and_bandwidth_are_found_again_within_15_percent(world_size):
    link = Link(alpha_s=0.03 / world_size, bytes_per_s=10e6)
    found = fit_injected_link(link, world_size=world_size)
    assert list(found) == ["ring", "all_reduce"]
    for kind, fitted in found.items():
        assert fitted.alpha_s == pytest.approx(link.alpha_s, rel=0.15), kind
        assert fitted.bytes_per_s == pytest.approx(link.bytes_per_s, rel=0.15), kind
