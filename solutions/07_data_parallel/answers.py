"""Trial answers of lab 07: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task

RING_RIGHT = """
def ring_all_reduce(numbers, wire):
    N, r = wire.world_size, wire.rank
    size = (len(numbers) + N - 1) // N
    padded = F.pad(numbers, (0, size * N - len(numbers)))
    chunks = [padded[i * size : (i + 1) * size].clone() for i in range(N)]
    for t in range(N - 1):
        came = torch.zeros_like(chunks[0])
        wire.exchange(chunks[(r - t) % N], (r + 1) % N, came, (r - 1) % N)
        chunks[(r - t - 1) % N] = chunks[(r - t - 1) % N] + came
    for t in range(N - 1):
        came = torch.zeros_like(chunks[0])
        wire.exchange(chunks[(r - t + 1) % N], (r + 1) % N, came, (r - 1) % N)
        chunks[(r - t) % N] = came
    return torch.cat(chunks)[: len(numbers)]
"""
ONE_LOOP = """
def ring_all_reduce(numbers, wire):
    N, r = wire.world_size, wire.rank
    chunks = CUT
    for t in range(2 * (N - 1)):
        came = torch.zeros_like(chunks[0])
        wire.exchange(chunks[(r - t) % N], (r + 1) % N, came, (r - 1) % N)
        chunks[(r - t - 1) % N] = came + (chunks[(r - t - 1) % N] if t < N - 1 else 0)
    return numbers
"""
EVERYONE = """
def ring_all_reduce(numbers, wire):
    total = numbers.clone()
    for step in range(1, wire.world_size):
        came = torch.empty_like(numbers)
        to, source = (wire.rank + step) % wire.world_size, (wire.rank - step) % wire.world_size
        wire.exchange(numbers, to, came, source)
        total += came
    return total
"""
RING = Task(
    right=[
        RING_RIGHT,
        """
def ring_all_reduce(numbers, wire):
    ranks = wire.world_size
    right, left = (wire.rank + 1) % ranks, (wire.rank - 1) % ranks
    parts = torch.tensor_split(numbers, ranks)  # of unlike sizes, and no zeros
    at = wire.rank
    for turn in range(2 * (ranks - 1)):
        before = (at - 1) % ranks
        came = torch.empty_like(parts[before])
        wire.exchange(parts[at], right, came, left)
        if turn < ranks - 1:
            parts[before].add_(came)
        else:
            parts[before].copy_(came)
        at = before
    return numbers
""",
        """
