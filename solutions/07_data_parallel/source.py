# %% [markdown]
# # Lab 07: Data parallel training
# Many processes, one model. It is easy to start, and easy to get quietly wrong.
#
# ## Question
# Three computers train one model. Each finds the gradient of its own share of the batch, and the step must
# use the mean over all of it. First idea: everybody sends theirs to everybody. With forty computers each
# of them then sends the whole model 39 times, at every step. **How few bytes are enough? And what else must
# they agree on, so that three computers learn exactly what one would have learned?**

# %%
from scalelab import Lab

lab = Lab("07_data_parallel")

# %% [markdown]
# ## What you need
# PyTorch, and about 100 minutes. No earlier lab. The model is a small GPT that reads characters.
#
# Words: a *rank* is one of the processes that train together; they count from 0. N is how many there are
# (the *world size*). A rank holds one end of a *wire*:
#
# | | |
# |---|---|
# | `wire.rank`, `wire.world_size` | who this is, and N |
# | `wire.exchange(outgoing, to, incoming, source)` | see below |
# | `wire.all_reduce(tensor).wait()` | `tensor` becomes the sum of all ranks' tensors |
# | `wire.broadcast(tensor)` | `tensor` becomes what it is on rank 0 |
# | `wire.traffic.sent_bytes` | what this rank has sent by `exchange` |
#
# `exchange` sends the tensor `outgoing` to rank `to`, and waits until the tensor `incoming` holds what rank
# `source` has sent to this one. Both sides of a message are of one size.
#
# `run_in_memory(function, 4)` calls `function(wire)` on four ranks. They are threads of this notebook, so you
# can print and try. If they wait for each other for ever, it tells you at once who waits for whom. Under
# *Measure*, the same functions run on real processes.

# %%
import torch
import torch.nn.functional as F

from scalelab.classroom import Measurement, when_ready
from scalelab.classroom.figures import plot_lines
from scalelab.data import load_text
from scalelab.models import CharGpt
from scalelab.train.data_parallel import run_in_memory

torch.set_num_threads(1)  # two threads on a busy machine wait for each other


def windows(n, seed=0):
    """Return n windows of text: ids (n, 8) int64, and the characters that follow, the same."""
    rows = torch.from_numpy(load_text(8 * n + 9, seed=seed).windows(8)[:n])
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def tiny_gpt(seed=0):
    """Return a GPT of 2,480 weights."""
    torch.manual_seed(seed)
    return CharGpt(context=8, layers=1, heads=2, width=8)


def mean_loss(model, ids_BT, targets_BT):
    """Return the mean loss of B windows [nats per character], a tensor of one number."""
    return F.cross_entropy(model(ids_BT).flatten(0, 1), targets_BT.flatten())


def pass_right(wire):
    """Send this rank's number to the right; return what came from the left."""
    right = (wire.rank + 1) % wire.world_size
    left = (wire.rank - 1) % wire.world_size
    came = torch.empty(1)
    wire.exchange(torch.tensor([float(wire.rank)]), right, came, left)
    return came.item()


run_in_memory(pass_right, 4)

# %% [markdown]
# ## Predict
# A model has 9 MB of gradients, and three ranks train it. With the best algorithm that there is, how many
# megabytes does **each rank send** in one step, until all ranks hold the sum of all three?

# %%
lab.predict(
    "sent_by_each",
    "9 MB of gradients, 3 ranks: how much does each rank send?",
    unit="MB",
    range=(0, 40),
)

# %% tags=["solution-only"]
lab.predict("sent_by_each", guess=16, low=6, high=24)

# %% [markdown]
# ## Build
# ### A ring
# The ranks sit in a circle, and each speaks to its right neighbour and listens to its left one. Each cuts its
# numbers into N chunks.
#
# 1. *Reduce-scatter*, N - 1 rounds: send one chunk to the right; what comes from the left is **added** to the
#    chunk of that number here. What you have just added to is what you send in the next round. Rank r begins
#    with chunk r. At the end each rank holds one chunk that is summed over all ranks.
# 2. *All-gather*, N - 1 rounds: the finished chunks go round in the same way, but now what comes **replaces**
#    what is there.
#
# Work it out on paper for three ranks: which chunk leaves rank 0 in each round, and which one comes in?


