import copy

import pytest
import torch
from torch import nn

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.models import CharGpt
from scalelab.train import IGNORE, accumulate_step
from scalelab.train.data_parallel import BucketedModel, TopK, parallel_step, plan_buckets, run_in_threads
from scalelab.train.data_parallel.exchange import exchange_bf16
from scalelab.train.data_parallel.step import take
from scalelab.train.launch import run_ranks

RANKS = 3


def _seeded(make, seed):
    torch.manual_seed(seed)
    return make()


# made here, since ranks that are threads share one random state
LAYERS = [
    _seeded(
        lambda: nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2)),
        seed,
    )
    for seed in range(RANKS)
]
GPT = _seeded(lambda: CharGpt(vocabulary=11, context=8, layers=1, heads=2, width=16), 0)


def layers(seed=0):
    return copy.deepcopy(LAYERS[seed])


PARAMETERS = sum(p.numel() for p in layers().parameters())
INPUTS = torch.randn(RANKS, 5, 6, generator=torch.Generator().manual_seed(1))


def gradients(model):
    return [p.grad.clone() for p in model.parameters()]


def mean_gradients(model, times=1):
    """What one process gets for the mean of all ranks' losses."""
    model = copy.deepcopy(model)
    (times * sum(model(inputs).square().mean() for inputs in INPUTS) / RANKS).backward()
    return gradients(model)


def test_buckets_are_filled_from_the_last_parameter_on():
    assert plan_buckets([10, 20, 30, 5, 5], 40) == [[4, 3, 2], [1, 0]]


@pytest.mark.parametrize("limit", [1, 7, 40, 100, 10_000])
def test_every_parameter_is_in_one_bucket_within_the_limit(limit):
    sizes = [int(n) for n in torch.randint(1, 60, (40,), generator=torch.Generator().manual_seed(limit))]
    buckets = plan_buckets(sizes, limit)
    assert [number for bucket in buckets for number in bucket] == list(reversed(range(40)))
    filled = [sum(sizes[number] for number in bucket) for bucket in buckets]
    assert all(size <= limit or len(bucket) == 1 for size, bucket in zip(filled, buckets, strict=True))
    first = [sizes[bucket[0]] for bucket in buckets]
    assert all(size + after > limit for size, after in zip(filled, first[1:], strict=False))


def test_a_bucket_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="buckets of 0 bytes"):
        plan_buckets([1], 0)


def backward(bucket_bytes=500, **how):
    def run(wire):
        model = BucketedModel(layers(seed=wire.rank), wire, bucket_bytes=bucket_bytes, **how)
        model(INPUTS[wire.rank]).square().mean().backward()
        return gradients(model), wire.traffic, model

    return run_in_threads(run, RANKS)


@pytest.mark.parametrize("bucket_bytes", [1, 500, 1 << 20])
@pytest.mark.parametrize("overlap", [True, False])
def test_all_ranks_get_the_mean_gradient_of_rank_0s_parameters(bucket_bytes, overlap):
    found = backward(bucket_bytes, overlap=overlap)
    for rank, _, _ in found:
        torch.testing.assert_close(rank, mean_gradients(layers(seed=0)))
        torch.testing.assert_close(rank, found[0][0], rtol=0, atol=0)


@pytest.mark.parametrize(("bucket_bytes", "launches"), [(1, 6), (500, 4), (1 << 20, 1)])
def test_launches_are_the_buckets_and_bytes_are_the_gradients(bucket_bytes, launches):
    for _, traffic, model in backward(bucket_bytes):
        assert traffic.launches == model.last.launches == len(model.buckets) == launches
        assert traffic.handed_bytes == 4 * PARAMETERS


def test_a_bucket_leaves_as_soon_as_its_own_gradients_are_there():
    for _, _, model in backward(1, overlap=True):
        assert model.last.ready_at_launch == (1, 2, 3, 4, 5, 6)


def test_without_overlap_all_buckets_wait_for_the_last_gradient():
    for _, _, model in backward(1, overlap=False):
        assert model.last.ready_at_launch == (6,) * 6


def test_accumulating_over_eight_with_no_sync_sends_an_eighth_of_the_bytes():
    def accumulate(wire, syncs_each):
        model = BucketedModel(layers(), wire)
        for i in range(8):
            model.syncs = syncs_each or i == 7
            model(INPUTS[wire.rank]).square().mean().backward()
        return gradients(model), wire.traffic.handed_bytes

    quiet = run_in_threads(lambda wire: accumulate(wire, False), RANKS)
    loud = run_in_threads(lambda wire: accumulate(wire, True), RANKS)
    for (found, sent), (_, sent_each) in zip(quiet, loud, strict=True):
        torch.testing.assert_close(found, mean_gradients(layers(), times=8))
        assert sent_each == 8 * sent == 8 * 4 * PARAMETERS


def test_no_sync_ends_with_its_block_even_after_an_error():
    def run(wire):
        model = BucketedModel(layers(), wire)
        with pytest.raises(KeyError), model.no_sync():
            raise KeyError
        return model.syncs

    assert run_in_threads(run, 1) == [True]


