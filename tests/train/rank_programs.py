"""Functions that tests start on several ranks."""

import os
import signal
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from scalelab.core.errors import RunFailed
from scalelab.models import CharGpt
from scalelab.models.gpt import initialize
from scalelab.train.accumulate import relative_distance
from scalelab.train.data_parallel import BucketedModel, TopK, Wire, ring_all_reduce
from scalelab.train.data_parallel.exchange import ddp_hook, exchange_bf16, exchange_plain
from scalelab.train.elastic.rank import train
from scalelab.train.parallel.beside_whole import compare_ways
from scalelab.train.parallel.sharded import make_sharded


def who_am_i(rank, word):
    numbers = torch.tensor([float(rank.number)])
    dist.all_reduce(numbers)
    return {
        "rank": rank.number,
        "sum": numbers.item(),
        "word": word,
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
    }


def fail_on_one(rank, number):
    if rank.number == number:
        raise RunFailed(f"the loss became nan at step 3 on {rank.number}", hint="lower the learning rate")
    rank.barrier()


def die_once(rank):
    """Rank 1 is killed at step 2 of its first life."""
    for step in range(4):
        rank.arrive(step)
        if step == 2 and rank.number == 1 and rank.restarts == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()
    return rank.restarts


def wait_for_ever(rank):
    """Rank 1 is alive, but does not come to the exchange."""
    rank.arrive(5)
    dist.barrier()
    if rank.number == 1:
        time.sleep(1000)
    rank.arrive(6)
    dist.barrier()


def ring_beside_all_reduce(rank, elements):
    sent, errors = [], []
    for n in elements:
        mine = torch.randn(n, generator=torch.Generator().manual_seed(rank.number))
        wire = Wire()
        found = ring_all_reduce(mine.clone(), wire)
        dist.all_reduce(mine)
        sent.append(wire.traffic.sent_bytes)
        errors.append((found - mine).abs().max().item())
    return {"sent_bytes": sent, "largest_error": max(errors)}


def ddp_beside_buckets(rank):
    """The same gradients by our buckets, and by DDP with three hooks."""
    inputs = torch.randint(11, (3, 8), generator=torch.Generator().manual_seed(rank.number))

    def gradients(wrap):
        torch.manual_seed(0)
        wire = Wire()
        model = wrap(CharGpt(vocabulary=11, context=8, layers=1, heads=2, width=16), wire)
        rank.arrive()
        model(inputs).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()]), wire.traffic.handed_bytes

    def ddp(model, wire, exchange):
        model = DistributedDataParallel(model)
        model.register_comm_hook(None, ddp_hook(wire, exchange))
        return model

    wanted, ours = gradients(BucketedModel)
    plain, plain_bytes = gradients(lambda model, wire: ddp(model, wire, exchange_plain))
    rounded, rounded_bytes = gradients(lambda model, wire: ddp(model, wire, exchange_bf16))
    largest, largest_bytes = gradients(lambda model, wire: ddp(model, wire, TopK(1.0)))
    return {
        "parameters": wanted.numel(),
        "plain_error": relative_distance(plain, wanted),
        "bf16_error": relative_distance(rounded, wanted),
        "top_k_error": relative_distance(largest, wanted),
        "bytes": {
            "ours": ours,
            "ddp": plain_bytes,
            "ddp bf16": rounded_bytes,
            "ddp top-k of all": largest_bytes,
        },
    }


def train_and_die(rank, **settings):
    """The elastic training; rank 1 is killed before step 23 of its first life, no matter what it is doing."""
    arrive = rank.arrive

    def arrive_or_die(step=None):
        if step == 22 and rank.number == 1 and rank.restarts == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        arrive(step)

    rank.arrive = arrive_or_die
    return train(rank, **settings)


def parallel_beside_whole(rank):
    """The same step by a whole GPT, DTensor, FSDP2 and both pipelines; how far apart they end."""
    found = compare_ways(rank, optimizer="sgd")
    return {**found, "held": found["whole"]["held"]}


def made_sharded_beside_whole(rank):
    """Which parameters of a model made in shards differ from those of the whole one, if put together."""
    shape = {"vocabulary": 11, "context": 8, "layers": 2, "heads": 2, "width": 16}
    whole = CharGpt(**shape)
    torch.manual_seed(3)
    initialize(whole)
    sharded = make_sharded(shape, rank.world_size, seed=3)
    wanted = dict(whole.named_parameters())
    found = {name: p.full_tensor() for name, p in sharded.named_parameters()}
    assert found.keys() == wanted.keys()
    return {
        "different": [name for name in wanted if not torch.equal(found[name], wanted[name])],
        "parameters": len(wanted),
        "on_meta": sum(p.to_local().is_meta for p in sharded.parameters()),
    }