def ring_all_reduce(numbers, wire):
    # the other way round: to the left
    n, me, size = wire.world_size, wire.rank, -(-len(numbers) // wire.world_size)
    rows = torch.cat([numbers, numbers.new_zeros(n * size - len(numbers))]).reshape(n, size)

    def turn(out, into, adds):
        came = torch.empty_like(rows[0])
        wire.exchange(rows[out % n].clone(), (me - 1) % n, came, (me + 1) % n)
        rows[into % n] = rows[into % n] + came if adds else came

    for k in range(n - 1):
        turn(me + k, me + k + 1, True)
    for k in range(n - 1):
        turn(me + k - 1, me + k, False)
    return rows.flatten()[: len(numbers)]
""",
    ],
    wrong={
        "sends-everything": EVERYONE,
        "one-rank-carries": """
def ring_all_reduce(numbers, wire):
    total, empty = numbers.clone(), numbers[:0]
    for other in range(1, wire.world_size):
        came = torch.empty_like(numbers)
        if wire.rank == 0:
            wire.exchange(empty, other, came, other)
            total += came
        elif wire.rank == other:
            wire.exchange(numbers, 0, empty.clone(), 0)
    for other in range(1, wire.world_size):
        if wire.rank == 0:
            wire.exchange(total, other, empty.clone(), other)
        elif wire.rank == other:
            wire.exchange(empty, 0, total, 0)
    return total
""",
        "beyond-neighbours": """
def ring_all_reduce(numbers, wire):
    n, me = wire.world_size, wire.rank
    chunks = F.pad(numbers, (0, -len(numbers) % n)).view(n, -1)
    mine = chunks[me].clone()
    for step in range(1, n):
        came = torch.empty_like(mine)
        wire.exchange(chunks[(me + step) % n], (me + step) % n, came, (me - step) % n)
        mine += came
    done = torch.empty_like(chunks)
    done[me] = mine
    for step in range(1, n):
        wire.exchange(mine, (me + step) % n, done[(me - step) % n], (me - step) % n)
    return done.flatten()[: len(numbers)]
""",
        "asks-the-library": """
def ring_all_reduce(numbers, wire):
    return wire.all_reduce(numbers).wait()
""",
        "only-one-chunk": RING_RIGHT.replace(
            "    for t in range(N - 1):\n        came = torch.zeros_like(chunks[0])\n"
            "        wire.exchange(chunks[(r - t + 1) % N], (r + 1) % N, came, (r - 1) % N)\n"
            "        chunks[(r - t) % N] = came\n",
            "",
        ),
        "wrong-sum": RING_RIGHT.replace("range(N - 1)", "range(N - 2)"),
        "adds-too-often": RING_RIGHT.replace("% N] = came", "% N] += came"),
        "mean-not-sum": RING_RIGHT.replace("[: len(numbers)]", "[: len(numbers)] / N"),
        "nothing-came": """
def ring_all_reduce(numbers, wire):
    ring_numbers = numbers.clone()
    came = torch.empty_like(numbers)
    for _ in range(wire.world_size - 1):
        right, left = (wire.rank + 1) % wire.world_size, (wire.rank - 1) % wire.world_size
        wire.exchange(ring_numbers, right, came, left)
    return ring_numbers
""",
        "stuck": RING_RIGHT.replace("came, (r - 1) % N)", "came, (r + 1) % N)"),
        "no-such-rank": RING_RIGHT.replace("(r + 1) % N, came", "r + 1, came"),
        "remainder-lost": ONE_LOOP.replace(
            "CUT", "numbers[: len(numbers) // N * N].view(N, -1)"
        ),
        "padding-stays": RING_RIGHT.replace("[: len(numbers)]\n", "\n"),
        "uneven-crashes": ONE_LOOP.replace("CUT", "numbers.view(N, -1)"),
        "wrong-messages": RING_RIGHT.replace(
            "    return torch.cat",
            "    wire.exchange(chunks[0][:0], (r + 1) % N, came[:0], (r - 1) % N)\n    return torch.cat",
        ),
        "other-shape": RING_RIGHT.replace(
            "torch.cat(chunks)[: len(numbers)]", "torch.stack(chunks)"
        ),
    },
    crashing="""
def ring_all_reduce(numbers, wire):
    return wire.exchange(numbers, wire.rank + 1)
""",
)

BUCKETS_RIGHT = """
def plan_buckets(sizes_bytes, limit_bytes):
    plan, open_bucket, load = [], [], 0
    for number in range(len(sizes_bytes) - 1, -1, -1):
        if open_bucket and load + sizes_bytes[number] > limit_bytes:
            plan.append(open_bucket)
            open_bucket, load = [], 0
        open_bucket.append(number)
        load += sizes_bytes[number]
    plan.append(open_bucket)
    return plan
"""
BUCKETS = Task(
    right=[
        BUCKETS_RIGHT,
        """
def plan_buckets(sizes_bytes, limit_bytes):
    left, plan = list(enumerate(sizes_bytes)), []
    while left:
        number, load = left.pop()
        bucket = [number]
        while left and load + left[-1][1] <= limit_bytes:
            number, size = left.pop()
            bucket.append(number)
            load += size
        plan.append(tuple(bucket))
    return tuple(plan)
""",
    ],
    wrong={
        "last-bucket-lost": BUCKETS_RIGHT.replace(
            "    plan.append(open_bucket)\n    return", "    return"
        ),
        "first-layer-first": BUCKETS_RIGHT.replace(
            "range(len(sizes_bytes) - 1, -1, -1)", "range(len(sizes_bytes))"
        ),
        "empty-bucket": BUCKETS_RIGHT.replace("open_bucket and load", "load"),
        "no-parameter-numbers": BUCKETS_RIGHT.replace(
            "append(number)", "append(sizes_bytes[number])"
        ),
        "left-early": BUCKETS_RIGHT.replace("> limit_bytes", ">= limit_bytes"),
        "one-each": """
def plan_buckets(sizes_bytes, limit_bytes):
    return [[number] for number in reversed(range(len(sizes_bytes)))]
""",
        "over-the-limit": """
def plan_buckets(sizes_bytes, limit_bytes):
    plan, load = [[]], 0
    for number in reversed(range(len(sizes_bytes))):
        plan[-1].append(number)
        load += sizes_bytes[number]
        if load >= limit_bytes and number:  # as torch does it: closed when it is over
            plan.append([])
            load = 0
    return plan
""",
        "large-one-shares": """
def plan_buckets(sizes_bytes, limit_bytes):
    plan, load = [[]], 0
    for number in reversed(range(len(sizes_bytes))):
        size = sizes_bytes[number]
        if plan[-1] and load + size > limit_bytes and size <= limit_bytes:
            plan.append([])
            load = 0
        plan[-1].append(number)
        load += size
    return plan
""",
        "parameters-lost": BUCKETS_RIGHT.replace("-1, -1, -1)", "-1, -1, -1)").replace(
            "        open_bucket.append(number)",
            "        if sizes_bytes[number] > limit_bytes:\n            continue\n"
            "        open_bucket.append(number)",
        ),
        "other-order": """
def plan_buckets(sizes_bytes, limit_bytes):
    plan, load = [], limit_bytes
    for number in sorted(range(len(sizes_bytes)), key=lambda n: sizes_bytes[n]):
        if load + sizes_bytes[number] > limit_bytes:
            plan.append([])
            load = 0
        plan[-1].append(number)
        load += sizes_bytes[number]
    return plan
""",
        "not-once": BUCKETS_RIGHT.replace(
            "        open_bucket.append(number)\n",
            "        open_bucket.append(number)\n"
            "        if sizes_bytes[number] > limit_bytes:\n            plan.append([number])\n",
        ),
    },
    crashing="""
def plan_buckets(sizes_bytes, limit_bytes):
    return sizes_bytes.split(limit_bytes)
""",
)

ONCE = """
def accumulate(replica, micro_batches):
    replica.zero_grad()
    k = len(micro_batches)
    with replica.no_sync():
        for ids, targets in micro_batches[:-1]:
            (mean_loss(replica, ids, targets) / k).backward()
    (mean_loss(replica, *micro_batches[-1]) / k).backward()
"""
BY_TURNS = """
def accumulate(replica, micro_batches):
    from contextlib import nullcontext
    replica.zero_grad(set_to_none=True)
    k = len(micro_batches)
    for i, (ids, targets) in enumerate(micro_batches):
        with nullcontext() if i == k - 1 else replica.no_sync():
            loss = mean_loss(replica, ids, targets) / k
            loss.backward()
"""
ACCUMULATE = Task(
    right=[
        BY_TURNS,
        """
def accumulate(replica, micro_batches):
    for p in replica.parameters():
        p.grad = None
    targets_in_all = sum(targets.numel() for _, targets in micro_batches)

    def back(ids, targets):
        logits = replica(ids)
        loss = F.cross_entropy(logits.reshape(-1, 96), targets.reshape(-1), reduction="sum")
        (loss / targets_in_all).backward()

    with replica.no_sync():
        for each in micro_batches[:-1]:
            back(*each)
    back(*micro_batches[-1])
""",
        """
def accumulate(replica, micro_batches):
    import contextlib
    for p in replica.parameters():
        if p.grad is not None:
            p.grad.zero_()
    with contextlib.ExitStack() as stack:
        stack.enter_context(replica.no_sync())
        for number, batch in enumerate(micro_batches, start=1):
            if number == len(micro_batches):
                stack.close()
            mean_loss(replica, *batch).div(len(micro_batches)).backward()
""",
    ],
    wrong={
        "exchanges-each": BY_TURNS.replace(
            "nullcontext() if i == k - 1 else replica.no_sync()", "nullcontext()"
        ),
        "forward-outside": BY_TURNS.replace(
            "        with nullcontext()",
            "        loss = mean_loss(replica, ids, targets) / k\n        with nullcontext()",
        ).replace(
            "            loss = mean_loss(replica, ids, targets) / k\n            loss",
            "            loss",
        ),
        "never-exchanged": ONCE.replace("micro_batches[:-1]", "micro_batches").replace(
            "    (mean_loss(replica, *micro_batches[-1]) / k).backward()\n", ""
        ),
        "sent-too-early": BY_TURNS.replace("i == k - 1", "i == 0"),
        "sum-of-means": ONCE.replace("k = len(micro_batches)", "k = 1"),
        "only-the-last": ONCE.replace(
            "            (mean", "            replica.zero_grad()\n            (mean"
        ).replace(
            "    (mean_loss(replica, *", "    replica.zero_grad()\n    (mean_loss(replica, *"
        ),
        "old-gradient-stays": ONCE.replace("    replica.zero_grad()\n", ""),
        "divided-twice": ONCE.replace(
            "len(micro_batches)", "len(micro_batches) * replica.wire.world_size"
        ),
        "divided-by-ranks": ONCE.replace("len(micro_batches)", "replica.wire.world_size"),
        "one-big-batch": """
def accumulate(replica, micro_batches):
    replica.zero_grad()
    ids, targets = (torch.cat(parts) for parts in zip(*micro_batches))
    mean_loss(replica, ids, targets).backward()
""",
        "graphs-pile-up": """
def accumulate(replica, micro_batches):
    replica.zero_grad()
    losses = [mean_loss(replica, *each) for each in micro_batches]
    (sum(losses) / len(losses)).backward()
""",
        "one-by-one": ONCE.replace("[:-1]", "").replace(
            "    (mean_loss(replica, *micro_batches[-1]) / k).backward()\n", ""
        )
        + """
    for p in replica.parameters():
        replica.wire.all_reduce(p.grad).wait().div_(replica.wire.world_size)
""",
        "moves-weights": ONCE + "    torch.optim.SGD(replica.parameters(), lr=0.1).step()\n",
        "more-than-one": BY_TURNS.replace("i == k - 1", "i >= k - 2").replace(
            "            loss.backward()",
            "            if i == k - 1:\n                for p in replica.parameters():\n"
            "                    p.grad /= 1\n            loss.backward()",
        ),
        "wrong-gradient": ONCE.replace("micro_batches[:-1]", "micro_batches[1:-1]"),
    },
    crashing="""
def accumulate(replica, micro_batches):
    with replica.no_sync:
        for ids, targets in micro_batches:
            mean_loss(replica, ids, targets).backward()
""",
)


def ordered(share, seed="(seed, epoch)"):
    """Return a sampler that shuffles with some seed and takes some share of the order."""
    return f"""
def rank_samples(samples, rank, world_size, epoch, seed=0):
    import numpy as np
    order = np.random.default_rng({seed}).permutation(samples)
    return {share}
"""


EVERY_NTH = "order[rank::world_size]"
SAMPLES = Task(
    right=[
        ordered(EVERY_NTH),
        ordered("np.array_split(order, world_size)[rank].tolist()"),
        """
def rank_samples(samples, rank, world_size, epoch, seed=0):
    import random
    numbers = list(range(samples))
    random.Random(f"{seed} {epoch}").shuffle(numbers)
    begin, end = (rank * samples // world_size, (rank + 1) * samples // world_size)
    return numbers[begin:end]
""",
        """
def rank_samples(samples, rank, world_size, epoch, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * 9973 + epoch)
        return torch.randperm(samples)[rank::world_size]
""",
    ],
    wrong={
        "read-twice": """
def rank_samples(samples, rank, world_size, epoch, seed=0):
    from torch.utils.data import DistributedSampler
    sampler = DistributedSampler(range(samples), world_size, rank, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)
""",
        "remainder-dropped": ordered(
            "order[: samples // world_size * world_size][rank::world_size]"
        ),
        "own-order": ordered(EVERY_NTH, seed="(seed, epoch, rank)"),
        "uneven-shares": ordered(
            "order[: samples // 2] if rank == 0 else order[samples // 2 :][rank - 1 :: world_size - 1]"
        ),
        "same-every-epoch": ordered(EVERY_NTH, seed="(seed, epoch % 2)"),
        "ignores-the-seed": ordered(EVERY_NTH, seed="epoch"),
        "not-shuffled": ordered("list(range(rank, samples, world_size))"),
        "same-share": ordered("order[(rank + epoch) % world_size :: world_size]", seed="seed"),
        "not-repeatable": ordered(EVERY_NTH, seed=""),
        "disturbs-others": """
def rank_samples(samples, rank, world_size, epoch, seed=0):
    torch.manual_seed(seed * 9973 + epoch)
    return torch.randperm(samples)[rank::world_size].tolist()
""",
        "no-sample-numbers": ordered("[n + 1 for n in order[rank::world_size]]"),
        "one-epoch-only": ordered(
            "order[rank::world_size] if epoch == 0 else order[rank : samples // 2]"
        ),
    },
    crashing=ordered("samples[rank::world_size]"),
)


def threads(expression):
    """Return an answer that computes the threads by one expression."""
    return f"""
def threads_per_rank(cores, ranks, loaders=0):
    return {expression}
"""


THREADS = Task(
    right=[
        """
def threads_per_rank(cores, ranks, loaders=0):
    left = cores - ranks * loaders
    return left // ranks if left >= ranks else 1
""",
        """
def threads_per_rank(cores, ranks, loaders=0):
    import math
    return int(max(math.floor(cores / ranks) - loaders, 1))
""",
        """
def threads_per_rank(cores, ranks, loaders=0):
    threads = 1
    while ranks * (threads + 1 + loaders) <= cores:
        threads += 1
    return threads
""",
    ],
    wrong={
        "all-cores-each": threads("max(1, cores - loaders)"),
        "none-left": threads("cores // ranks - loaders"),
        "rounds-up": threads("max(1, -(-cores // ranks) - loaders)"),
        "forgets-loaders": threads("max(1, cores // ranks)"),
        "loaders-once": threads("max(1, (cores - loaders) // ranks)"),
        "not-whole": threads("max(1, cores / ranks - loaders)"),
        "wrong-threads": threads("max(1, cores // (ranks + loaders))"),
    },
    crashing=threads("max(1, cores // loaders)"),
)

GUARD = """
def trains_as_one(train):
    shares = [[windows(3, 1), windows(1, 2)], [windows(1, 3), windows(2, 4)]]
    models = [tiny_gpt(7), tiny_gpt(8)]
    found = run_in_memory(
        lambda wire: weights_after(train, models[wire.rank], shares[wire.rank], wire), 2
    )
    alone, optimizer = tiny_gpt(7), None
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.5)
    for a, b in zip(*shares):
        optimizer.zero_grad()
        mean_loss(alone, torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])).backward()
        optimizer.step()
    wanted = torch.nn.utils.parameters_to_vector(alone.parameters())
    return all((each - wanted).norm().item() < 1e-4 for each in found)
