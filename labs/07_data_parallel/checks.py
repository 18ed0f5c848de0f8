"""Checks of lab 07: many ranks must do what one process would do (`inside.py` runs them); bytes count too."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.grading import Answers, check, expect, expect_type
from scalelab.models import CharGpt

Batch = tuple[Tensor, Tensor]
CLOSE = 1e-3  # mistakes differ by per cents, rounding by 1e-6
torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds

STUCK = {
    "waits": ("stuck", "each waits for another one: who sends in this round, and who listens to whom?"),
    "misfit": ("misfit", "both ends of a message must be of one size, and both ranks at the same place"),
    "untaken": ("untaken", "each message that leaves a rank must be waited for by another"),
    "nobody": ("no-such-rank", "on a circle the right neighbour of the last rank is rank 0: % world_size"),
    "endless": ("endless", "a ring needs 2(N - 1) messages from each rank, then all is done"),
}


def need(told: str, *cases: tuple[object, str, str]) -> None:
    """Fail with `told`, and with code and meaning of the first case that does not hold."""
    for holds, code, meaning in cases:
        expect(holds, told, code=code, meaning=meaning)


def expect_not_stuck(seen: dict[str, Any], what: str) -> list[Any]:
    """Return what the ranks report; fail where they could not go on."""
    if "stuck" in seen:
        code, meaning = STUCK.get(seen["kind"], STUCK["waits"])
        expect(False, f"{what}: {seen['stuck']}", code=code, meaning=meaning)
    return list(seen["ranks"])


def draw_gpt(rng: np.random.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        model = CharGpt(context=6, layers=1, heads=2, width=8)
        for parameter in model.parameters():  # larger than at a GPT's start, so that mistakes show
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def draw_batch(rng: np.random.Generator, size: int) -> Batch:
    ids, targets = (torch.from_numpy(rng.integers(0, 96, (size, 6))) for _ in range(2))
    return ids, targets


def mean_gradient(model: nn.Module, batch: Batch) -> Tensor:
    """Return the gradient of the mean loss of a batch as a vector; zeros if it is empty."""
    ids, targets = batch
    if not len(ids):
        return torch.zeros(sum(parameter.numel() for parameter in model.parameters()), dtype=torch.double)
    loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    return flat(torch.autograd.grad(loss, list(model.parameters())))


def flat(tensors: Sequence[Tensor | None]) -> Tensor:
    found = [each.detach().flatten().double() for each in tensors if each is not None]
    return torch.cat([torch.zeros(0), *found])


def is_near(found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() <= CLOSE * wanted.norm())


def distance(found: Tensor, wanted: Tensor) -> str:
    is_alike = found.shape == wanted.shape
    return f"{100 * float((found - wanted).norm() / wanted.norm()):.3g} %" if is_alike else "far"


@check(
    "ring", points=5, limit_s=60,
    hints=(
        "Write down for three ranks which chunk leaves rank 0 in rounds 1 and 2, and which one comes in.",
        "In round t (from 0) rank r sends chunk r - t and adds what comes to chunk r - t - 1, all % N. In "
        "the second half it sends chunk r + 1 - t, and what comes takes the place of chunk r - t.",
        "Pad with zeros to N equal chunks: torch.zeros(N, -(-n // N)). Two loops of N - 1 rounds, each with "
        "one wire.exchange. Cut the padding off at the end.",
    ),
)  # fmt: skip
def sum_on_a_ring(answers: Answers) -> None:
    """Sum over all ranks by speaking to neighbours only, in 2(N - 1) messages of one chunk each."""
    rng, k = answers.rng, int(answers.rng.integers(2, 5))
    sizes = [(3, 3 * k), (2, 2 * k), (5, 5 * k), (4, 4 * k + int(rng.integers(1, 4))), (4, 5)]
    for ranks, n in sizes:
        numbers = [rng.integers(1, 9999, n).astype(np.float32) for _ in range(ranks)]  # exact, not in 16 bits
        seen = answers.inside("try_ring" if n % ranks == 0 else "try_uneven_ring", numbers=numbers)
        need(f"{n} numbers on {ranks} ranks gave {seen.get('raised')}",
             ("raised" not in seen, "uneven-crashes", "N need not divide n: fill up with zeros (torch.chunk "
              "may give fewer than N chunks)"))  # fmt: skip
        judge_ring(seen, numbers)


def judge_ring(seen: dict[str, Any], numbers: list[np.ndarray]) -> None:
    ranks, n, wanted = len(numbers), len(numbers[0]), np.sum(numbers, axis=0)
    place, chunk = f"{n} numbers on {ranks} ranks", -(-n // ranks)
    reports = expect_not_stuck(seen, place)
    for report in reports:
        expect_type(report["found"], (Tensor, np.ndarray), what="what ring_all_reduce returned")
    shapes = [tuple(report["found"].shape) for report in reports]
    need(f"{place}: shapes {shapes} came back, wanted ({n},)",
        (chunk * ranks == n or shapes != [(chunk * ranks,)] * ranks, "padding-stays",
         "the zeros that filled up the last chunk are still there"),
        (shapes == [(n,)] * ranks, "other-shape", "as many numbers come back as went in"))  # fmt: skip
    found = np.array([np.asarray(report["found"], dtype=float) for report in reports])
    is_right = found == wanted
    share, cut = is_right.mean(), n // ranks * ranks
    told = f"{place}: {100 * share:.0f} % of the sums are right"
    if share < 1:
        rank, at = np.argwhere(~is_right)[0]
        told += f"; on rank {rank}, number {at} is {found[rank, at]:g}, wanted {wanted[at]:g}"
    is_one_chunk = cut == n and abs(share - 1 / ranks) < 0.5 / n and bool(is_right.any(axis=0).all())
    need(told,
        (not np.allclose(found, wanted / ranks), "mean-not-sum", "this is the mean; wanted is the sum"),
        (not np.array_equal(found, numbers), "nothing-came", "each rank returned what it came with"),
        (cut == n or not is_right[:, :cut].all() or share == 1, "remainder-lost",
         "the last n % N numbers are in no chunk here"),
        (not (found > wanted).any(), "adds-too-often", "some numbers count twice: a wrong chunk was sent or "
         "added to; or the second half adds and does not replace; or a chunk IS `came`, overwritten later"),
        (not is_one_chunk, "only-one-chunk",
         "reduce-scatter works: each rank has one whole sum. The second half is missing, or wrong"),
        (share == 1, "wrong-sum", "some are missing: follow one chunk around the circle"))  # fmt: skip
    sent, most = [report["bytes"] for report in reports], 2 * (ranks - 1) * chunk * 4
    is_alike = max(sent) - min(sent) < 2 * (ranks - 1) * 4 + 1
    need(f"{place}: the ranks sent {sent} bytes, wanted at most {most} each",
        (not any(report["collectives"] for report in reports), "asks-the-library",
         "all_reduce is what you are to write here, with exchange alone"),
        (any(report["bytes"] != report["messages"] * n * 4 for report in reports), "sends-everything",
         "all numbers went to, or past, every rank, which grows with N: send chunks"),
        (is_alike, "one-rank-carries", "one rank does most of the sending, and the others wait for it"),
        (max(sent) <= most, "too-many-bytes", "one chunk in each round, no more"))  # fmt: skip
    messages, steps = [report["messages"] for report in reports], 2 * (ranks - 1)
    away = sorted({step for report in reports for step in report["partners"]})
    need(f"{place}: {messages} messages, to ranks {away} places to the right",
        (set(away) <= {1, ranks - 1}, "beyond-neighbours",
         "as few bytes, but each pair of ranks needs a way of its own; a ring needs N ways in all"),
        (set(messages) == {steps}, "wrong-messages", "N - 1 rounds to add up, N - 1 to pass on"))  # fmt: skip


@check(
    "buckets", points=3,
    hints=(
        "Whose gradient is made first? In which bucket does it leave?",
        "Go from the last parameter to the first; keep how much room the open bucket has left.",
        "If there is no bucket yet, or the next size is larger than the room: open a new one with room for "
        "limit_bytes. Then put the number in, and take its size off the room.",
    ),
)  # fmt: skip
def buckets_in_the_order_of_backward(answers: Answers) -> None:
    """Fill buckets from the last parameter on, each up to the limit; what is larger travels alone."""
    rng = answers.rng
    limit = 100 * int(rng.integers(8, 13))
    small = [int(size) for size in rng.integers(limit // 8, limit // 3, 9)]
    full = [limit // 4, limit - limit // 4]  # they fill a bucket to the last byte
    large = [*small[:4], 3 * limit, *small[4:], 2 * limit]
    for sizes in (small, large, [*small[:3], *full], [limit] * 3 + small[:2]):
        judge_buckets(answers["plan_buckets"](sizes, limit), sizes, limit)


def judge_buckets(plan: Any, sizes: list[int], limit: int) -> None:
    for each in [plan, *plan] if isinstance(plan, (list, tuple)) else [plan]:
        expect_type(each, (list, tuple), what="the plan" if each is plan else "a bucket")
    told = f"sizes {sizes}, limit {limit}: got {[list(bucket) for bucket in plan]}"
    order, every = list(chain.from_iterable(plan)), list(range(len(sizes)))
    missing = [number for number in every if number not in order]
    need(told,
        (all(number in every for number in order), "no-parameter-numbers", "buckets hold places in the list"),
        (all(plan), "empty-bucket", "a bucket with nothing in it is a message for nothing"),
        (not missing or missing != every[: len(missing)], "last-bucket-lost", "the open one was left behind"),
        (not missing, "parameters-lost", "a gradient that never travels lets the ranks drift apart"),
        (sorted(order) == every, "not-once", "each parameter is in one bucket, once"),
        (order != every, "first-layer-first", "backward makes the last gradient first; here it leaves last"),
        (order == every[::-1], "other-order", "from the last one to the first, as they come"))  # fmt: skip
    loads = [sum(sizes[number] for number in bucket) for bucket in plan]
    over = [bucket for bucket, load in zip(plan, loads, strict=True) if load > limit and len(bucket) > 1]
    pairs = zip(loads, pairwise(plan), strict=False)
    early = [after[0] for load, (_, after) in pairs if load + sizes[after[0]] <= limit]
    shares = [bucket for bucket in over if max(sizes[number] for number in bucket) > limit]
    is_single = len(plan) == len(sizes)
    need(told + (f"; {early[0]} fits into the bucket before it" if early and not over else ""),
        (not shares, "large-one-shares", "what is larger than the limit travels alone; nobody waits for it"),
        (not over, "over-the-limit", "look whether the next one still fits before it goes in"),
        (not (is_single and early), "one-each", "a message for each gradient pays the latency each time"),
        (not early, "left-early", "take the next one as long as it fits, to the last byte"))  # fmt: skip


@check(
    "accumulate", points=4, limit_s=60,
    hints=(
        "Which of the backward passes has to send, so that everything is in what is sent?",
        "All but the last go inside no_sync, forward and backward. Divide each loss by their number.",
        "replica.zero_grad(); with replica.no_sync(): (mean_loss / k).backward() for all but the last; then "
        "the last one outside of it, in the same way.",
    ),
)  # fmt: skip
def exchange_once(answers: Answers) -> None:
    """Leave the gradient of all windows of all ranks in .grad, and exchange once."""
    rng, ranks = answers.rng, 3
    parts = int(rng.integers(4, 7))  # more than ranks: the two divisors must not be alike
    batches = [[draw_batch(rng, 2) for _ in range(parts)] for _ in range(ranks)]
    model = draw_gpt(rng)
    recipe = {"config": model.config, "weights": dict(model.state_dict()), "batches": batches}
    seen = answers.inside("try_accumulate", **recipe, stale=0.05)
    reports = expect_not_stuck(seen, f"{ranks} ranks with {parts} micro-batches each")
    start, first = flat(list(model.parameters())), reports[0]
    exchanges, outside = first["exchanges"], first["outside"]
    need(f"{parts} micro-batches of 2 windows: at most {first['rows']} in one pass, {exchanges} exchanges",
        (all(torch.equal(flat(report["weights"]), start) for report in reports), "moves-weights",
         "the weights have changed; this function only leaves a gradient"),
        (first["rows"] <= 2, "one-big-batch", "that takes the memory of the whole batch: one at a time"),
        (first["graphs"] <= 1, "graphs-pile-up", "call backward() on each before the next goes through"),
        (not outside, "forward-outside", "backward ran inside of no_sync, but the forward pass decides: it "
         "must run inside too"),
        (exchanges, "never-exchanged", "the last pass must run outside of no_sync, to send it all"),
        (exchanges <= parts, "one-by-one", "backward sends, all in one: no gradient needs a way of its own"),
        (exchanges < parts, "exchanges-each", "all but the last belong inside of no_sync"))  # fmt: skip
    own = [torch.stack([mean_gradient(model, batch) for batch in share]) for share in batches]
    found, of_parts = [flat(report["gradients"]) for report in reports], torch.stack(own).mean(0)
    wanted, last = of_parts.mean(0), of_parts[-1]
    apart = max(float((each - found[0]).norm() / wanted.norm()) for each in found)
    need(f"the gradient on rank 0 is {distance(found[0], wanted)} off that of all windows",
        (not is_near(found[0] - 0.05, wanted), "old-gradient-stays",
         "the old one is still in it: .grad adds up until somebody clears it"),
        (not is_near(found[0], wanted * parts), "sum-of-means",
         "a sum of means: divide each loss by the number of micro-batches"),
        (not is_near(found[0], last) and not is_near(found[0], last / parts), "only-the-last",
         "only the last micro-batch is in it: clear once, before the first"),
        (not is_near(found[0], wanted / ranks), "divided-twice", "the mean over ranks is taken already"),
        (not is_near(found[0], wanted * parts / ranks), "divided-by-ranks",
         "divide by the number of micro-batches; the ranks are taken care of"),
        (apart < CLOSE, "sent-too-early", "the ranks differ: what is added after the exchange stays at home"),
        (is_near(found[0], wanted), "wrong-gradient", "wanted: the mean over micro-batches and ranks"),
        (exchanges == 1, "more-than-one", "right, but with more than one exchange"))  # fmt: skip


@check(
    "samples", points=3,
    hints=(
        "All ranks must shuffle alike, and then each takes its part. What may the seed depend on?",
        "One order from seed and epoch (not from the rank), by a generator of its own: torch.Generator or "
        "np.random.default_rng. Then every N-th sample, beginning with the rank.",
        "draws = np.random.default_rng((seed, epoch)); order = draws.permutation(samples); its places rank, "
        "rank + N, rank + 2N ... are yours.",
    ),
)  # fmt: skip
def every_sample_once(answers: Answers) -> None:
    """Share the samples of an epoch: each exactly once, in another order and another share each time."""
    rng = answers.rng
    ranks, seed = int(rng.integers(3, 6)), int(rng.integers(100))
    n = 10 * ranks + int(rng.integers(1, ranks - 1))
    epochs = [(0, seed), (0, seed), (1, seed), (2, seed), (0, seed + 1)]
    calls = [[n, rank, ranks, epoch, each] for epoch, each in epochs for rank in range(ranks)]
    seen = answers.inside("try_samples", calls=calls)
    taken = [as_numbers(each, n) for each in seen["found"]]
    first, again, second, third, other = (taken[i * ranks : (i + 1) * ranks] for i in range(5))
    held = Counter(chain.from_iterable(first))
    lost, twice = n - len(held), sum(times > 1 for times in held.values())
    sizes = [len(share) for share in first]
    steps = Counter(b - a for share in first for a, b in pairwise(share))
    members = [{frozenset(share) for share in epoch} for epoch in (first, second, third)]
    need(f"{n} samples on {ranks} ranks, shares of {sizes}: {lost} never read, {twice} read twice; rank 0 "
        f"reads {first[0][:5]}... in epoch 0 and {second[0][:5]}... in epoch 1",
        (first == again, "not-repeatable", "equal arguments gave unlike answers: so ranks cannot agree"),
        (not (lost and twice), "own-order", "each rank shuffles in its own way: no rank in the seed"),
        (not lost, "remainder-dropped", "N does not divide the samples, but the rest counts too"),
        (not twice, "read-twice", "equal shares, because some are read twice: these weigh double"),
        (max(sizes) - min(sizes) <= 1, "uneven-shares", "all wait for the largest share: differ by one"),
        (any(share != sorted(share) for share in first) and steps.most_common(1)[0][1] < steps.total() / 2,
         "not-shuffled", "the data's own order, or nearly: neighbours in the data are alike"),
        (first != second != third != first, "same-every-epoch",
         "the epoch belongs into the seed (with torch's sampler, forgetting set_epoch does this)"),
        (members[0] != members[1] or members[1] != members[2], "same-share",
         "the same samples are together in each epoch: shuffle first, then share out"),
        (sorted(chain.from_iterable(second)) == list(range(n)), "one-epoch-only", "epoch 1 is not shared so"),
        (first != other, "ignores-the-seed", "another seed gave the same order"),
        (not seen["disturbed"], "disturbs-others", f"the global state of {seen['disturbed']} changed, and "
         "with it everybody's draws, dropout's too: use a generator of your own"))  # fmt: skip


def as_numbers(share: Any, n: int) -> list[int]:
    expect_type(share, (list, tuple, range, np.ndarray, Tensor), what="what rank_samples returned")
    numbers = [float(each) for each in share]
    is_whole = all(each == int(each) and 0 <= each < n for each in numbers)
    need(f"rank_samples returned {numbers[:5]}... of {n} samples",
         (is_whole, "no-sample-numbers", f"samples are whole numbers from 0 to {n - 1}"))  # fmt: skip
    return [int(each) for each in numbers]


@check(
    "threads", points=2,
    hints=(
        "How many processes want a core, all in all?",
        "Each rank has its part of the cores, and its loaders sit on that part.",
        "cores // ranks - loaders, but never under 1.",
    ),
)  # fmt: skip
def no_two_on_a_core(answers: Answers) -> None:
    """Give each rank the threads that leave no core with two of them."""
    rng = answers.rng
    n, each = int(rng.integers(3, 6)), int(rng.integers(2, 4))
    even = n * (each + n + int(rng.integers(1, 4)))
    for cores, ranks, loaders in ((even + n - 1, n, 0), (even, n, each), (2, n, 0), (n, n, each), (n, 1, 0)):
        given = (cores, ranks, loaders) if loaders else (cores, ranks)
        found, share = answers["threads_per_rank"](*given), cores // ranks
        wanted = max(1, share - loaders)
        expect_type(found, (int, np.integer), what="the number of threads", code="not-whole",
                    meaning="torch.set_num_threads takes a whole number: // and not /")  # fmt: skip
        need(f"{cores} cores, {ranks} ranks, {loaders} loaders each: got {found}, wanted {wanted}",
            (found >= 1, "none-left", "a rank without a thread cannot work: 1 at least"),
            (found in {wanted, -found} or found != cores, "all-cores-each", "each takes the whole machine"),
            (found == wanted or found != -(-cores // ranks) - loaders, "rounds-up",
             "rounded up, the last rank has no core of its own"),
            (found == wanted or found != share, "forgets-loaders", "each loader keeps a core busy"),
            (found == wanted or found != (cores - loaders) // ranks, "loaders-once",
             "each rank has so many loaders, not all of them together"),
            (found == wanted, "wrong-threads", "the cores of a rank, less its loaders"))  # fmt: skip


@check(
    "train", points=5, limit_s=90,
    hints=(
        "With which weights does each rank begin? And with shares of 4 and 1, what does each window weigh?",
        "Broadcast the weights first. Then each window must weigh the same: 1 / (windows of all ranks), and "
        "the number of those has to travel too.",
        "Per batch: all_reduce the number of windows; summed loss / (that number x T); backward; all_reduce "
        "each .grad, without a division. The test: models of unlike seeds, shares of unlike sizes, compared "
        "with one process by torch.allclose.",
    ),
)  # fmt: skip
def ranks_are_one(answers: Answers) -> None:
    """Mend the training, so that all ranks end as one process would; and write the test that sees it."""
    rng = answers.rng
    batches = [[draw_batch(rng, size) for size in share] for share in ([4, 1], [1, 2], [2, 5])]
    models = [draw_gpt(rng) for _ in batches]
    recipe = {"config": models[0].config, "weights": [dict(model.state_dict()) for model in models]}
    seen = answers.inside("try_train", **recipe, batches=batches, rate=0.3)
    start = flat(list(models[0].parameters()))
    moves = [flat(weights) - start for weights in expect_not_stuck(seen, "3 ranks")]
    weighs = ("windows", "ranks", "sum", "twice")
    ends = {weigh: train_alone(models[0], batches, weigh) - start for weigh in weighs}
    wanted = ends["windows"]
    apart = max(float((each - moves[0]).norm() / wanted.norm()) for each in moves)
    own_start = float((flat(list(models[1].parameters())) - start).norm() / wanted.norm())
    need(f"rank 0's way is {distance(moves[0], wanted)} off that of one process; the ranks end "
        f"{100 * apart:.3g} % of it apart",
        (bool(moves[0].any()), "no-step", "rank 0 ends with the weights that it began with"),
        (apart < 0.3 * own_start, "own-start", "each rank began with weights of its own, and stays apart"),
        (apart < CLOSE, "ranks-drift", "some gradients are not exchanged, so each rank goes its own way"),
        (not is_near(moves[0], ends["ranks"]), "by-ranks",
         "each rank counts the same here, whether it has one window or four"),
        (not is_near(moves[0], ends["sum"]), "sum-not-mean", "the ranks' means are added up; is the number "
         "of windows summed over all ranks, and waited for?"),
        ((moves[0] - wanted).norm() < 3 * wanted.norm(), "mixed-start", "all begin with rank 0's weights"),
        (not is_near(moves[0], ends["twice"]), "divided-by-both",
         "divided by all windows, and by the number of ranks once more"),
        (is_near(moves[0], wanted), "wrong-training", "step on the mean over all windows"))  # fmt: skip
    guards = (
        ("as one", "guard-blames-the-right", "sums in another order differ by rounding: allclose, not equal"),
        ("own start", "guard-misses-the-start", "give the ranks models of different seeds"),
        ("others keep theirs", "guard-looks-at-one", "look at the weights of every rank"),
        ("no exchange", "guard-misses-the-exchange", "give each rank other windows"),
        ("sum", "guard-misses-the-sum", "compare with one process: that ranks agree is not enough"),
        ("by ranks", "guard-misses-the-weights", "with equal shares this fault does not show"),
    )
    kinds = rng.permutation([kind for kind, _, _ in guards]).tolist()  # no test shall know by its turn
    said = {kind: answers.inside("try_guard", kind=kind) for kind in kinds}
    for each in said.values():
        expect_type(each, (bool, np.bool_), what="what trains_as_one returned", code="no-yes-or-no",
                    meaning="a test ends in yes or no")  # fmt: skip
    need("trains_as_one says True whatever it is given",
         (not all(said.values()), "guard-says-yes", "a test that cannot fail finds nothing"))  # fmt: skip
    for kind, code, meaning in guards:
        verb = "refuses a right training" if kind == "as one" else f"accepts a broken training ({kind})"
        need(f"trains_as_one {verb}", (said[kind] == (kind == "as one"), code, meaning))


def train_alone(start: nn.Module, batches: list[list[Batch]], weigh: str) -> Tensor:
    """Return the weights of one process after steps on all ranks' shares, weighed in some way."""
    model = copy.deepcopy(start)
    for shares in zip(*batches, strict=True):
        each = torch.stack([mean_gradient(model, share) for share in shares])
        whole = tuple(torch.cat(parts) for parts in zip(*shares, strict=True))
        of_windows = mean_gradient(model, whole)
        gradient = {"windows": of_windows, "twice": of_windows / len(shares), "ranks": each.mean(0),
                    "sum": each.sum(0)}[weigh]  # fmt: skip
        after = flat(list(model.parameters())) - 0.3 * gradient
        nn.utils.vector_to_parameters(after.float(), model.parameters())
    return flat(list(model.parameters()))
