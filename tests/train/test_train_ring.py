import pytest
import torch

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.train.data_parallel import Wire, ring_all_reduce, run_in_threads
from scalelab.train.data_parallel.ring import ring_bytes
from scalelab.train.launch import run_ranks

SHAPES = [(1,), (7,), (12,), (3, 5), (1000,), (0,)]


def numbers(shape, rank, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(rank)).to(dtype)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_rank_ends_with_the_same_sum_of_all(shape, world_size):
    found = run_in_threads(lambda wire: ring_all_reduce(numbers(shape, wire.rank), wire), world_size)
    wanted = sum(numbers(shape, rank) for rank in range(world_size))
    for tensor in found:
        torch.testing.assert_close(tensor, wanted)
        assert torch.equal(tensor, found[0])


@pytest.mark.parametrize(("elements", "world_size"), [(12, 2), (12, 4), (13, 2), (13, 4), (1, 4), (999, 3)])
def test_bytes_and_messages_are_what_the_formula_says(elements, world_size):
    def count(wire):
        ring_all_reduce(numbers((elements,), wire.rank), wire)
        return wire.traffic

    for traffic in run_in_threads(count, world_size):
        assert traffic.sent_bytes == ring_bytes(elements, 4, world_size)
        assert traffic.messages == 2 * (world_size - 1)
        assert traffic.handed_bytes == 0


@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_where_the_ranks_divide_the_numbers_it_is_the_textbook_formula_exactly(world_size):
    elements = 24 * world_size
    assert ring_bytes(elements, 4, world_size) * world_size == 2 * (world_size - 1) * elements * 4


def test_padding_costs_less_than_one_number_a_message():
    for world_size in (2, 3, 4, 7):
        for elements in range(1, 60):
            over = ring_bytes(elements, 1, world_size) - 2 * (world_size - 1) / world_size * elements
            assert 0 <= over < 2 * (world_size - 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bfloat16], ids=str)
def test_the_type_stays(dtype):
    found = run_in_threads(lambda wire: ring_all_reduce(numbers((5,), wire.rank, dtype), wire), 2)
    assert found[0].dtype == dtype
    torch.testing.assert_close(found[0], numbers((5,), 0, dtype) + numbers((5,), 1, dtype))


def test_a_wire_sums_as_the_ring_does_and_counts_what_it_was_handed():
    def both(wire):
        by_ring = ring_all_reduce(numbers((10,), wire.rank), wire)
        return by_ring, wire.all_reduce(numbers((10,), wire.rank)).wait(), wire.traffic

    for by_ring, by_gloo, traffic in run_in_threads(both, 3):
        torch.testing.assert_close(by_ring, by_gloo)
        assert (traffic.launches, traffic.handed_bytes) == (1, 40)


def test_a_wire_gathers_every_ranks_numbers_in_order():
    found = run_in_threads(lambda wire: wire.all_gather(torch.full((2,), float(wire.rank))).wait(), 3)
    for rows in found:
        assert rows.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_a_rank_that_raises_is_named():
    def fail(wire):
        if wire.rank == 1:
            raise ConfigError("this rank has no data", hint="give it some")
        ring_all_reduce(torch.ones(4), wire)

    with pytest.raises(RunFailed, match="rank 1: this rank has no data") as caught:
        run_in_threads(fail, 2)
    assert caught.value.hint == "give it some"


def test_ranks_that_disagree_on_who_speaks_end_with_an_error_not_for_ever():
    with pytest.raises(RunFailed, match="rank 0: "):
        run_in_threads(
            lambda wire: ring_all_reduce(torch.ones(4), wire) if wire.rank == 0 else None, 2, timeout_s=1
        )


def test_no_rank_is_no_group():
    with pytest.raises(ConfigError, match="0 ranks"):
        run_in_threads(Wire, 0)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_over_processes_it_equals_the_librarys_all_reduce(world_size):
    elements = [1, 4, 1023, 100_000]
    report = run_ranks("rank_programs:ring_beside_all_reduce", {"elements": elements}, world_size=world_size)
    assert len(report.results) == world_size
    for found in report.results:
        assert found["largest_error"] < 1e-5
        assert found["sent_bytes"] == [ring_bytes(n, 4, world_size) for n in elements]