"""
TRAIN_RIGHT = """
def train(model, optimizer, batches, wire):
    for p in model.parameters():
        wire.broadcast(p)
    for ids, targets in batches:
        total = torch.tensor([targets.numel()], dtype=torch.float64)
        wire.all_reduce(total).wait()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum")
        (loss / total.item()).backward()
        for p in model.parameters():
            wire.all_reduce(p.grad).wait()
        optimizer.step()
"""
TRAIN = Task(
    right=[
        TRAIN_RIGHT + GUARD,
        """
def train(model, optimizer, batches, wire):
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    wire.broadcast(start)
    torch.nn.utils.vector_to_parameters(start, model.parameters())
    for ids, targets in batches:
        optimizer.zero_grad()
        mine = torch.tensor([float(len(ids))])
        in_all = wire.all_reduce(mine.clone()).wait()
        if len(ids):
            mean_loss(model, ids, targets).backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
        flat = torch.cat([g.flatten() for g in grads]) * mine / in_all
        flat = wire.all_reduce(flat).wait()
        for p, g in zip(model.parameters(), flat.split([p.numel() for p in model.parameters()])):
            p.grad = g.view_as(p).clone()
        optimizer.step()

def trains_as_one(train):
    sizes = [[2], [5], [1]]
    batches = [[windows(n, seed=n) for n in each] for each in sizes]
    models = [tiny_gpt(seed) for seed in (1, 2, 3)]

    def rank(wire):
        return weights_after(train, models[wire.rank], batches[wire.rank], wire)

    ranks = torch.stack(run_in_memory(rank, 3))
    one = tiny_gpt(1)
    optimizer = torch.optim.SGD(one.parameters(), lr=0.5)
    ids, targets = (torch.cat([batch[0][i] for batch in batches]) for i in (0, 1))
    mean_loss(one, ids, targets).backward()
    optimizer.step()
    truth = torch.nn.utils.parameters_to_vector(one.parameters()).detach()
    return bool((ranks - truth).abs().max() < 1e-5)