def test_a_parameter_that_one_rank_did_not_use_counts_as_zeros_there():
    def run(wire):
        model = BucketedModel(layers(), wire, bucket_bytes=1)
        part = model.module if wire.rank == 0 else model.module[2:]
        part(torch.ones(5, 6) if wire.rank == 0 else torch.ones(5, 20)).square().mean().backward()
        return gradients(model)

    found = run_in_threads(run, 2)
    alone = layers()
    alone(torch.ones(5, 6)).square().mean().backward()
    torch.testing.assert_close(found[1][0], alone[0].weight.grad / 2)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_bf16_halves_the_bytes_and_keeps_two_digits():
    wanted = torch.cat([g.flatten() for g in mean_gradients(layers(seed=0))])
    for found, traffic, _ in backward(exchange=exchange_bf16):
        assert traffic.handed_bytes == 2 * PARAMETERS
        error = torch.cat([g.flatten() for g in found]) - wanted
        assert 0 < error.norm() / wanted.norm() < 1e-2


def test_top_k_of_everything_is_the_plain_exchange():
    for found, traffic, _ in backward(exchange=TopK(1.0)):
        torch.testing.assert_close(found, mean_gradients(layers(seed=0)))
        assert traffic.handed_bytes == 8 * PARAMETERS


def test_top_k_hands_over_eight_bytes_a_number_and_loses_none_of_them():
    def run(wire):
        top, sent = TopK(0.1), torch.zeros(50)
        given = torch.zeros(50)
        for turn in range(4):
            gradients = torch.randn(50, generator=torch.Generator().manual_seed(10 * turn + wire.rank))
            given += gradients
            sent += top(wire, 0, gradients).wait()
        return given, sent, top.left[0], wire.traffic

    found = run_in_threads(run, 2)
    mean_given = (found[0][0] + found[1][0]) / 2
    mean_left = (found[0][2] + found[1][2]) / 2
    for _, sent, _, traffic in found:
        torch.testing.assert_close(sent + mean_left, mean_given, rtol=1e-5, atol=1e-5)
        assert traffic.handed_bytes == 4 * 8 * 5


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match=f"share of {share}"):
        TopK(share)


WINDOWS = torch.randint(11, (10, 9), generator=torch.Generator().manual_seed(4))


def gpt():
    return copy.deepcopy(GPT)


def stepped(shares):
    """Weights and report after one step in which rank r takes the micro-batches ``shares[r]``."""

    def run(wire):
        model = BucketedModel(gpt(), wire, bucket_bytes=4096)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        report = parallel_step(model, optimizer, [take(WINDOWS, s) for s in shares[wire.rank]], wire)
        return list(model.module.parameters()), report

    return run_in_threads(run, len(shares))


@pytest.mark.parametrize(
    "shares",
    [
        [[[0, 1, 2, 3, 4]], [[5, 6, 7, 8, 9]]],
        [[[0, 1, 2, 3, 4, 5, 6]], [[7, 8]], [[9]]],
        [[list(range(10))], [[]]],
        [[[0, 1], [2]], [[3, 4, 5], [6], [7, 8, 9]]],
    ],
    ids=["equal", "unequal", "one has nothing", "micro-batches"],
)
def test_a_step_over_ranks_is_the_step_of_one_process_on_all_samples(shares):
    alone = gpt()
    wanted = accumulate_step(alone, torch.optim.SGD(alone.parameters(), lr=1.0), [take(WINDOWS, range(10))])
    for weights, report in stepped(shares):
        torch.testing.assert_close(weights, list(alone.parameters()), rtol=1e-5, atol=1e-5)
        assert report.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert report.grad_norm == pytest.approx(wanted.grad_norm, rel=1e-4)
        assert report.targets == 80


def test_a_loss_that_is_no_number_on_one_rank_stops_all_before_the_weights_change():
    def run(wire):
        model = BucketedModel(gpt(), wire)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        before = [p.clone() for p in model.module.parameters()]
        if wire.rank == 1:
            model.module.head.logits.weight.data.fill_(float("nan"))
        with pytest.raises(RunFailed, match=f"the loss became nan; rank {wire.rank}'s part") as caught:
            parallel_step(model, optimizer, [take(WINDOWS, [wire.rank])], wire)
        changed = [not torch.equal(a, b) for a, b in zip(before, model.module.parameters(), strict=True)]
        return caught.value.hint, sum(changed)

    found = run_in_threads(run, 2)
    assert all("learning rate" in hint for hint, _ in found)
    assert [changed for _, changed in found] == [0, 1]  # 1: what the test itself broke


def test_targets_that_are_all_ignored_are_refused_on_all_ranks():
    ids, _ = take(WINDOWS, [0])
    batch = (ids, torch.full_like(ids, IGNORE))

    def run(wire):
        model = BucketedModel(gpt(), wire)
        with pytest.raises(ConfigError, match="all targets of all ranks"):
            parallel_step(model, torch.optim.SGD(model.parameters(), lr=1.0), [batch], wire)
        return True

    assert run_in_threads(run, 2) == [True, True]


@pytest.mark.slow
def test_torchs_ddp_and_our_buckets_take_the_same_steps():
    (first, second) = run_ranks("rank_programs:ddp_beside_buckets", world_size=2).results
    for found in (first, second):
        assert found["parameters"] > 1000
        assert found["plain_error"] < 1e-5
        assert 0 < found["bf16_error"] < 1e-2
        assert found["bytes"] == {
            "ours": 4 * found["parameters"],
            "ddp": 4 * found["parameters"],
            "ddp bf16": 2 * found["parameters"],
            "ddp top-k of all": 8 * found["parameters"],
        }
        assert found["top_k_error"] < 1e-5