# %% task="ring"
def ring_all_reduce(numbers, wire):
    """Return the sum of all ranks' numbers; each rank speaks to its two neighbours only.

    A rank sends 2(N - 1) chunks, each of n/N numbers, rounded up.

    Args:
        numbers: tensor (n,) of any type of numbers; n is the same on all ranks, and N need
            not divide it. You may overwrite it.
        wire: gives rank, world_size (N), and exchange(outgoing, to, incoming, source).

    Returns:
        Tensor (n,): on every rank the sum over all ranks.
    """
    ### BEGIN SOLUTION
    n, ranks = len(numbers), wire.world_size
    right, left = (wire.rank + 1) % ranks, (wire.rank - 1) % ranks
    chunks = torch.zeros(
        ranks, -(-n // ranks), dtype=numbers.dtype
    )  # zeros fill the last one up
    chunks.view(-1)[:n] = numbers
    came = torch.empty_like(chunks[0])
    for turn in range(ranks - 1):
        wire.exchange(chunks[(wire.rank - turn) % ranks], right, came, left)
        chunks[(wire.rank - turn - 1) % ranks] += came
    for turn in range(ranks - 1):
        incoming = chunks[(wire.rank - turn) % ranks]
        wire.exchange(chunks[(wire.rank + 1 - turn) % ranks], right, incoming, left)
    return chunks.view(-1)[:n]
    ### END SOLUTION


# %% check="ring"
lab.check("ring")

# %% [markdown]
# ### Buckets
# A GPT has dozens of gradients, many of them tiny, and each message costs its latency. So gradients travel in
# *buckets*. The backward pass makes the gradient of the **last** layer first: a bucket that is full leaves
# while backward still works on the layers before.


# %% task="buckets"
def plan_buckets(sizes_bytes, limit_bytes):
    """Return which gradients travel together, in the order in which they are made.

    A bucket takes the next gradient if it still fits, or else a new bucket begins. No bucket
    holds more than the limit, but for a gradient that is larger by itself: it travels alone.

    Args:
        sizes_bytes: list of int, the size of each parameter's gradient, first layer first.
        limit_bytes: of a bucket, at least 1.

    Returns:
        List of lists of parameter numbers (places in sizes_bytes), first bucket to leave first.
    """
    ### BEGIN SOLUTION
    buckets, room = [], 0
    for number in reversed(range(len(sizes_bytes))):
        if not buckets or sizes_bytes[number] > room:
            buckets.append([])
            room = limit_bytes
        buckets[-1].append(number)
        room -= sizes_bytes[number]
    return buckets
    ### END SOLUTION


# %% check="buckets"
lab.check("buckets")

# %% [markdown]
# ### Accumulate, and send once
# Torch's `DistributedDataParallel` (DDP) wraps a model. Each `backward()` then leaves in `.grad` the **mean
# over the ranks**, and costs one exchange. If you accumulate over eight micro-batches, seven of the exchanges
# are for nothing. Inside of
#
# ```python
# with replica.no_sync():
#     ...                  # forward and backward: adds to this rank's own .grad, sends nothing
# ```
#
# nothing is sent. The first backward after it sends all that has come together. (DDP decides in the *forward*
# pass whether the backward pass will send.)


# %% task="accumulate"
def accumulate(replica, micro_batches):
    """Leave in .grad, on every rank, the gradient of the mean loss of all ranks' windows.

    Costs one exchange, however many micro-batches there are; one of them goes through the
    model at a time.

    Args:
        replica: this rank's model, wrapped: replica(ids) gives logits, backward() leaves the
            mean over ranks in .grad, and replica.no_sync() is as described above. Old gradients
            in it do not count.
        micro_batches: list of (ids (B, T) int64, targets (B, T) int64); B is the same for all,
            and all ranks have equally many.
    """
    ### BEGIN SOLUTION
    replica.zero_grad()
    *others, last = micro_batches
    with replica.no_sync():
        for ids_BT, targets_BT in others:
            (mean_loss(replica, ids_BT, targets_BT) / len(micro_batches)).backward()
    (mean_loss(replica, *last) / len(micro_batches)).backward()
    ### END SOLUTION


# %% check="accumulate"
lab.check("accumulate")

# %% [markdown]
# ### Who reads what?
# In one epoch every sample is read once, by one rank. Each rank finds out by itself which samples are its
# own, without asking anybody. Torch's `DistributedSampler` makes the shares equal: it reads some samples
# twice, or drops some. Yours does neither.


# %% task="samples"
def rank_samples(samples, rank, world_size, epoch, seed=0):
    """Return which samples this rank reads in this epoch, in order.

    Over all ranks each sample comes exactly once, in shares that differ by at most one. The
    order is another one in each epoch and for each seed, and so is the share of a rank. Equal
    arguments give equal answers. Random numbers of others are left alone: whoever calls
    torch.rand, numpy.random or random next must not notice that you were here.

    Args:
        samples: how many there are; they count from 0.
        rank, world_size: as in a wire.
        epoch: from 0.

    Returns:
        List of int (a tensor or an array will do).
    """
    ### BEGIN SOLUTION
    draws = torch.Generator().manual_seed(
        1_000_003 * seed + epoch
    )  # not the rank: all need one order
    order = torch.randperm(samples, generator=draws).tolist()
    return order[rank::world_size]
    ### END SOLUTION


# %% check="samples"
lab.check("samples")

# %% [markdown]
# ### A budget of threads
# PyTorch takes all cores for one process. Two processes take all cores twice, and threads that wait for a
# core make all others of their process wait. Under `torchrun` a rank gets one thread if nobody says
# otherwise; under other launchers it gets all of them.


# %% task="threads"
def threads_per_rank(cores, ranks, loaders=0):
    """Return how many threads each rank may compute with, so that no two share a core.

    Args:
        cores: of this machine.
        ranks: processes that train on it.
        loaders: processes that load data for *each* rank; each of them keeps a core busy.

    Returns:
        An int; at least 1, even where there are too few cores.
    """
    ### BEGIN SOLUTION
    return max(1, cores // ranks - loaders)
    ### END SOLUTION


# %% check="threads"
lab.check("threads")

# %% [markdown]
# ### A drill: three ranks that are not one
# Here is a training loop that runs, on three ranks. Its loss goes down. Nobody complains. But are three ranks
# the same as one? Look at the two numbers below.


# %%
def common_train(model, optimizer, batches, wire):
    """The broken training: one step for each batch; this rank has its share of each of them."""
    for ids_BT, targets_BT in batches:
        optimizer.zero_grad()
        mean_loss(model, ids_BT, targets_BT).backward()
        for parameter in model.parameters():
            wire.all_reduce(parameter.grad).wait()
            parameter.grad /= wire.world_size
        optimizer.step()


def weights_after(train, model, batches, wire):
    """Return all weights after the training as a vector."""
    train(model, torch.optim.SGD(model.parameters(), lr=0.5), batches, wire)
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def joined(batches):
    """Return several batches as one."""
    ids, targets = zip(*batches, strict=True)
    return torch.cat(ids), torch.cat(targets)


models = [tiny_gpt(seed) for seed in (0, 1, 2)]  # each process makes a model of its own
shares = [  # of two batches; rank 1 has 1 window of the first one
    [windows(4, seed=1), windows(1, seed=2)],
    [windows(1, seed=3), windows(2, seed=4)],
    [windows(2, seed=5), windows(4, seed=6)],
]
ended = run_in_memory(
    lambda wire: weights_after(common_train, models[wire.rank], shares[wire.rank], wire), 3
)
batches = [joined(share) for share in zip(*shares, strict=True)]
(one,) = run_in_memory(
    lambda wire: weights_after(common_train, tiny_gpt(seed=0), batches, wire), 1
)
apart, off = (ended[0] - ended[1]).norm(), (ended[0] - one).norm()
f"weights of rank 0 and rank 1: {apart:.2f} apart; of rank 0 and a single process: {off:.2f}"

# %% [markdown]
# Find the causes (there are two), mend the training, and write the test that would have caught **each** of
# them.


# %% task="train"
def train(model, optimizer, batches, wire):
    """Take one step for each batch, so that all ranks end with the weights of a single process.

    A single process would start with rank 0's weights and take one step for each batch on the
    mean loss over all windows of all ranks.

    Args:
        model: this rank's model; each rank made its own.
        optimizer: over model.parameters().
        batches: list of (ids (B, T) int64, targets (B, T) int64), this rank's share of each
            batch. B differs from rank to rank and from batch to batch; it may be 0.
        wire: as described above.
    """
    ### BEGIN SOLUTION
    for parameter in model.parameters():
        wire.broadcast(parameter)
    for ids_BT, targets_BT in batches:
        everywhere = wire.all_reduce(torch.tensor([float(len(ids_BT))])).wait()
        optimizer.zero_grad()
        nats = F.cross_entropy(
            model(ids_BT).flatten(0, 1), targets_BT.flatten(), reduction="sum"
        )
        (nats / (everywhere * ids_BT.shape[1])).backward()
        for each in model.parameters():
            wire.all_reduce(each.grad).wait()
        optimizer.step()
    ### END SOLUTION


def trains_as_one(train):
    """Test a training: do several ranks end with the weights of a single process?

    Args:
        train: function (model, optimizer, batches, wire), like those above.

    Returns:
        True if they do (but for rounding), False if not.
    """
    ### BEGIN SOLUTION
    shares = [
        [windows(3, seed=1), windows(1, seed=2)],
        [windows(1, seed=3), windows(2, seed=4)],
    ]
    models = [tiny_gpt(seed=5), tiny_gpt(seed=6)]
    alone = tiny_gpt(seed=5)
    found = run_in_memory(
        lambda wire: weights_after(train, models[wire.rank], shares[wire.rank], wire), 2
    )
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.5)
    for share in zip(*shares, strict=True):
        optimizer.zero_grad()
        mean_loss(alone, *joined(share)).backward()
        optimizer.step()
    wanted = torch.nn.utils.parameters_to_vector(alone.parameters()).detach()
    return all(torch.allclose(each, wanted, rtol=1e-4, atol=1e-6) for each in found)
    ### END SOLUTION


# %% check="train"
lab.check("train")

# %% [markdown]
# ## Measure
# So far the ranks were threads. Now three processes under `torchrun` run your functions, with one thread
# each; they talk through sockets (gloo). A process imports what it runs from a file: `ship` writes your
# functions, and what they use of the notebook, into one.

# %%
import importlib.util
import inspect
import os
import re
import sys
import tempfile
import time
import types
from pathlib import Path

import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from scalelab.core.stats import paired_ratio
from scalelab.train import run_ranks
from scalelab.train.data_parallel import BucketedModel, InjectedWire, Link, Wire, fit_link
from scalelab.train.turns import take_turns

shipped_to = tempfile.TemporaryDirectory(prefix="lab07-")
sys.path.append(shipped_to.name)


def ship(*functions):
    """Write functions into lab_ranks.py, with what they use of this notebook."""
    names, sources, waiting = dict(globals()), {}, list(functions)
    mine = {
        n: f for n, f in names.items() if inspect.isfunction(f) and f.__module__ == __name__
    }
    while waiting:
        function = waiting.pop()
        text = sources[function.__name__] = inspect.getsource(function)
        words = set(re.findall(r"\w+", text)) & set(mine)
        waiting += [mine[word] for word in words if word not in sources]
    lines, words = [], set(re.findall(r"\w+", "".join(sources.values())))
    for name, each in names.items():
        if name in words and isinstance(each, types.ModuleType):
            lines.append(f"import {each.__name__} as {name}")
        elif name in words and name not in mine and hasattr(each, "__qualname__"):
            lines.append(f"from {each.__module__} import {each.__qualname__} as {name}")
    text = "\n".join([*lines, "", *sources.values()])
    Path(shipped_to.name, "lab_ranks.py").write_text(text, encoding="utf-8")


def everyone_to_everyone(numbers, wire):
    """The first idea: send all numbers to each of the others."""
    total, n = numbers.clone(), wire.world_size
    for step in range(1, n):
        came = torch.empty_like(numbers)
        wire.exchange(numbers, (wire.rank + step) % n, came, (wire.rank - step) % n)
        total += came
    return total


def count_sums(wire, n):
    """Sum n numbers by your ring and by the first idea; return bytes sent, and errors."""
    found, wanted = [], wire.world_size * (wire.world_size + 1) / 2
    for way in (ring_all_reduce, everyone_to_everyone):
        before = wire.traffic.sent_bytes
        total = way(torch.full((n,), wire.rank + 1.0), wire)
        off = float((total - wanted).abs().max())
        found.append({"bytes": wire.traffic.sent_bytes - before, "off": off})
    return found


def time_ring(rank, wire, sizes_bytes, repeats):
    """Return the seconds that your ring takes for each size; the sizes take turns."""
    seconds = [[] for _ in sizes_bytes]
    for _ in range(repeats):
        for size, into in zip(sizes_bytes, seconds, strict=True):
            numbers = torch.ones(size // 4)
            rank.barrier()
            started = time.perf_counter()
            if wire is not None:
                ring_all_reduce(numbers, wire)
            into.append(time.perf_counter() - started)
    return seconds


# %% [markdown]
# The ranks also take one gradient by torch's own DDP, in two ways, and by `accelerate` if you have it. Each
# says on how many ranks it ran. That is no detail: `accelerate launch --cpu --num_processes 2` was seen to
# start **one** process, and to say nothing (version 1.15).


# %%
def batches_of(rank, parts):
    """Return this rank's micro-batches of 4 windows: those that your sampler gives it."""
    rows = torch.from_numpy(load_text(50_000).windows(32))
    mine = list(rank_samples(len(rows), rank.number, rank.world_size, 0))[: 4 * parts]
    return [
        (each[:, :-1].contiguous(), each[:, 1:].contiguous()) for each in rows[mine].split(4)
    ]


def small_gpt():
    """Return a GPT of about 115,000 weights, the same on every rank."""
    torch.manual_seed(0)
    return CharGpt(context=32, layers=2, width=64)


def each_time(replica, micro_batches):
    """The loop without no_sync: every backward pass exchanges."""
    replica.zero_grad()
    share = 1 / len(micro_batches)
    for ids_BT, targets_BT in micro_batches:
        loss = share * mean_loss(replica, ids_BT, targets_BT)
        loss.backward()


def by_library(name):
    """Return a model in torch's DDP, made by itself or by accelerate, and its ranks."""
    if name != "accelerate":
        model = DistributedDataParallel(small_gpt())
    else:
        from accelerate import Accelerator

        model = Accelerator(cpu=True).prepare(small_gpt())
    is_wrapped = isinstance(model, DistributedDataParallel)
    return model, model.process_group.size() if is_wrapped else 1


def compare_libraries(rank, parts):
    """Return what each way handed to all-reduce [bytes], and how far its gradient is off."""
    handed, truth, rows = [], None, []

    def hook(state, bucket):
        handed.append(bucket.buffer().nbytes)
        return allreduce_hook(None, bucket)

    ways = {"DDP, exchange each time": each_time, "DDP, your accumulate": accumulate}
    if importlib.util.find_spec("accelerate"):
        ways["accelerate"] = accumulate
    for name, way in ways.items():
        model, ranks = by_library(name)
        assert ranks == rank.world_size, f"{name} runs on {ranks} rank(s)"
        model.register_comm_hook(None, hook)
        handed.clear()
        way(model, batches_of(rank, parts))
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        truth = gradient if truth is None else truth
        off = float((gradient - truth).norm() / truth.norm())
        rows.append({"way": name, "ranks": ranks, "bytes": sum(handed), "off": off})
    return rows


# %% [markdown]
# Then the same batches over a slow link. It is **injected**: messages travel over loopback, and are held back
# as long as a line of 100 Mbit/s would take. Last, one process against two.


# %%
def over_link(rank, parts, alpha_s, bytes_per_s, turns):
    """Take turns with and without no_sync over an injected link, in buckets of your plan."""
    wire = InjectedWire(Link(alpha_s, bytes_per_s))
    replica = BucketedModel(small_gpt(), wire)
    sizes = [p.numel() * p.element_size() for p in replica.parameters_in_order]
    replica.buckets, batches = plan_buckets(sizes, 1 << 17), batches_of(rank, parts)
    ways = {"each": lambda turn: each_time(replica, batches)}
    ways["once"] = lambda turn: accumulate(replica, batches)
    seconds = take_turns(rank, ways, turns)
    return {
        "seconds": seconds,
        "bytes": sizes,
        "buckets": replica.buckets,
        "late": wire.late_share,
    }


def one_or_two(rank, pair, threads, turns):
    """Take turns: one process, and two with so many threads each; same batches, same model."""
    rows, ways = torch.from_numpy(load_text(50_000).windows(32)), {}

    def way(model, ranks, threads):
        def turn(number):
            if rank.number < ranks:
                torch.set_num_threads(threads)
                mine = rows[:8].chunk(ranks)[rank.number]
                model.zero_grad()
                mean_loss(model, mine[:, :-1], mine[:, 1:]).backward()
                torch.set_num_threads(1)

        return turn

    ways["one process of 1 thread"] = way(small_gpt(), 1, 1)
    for each in threads:
        is_in = rank.number < 2
        model = DistributedDataParallel(small_gpt(), process_group=pair) if is_in else None
        ways[f"two of {each}"] = way(model, 2, each)
    return take_turns(rank, ways, turns)


def on_ranks(rank, n, sizes_bytes, repeats, parts, link, threads):
    """What each process does: everything above, on groups of the first 2, 3, ... ranks."""
    found = {"counted": {}, "timed": {}}
    sizes = range(2, rank.world_size + 1)
    groups = {size: dist.new_group(list(range(size))) for size in sizes}
    for size, group in groups.items():
        wire = Wire(group) if rank.number < size else None
        if wire is not None:
            found["counted"][size] = count_sums(wire, n)
        found["timed"][size] = time_ring(rank, wire, sizes_bytes, repeats)
    own = [windows(1 + 2 * rank.number, seed=rank.number), windows(4 - rank.number, seed=9)]
    found["weights"] = weights_after(train, tiny_gpt(seed=rank.number), own, Wire()).tolist()
    found["libraries"] = compare_libraries(rank, parts)
    found["link"] = over_link(rank, parts, *link, turns=3)
    found["threads"] = one_or_two(rank, groups[2], threads, turns=3)
    return found


# %% [markdown]
# One run of all this takes the time of starting a few Pythons, and then some seconds.

# %%
RANKS, NUMBERS, PARTS = 3, 2_250_000, 8
SIZES = (4_000, 64_000, 250_000, 1_000_000, 4_000_000)
LINK = (0.0005, 12.5e6)
on_processes = {}


def rehearse():
    """Call your functions once, small: a stub or a deadlock shows here already."""
    models = [tiny_gpt(seed=0), tiny_gpt(seed=1)]
    plan_buckets([4, 4], 4), rank_samples(4, 0, 2, 0)

    def rank(wire):
        model = models[wire.rank]
        count_sums(wire, 5)
        train(model, torch.optim.SGD(model.parameters()), [], wire)
        accumulate(BucketedModel(model, wire), [windows(1, seed=1)] * 2)

    run_in_memory(rank, 2)


def run_on_processes():
    """Run everything on three processes; return what each rank sent to sum 9 MB."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    budget, limit = threads_per_rank(cores, 2), 2 * 4 * NUMBERS
    rehearse()
    ship(on_ranks)
    plan = {"n": NUMBERS, "sizes_bytes": SIZES, "repeats": 8, "parts": PARTS, "link": LINK}
    plan["threads"] = sorted({budget, max(2, cores)})
    report = run_ranks("lab_ranks:on_ranks", plan, world_size=RANKS, timeout_s=300)
    on_processes.update(results=report.results, budget=budget, cores=cores)
    rows, is_right = [], True
    for ranks in (2, 3, 4, 6, 8):
        if ranks <= RANKS:
            found = [result["counted"][str(ranks)] for result in report.results[:ranks]]
        else:  # more processes would crowd a small machine
            found = run_in_memory(lambda wire: count_sums(wire, NUMBERS), ranks)
        ring, everyone = (max(each[way]["bytes"] for each in found) for way in (0, 1))
        formula = 2 * (ranks - 1) * -(-NUMBERS // ranks) * 4
        is_right &= ring <= formula and not any(way["off"] for each in found for way in each)
        rows.append(
            {
                "ranks": ranks,
                "ranks are": "processes" if ranks <= RANKS else "threads",
                "everybody to everybody, MB": everyone / 1e6,
                "your ring, MB": round(ring / 1e6, 3),
                "2(N-1)/N x 9 MB": round(formula / 1e6, 3),
                "twice the model, MB": limit / 1e6,
            }
        )
    three, last = rows[1], rows[-1]
    columns = ["everybody to everybody, MB", "your ring, MB", "twice the model, MB"]
    return Measurement(
        three["your ring, MB"],
        unit="MB",
        values=[row["your ring, MB"] for row in rows],
        verdict="PASS" if is_right and three["your ring, MB"] < 15 else "FAIL",
        detail=f"Three processes summed 9 MB; each sent {three[columns[1]]:g} MB by your ring, "
        f"and {three[columns[0]]:g} MB by the first idea. With eight ranks it is "
        f"{last[columns[1]]:g} MB against {last[columns[0]]:g}. Counted: no clock has a say.",
        figure=plot_lines(
            rows,
            "ranks",
            columns,
            title="What one rank sends to sum 9 MB of gradients",
            x_title="ranks",
            y_title="MB sent by each rank",
            colours=("#c8433f", "#3b7dd8", "#7a7a7a"),
        ),
        table=rows,
        alt="Lines over the number of ranks. Everybody to everybody rises in a straight line, "
        f"from 9 MB at 2 ranks to {last[columns[0]]:g} at 8. The ring rises from 9 MB ever "
        f"more slowly to {last[columns[1]]:g}, and stays below 18 MB, twice the model.",
    )


measured = lab.measure("sent_by_each", run_on_processes, unit="MB")
measured

# %% [markdown]
# The other results of that run. Bytes are counted; a clock took part in the rest, and on a machine that is
# busy with other things its intervals are wide.

# %%
with when_ready():
    values = measured.values  # without them, this cell waits
    first = on_processes["results"][0]
    ends = torch.tensor([result["weights"] for result in on_processes["results"]])
    apart = float((ends - ends[0]).abs().max())
    print(f"your training on {RANKS} processes: weights differ by {apart:g} at most\n")
    print(
        "one gradient of 8 micro-batches      ranks   MB handed to all-reduce   gradient off"
    )
    for row in first["libraries"]:
        print(
            f"{row['way']:36} {row['ranks']:5} {row['bytes'] / 1e6:12.2f} {row['off']:26.1e}"
        )

    link = first["link"]
    ratio = paired_ratio(link["seconds"]["each"], link["seconds"]["once"]).ratio
    print("\nover a line of 100 Mbit/s, 0.5 ms (INJECTED), in buckets of your plan")
    print(f"exchange each time / your accumulate: {ratio} times as long (median, range of 3)")

    names = list(first["threads"])
    one, budget, crowd = names[0], names[1], names[-1]
    print(f"\n{on_processes['cores']} cores, the same batch (ratios of times, range of 3)")
    for a, b in ((one, budget), (one, crowd), (crowd, budget)):
        found = paired_ratio(first["threads"][a], first["threads"][b]).ratio
        print(f"{a} / {b}: {found}")
    print("above 1: the second one is faster")

# %% [markdown]
# ## Explain
# How long should an all-reduce take? A model for the back of an envelope: a message of $m$ bytes takes
# $\alpha + \beta m$, a latency and its bytes. The ring sends $2(N-1)$ of them, each of $M/N$ bytes:
#
# $$T = 2(N-1)\,\alpha + 2\,\frac{N-1}{N}\,M\,\beta .$$
#
# From your ring on **two** processes come $\alpha$ and $\beta$. They must then also predict three processes,
# which they have never seen.

# %%
with when_ready():
    values = measured.values
    timed = on_processes["results"][0]["timed"]
    fastest = {ranks: [min(each) for each in rows] for ranks, rows in timed.items()}
    line = fit_link(SIZES, fastest["2"], 2)
    print(
        f"latency {line.alpha_s * 1e6:.0f} us, bandwidth {line.bytes_per_s / 1e6:.0f} MB/s\n"
    )
    print("ranks      bytes   model, ms   fastest of 8, ms    residual, ms")
    for ranks, seconds in fastest.items():
        for size, found in zip(SIZES, seconds, strict=True):
            model = line.all_reduce_s(size, int(ranks))
            told = f"{model * 1e3:11.2f} {found * 1e3:19.2f} {(found - model) * 1e3:+14.2f}"
            print(f"{ranks:>5} {size:10,} {told}")

    link, parts = on_processes["results"][0]["link"], PARTS
    one = sum(
        Link(*LINK).all_reduce_s(sum(link["bytes"][number] for number in bucket), RANKS)
        for bucket in link["buckets"]
    )
    saved = [
        a - b for a, b in zip(*(link["seconds"][way] for way in ("each", "once")), strict=True)
    ]
    print(
        f"\ninjected line: {parts - 1} exchanges less should save {(parts - 1) * one:.2f} s,"
    )
    print(
        f"and saved {sorted(saved)[len(saved) // 2]:.2f} s (median; least {min(saved):.2f}, ",
        end="",
    )
    print(f"most {max(saved):.2f}); {link['late']:.0%} of the messages came late")

# %% [markdown]
# Account for what the models leave over:
# - With three processes the residual is not that of two. How many of them can compute at the same time on
#   this machine? What does each do besides waiting for bytes?
# - Fewer exchanges saved more or less than the model says. Which work can go on while a bucket travels?
# - When would you expect two processes to be slower than one, whatever their threads?
#
# No machine grades this: your words are kept, and an instructor may read them.

# %%
lab.explain("residual", "")

# %% tags=["solution-only"]
lab.explain(
    "residual",
    "Two cores run two of the three processes at a time, so a round waits until its neighbour "
    "gets a core: the residual grows with N. Copying and adding chunks is the processor's work "
    "too; it sits in beta, and with three processes there are not cores enough for it. An "
    "exchange that travels while backward works is hidden in part, so each saved less than it "
    "takes alone. Two processes lose against one where gradients take longer to travel than "
    "half of the computing takes: many weights, few samples a step.",
)

# %% [markdown]
# <details><summary>When yours is written: what a good answer names</summary>
#
# - Cores against processes, and in which rows of the table it shows.
# - That adding and copying chunks is work too, and in which of the two constants it hides.
# - What overlaps with what while a bucket is on its way.
# - A comparison of two times (of computing, of exchanging) that decides if a second process pays.
#
# </details>

# %% [markdown]
# ## Cost
# Bytes between computers cost time, and time is rented. Ten thousand steps of a model with 400 MB of
# gradients (100 million weights) on three computers with a line of 1 Gbit/s: only the exchange, by the model
# above, paid for three computers that wait. With and without accumulating over eight micro-batches:

# %%
from scalelab.cost import cost_of_training

line_1g = Link(alpha_s=0.0005, bytes_per_s=125e6)
exchange_s = line_1g.all_reduce_s(400_000_000, RANKS)
for every, what in (
    (1, "an exchange in each of 10,000 micro-batches"),
    (8, "in every eighth"),
):
    waiting_s = RANKS * exchange_s * 10_000 / every
    lab.cost(cost_of_training(waiting_s, currency="INR"), what=what)

# %% [markdown]
# **Take with you:** one start for all; one order of the samples, and each of them once; every sample weighs
# the same; send once, in buckets, on a ring; count threads before you count processes. And ask each launcher
# on how many ranks it runs.

# %%
lab.progress()