""",
        """
def train(model, optimizer, batches, wire):
    for name, tensor in model.state_dict().items():
        wire.broadcast(tensor)
    for ids, targets in batches:
        pending = wire.all_reduce(torch.tensor([len(ids)]))
        optimizer.zero_grad()
        if len(ids):
            (mean_loss(model, ids, targets) * len(ids)).backward()
        windows_in_all = pending.wait().item()
        sums = []
        for p in model.parameters():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            sums.append(wire.all_reduce(p.grad))
        for each in sums:
            each.wait().div_(windows_in_all)
        optimizer.step()
"""
        + GUARD,
    ],
    wrong={
        "own-start": """
def train(model, optimizer, batches, wire):
    common_train(model, optimizer, batches, wire)
"""
        + GUARD,
        "by-ranks": """
def train(model, optimizer, batches, wire):
    for p in model.parameters():
        wire.broadcast(p)
    common_train(model, optimizer, batches, wire)
"""
        + GUARD,
        "sum-not-mean": """
def train(model, optimizer, batches, wire):
    for p in model.parameters():
        wire.broadcast(p)
    for ids, targets in batches:
        optimizer.zero_grad()
        mean_loss(model, ids, targets).backward()
        for p in model.parameters():
            wire.all_reduce(p.grad).wait()
        optimizer.step()
"""
        + GUARD,
        "divided-by-both": TRAIN_RIGHT.replace(
            "wire.all_reduce(p.grad).wait()",
            "wire.all_reduce(p.grad).wait().div_(wire.world_size)",
        )
        + GUARD,
        "mixed-start": TRAIN_RIGHT.replace(
            "wire.broadcast(p)", "wire.all_reduce(p.data).wait().div_(wire.world_size)"
        )
        + GUARD,
        "ranks-drift": TRAIN_RIGHT.replace(
            "        for p in model.parameters():\n            wire.all_reduce(p.grad).wait()\n",
            "",
        )
        + GUARD,
        "no-step": TRAIN_RIGHT.replace("        optimizer.step()\n", "") + GUARD,
        "wrong-training": TRAIN_RIGHT.replace("        optimizer.zero_grad()\n", "") + GUARD,
        "stuck": TRAIN_RIGHT.replace(
            "    for p in model.parameters():\n        wire.broadcast(p)\n",
            "    for p in model.parameters():\n        wire.broadcast(p)\n"
            "    batches = [batch for batch in batches if len(batch[0]) > 1]\n",
        )
        + GUARD,
        "misfit": TRAIN_RIGHT.replace(
            "    for p in model.parameters():\n        wire.broadcast(p)\n",
            "    if wire.rank == 0:\n        for p in model.parameters():\n            wire.broadcast(p)\n",
        )
        + GUARD,
        "guard-blames-the-right": TRAIN_RIGHT
        + GUARD.replace("(each - wanted).norm().item() < 1e-4", "torch.equal(each, wanted)"),
        "guard-misses-the-start": TRAIN_RIGHT + GUARD.replace("tiny_gpt(8)", "tiny_gpt(7)"),
        "guard-misses-the-weights": TRAIN_RIGHT
        + GUARD.replace("windows(3, 1)", "windows(2, 1)")
        .replace("windows(1, 2)", "windows(2, 2)")
        .replace("windows(1, 3)", "windows(2, 3)"),
        "guard-misses-the-exchange": TRAIN_RIGHT
        + GUARD.replace("[windows(1, 3), windows(2, 4)]", "[windows(3, 1), windows(1, 2)]"),
        "guard-looks-at-one": TRAIN_RIGHT
        + GUARD.replace("each in found)", "each in found[:1])"),
        "guard-says-yes": TRAIN_RIGHT
        + """
def trains_as_one(train):
    models = [tiny_gpt(7), tiny_gpt(8)]
    run_in_memory(lambda wire: weights_after(train, models[wire.rank], [windows(2, 1)], wire), 2)
    return True
""",
        "guard-misses-the-sum": TRAIN_RIGHT
        + """
def trains_as_one(train):
    shares = [[windows(3, 1), windows(1, 2)], [windows(1, 3), windows(2, 4)]]
    models = [tiny_gpt(7), tiny_gpt(8)]
    found = run_in_memory(
        lambda wire: weights_after(train, models[wire.rank], shares[wire.rank], wire), 2
    )
    return torch.allclose(found[0], found[1])
""",
        "no-yes-or-no": TRAIN_RIGHT
        + GUARD.replace(
            "all((each - wanted).norm().item() < 1e-4", "list((each - wanted).norm().item()"
        ),
    },
    crashing="""
def train(model, optimizer, batches, wire):
    wire.broadcast(model)
    common_train(model, optimizer, batches, wire)
"""
    + GUARD,
)

ANSWERS = {
    "ring": RING,
    "buckets": BUCKETS,
    "accumulate": ACCUMULATE,
    "samples": SAMPLES,
    "threads": THREADS,
    "train": TRAIN,
}
