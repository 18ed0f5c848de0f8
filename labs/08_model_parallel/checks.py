"""Checks of lab 08: whatever is split must equal the whole, and what it costs is counted.

Ranks are threads beside the learner's code (``inside.py``); weights, inputs and results travel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.core.errors import ConfigError
from scalelab.grading import Answers, check, expect, expect_close, expect_length, expect_type
from scalelab.train.parallel.schedule import play_on_paper

CLOSE = 2e-5  # float32 rounds by 1e-7; the mistakes below differ by per cents and more
torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds

MEANINGS = {
    "ranks-stuck": "each exchange needs all ranks, in the same order, with equal shapes",
    "keeps-all": "every rank holds all units: nothing was split",
    "cut-inputs": "`up` was cut along its inputs: then each unit needs numbers of all ranks",
    "bias-not-cut": "each hidden unit has its number in up_bias: cut it, too",
    "down-cut-outputs": "`down` was cut along its outputs: then each rank needs all hidden units",
    "down-not-cut": "a rank needs `down` for its own units only",
    "wrong-parts": "a rank has H/N units",
    "same-part": "every rank took the same units: use `rank`",
    "parts-do-not-match": "of all three, rank 0 has the first H/N units, rank 1 the next, and so on",
    "ranks-disagree": "what is done after the sum is done on every rank, or they go on with other numbers",
    "bias-n-times": "each rank added the bias, so the sum has it N times",
    "bias-missing": "the bias of the second layer is missing",
    "mean-not-sum": "parts of a sum are added up; this is their mean",
    "not-summed": "this is the rank's own part: the others' are missing (did you wait() for the sum?)",
    "wrong-result": "both layers on the own part, one sum over ranks, then the bias",
    "extra-exchange": "one exchange does it: hidden units need nothing of other ranks, pieces come at once",
    "backward-broke": "backward returns a tensor for each tensor that forward was given, else None",
    "other-kind": "the shape and dtype that come without a split",
    "enter-sums": "forward, x is on all ranks already: there is nothing to add",
    "no-gradient": "what it returns must belong to autograd's graph",
    "x-gradient-partial": "what this rank's units want of x has come back; what other ranks want is missing",
    "x-gradient-averaged": "x serves all ranks at once: what they want adds up",
    "leave-sums-backward": "all ranks have the sum's gradient already: added up, it is N times too large",
    "leave-divides-backward": "y = a + b: each of both gets the gradient of y, all of it",
    "part-overwritten": "all_reduce works in place, and autograd may need the part: give it a clone",
    "gradient-overwritten": "another use of x saw it, too: clone the gradient; hook enter's result, not x",
    "wrong-door": "enter: x, and backward the sum over ranks; leave: the sum, and backward as it is",
    "wrong-exchanges": "enter exchanges once, backward; leave once, forward",
    "no-operation": 'an operation is a pair: ("F", i) or ("B", i)',
    "more-than-there-are": "with fewer micro-batches than stages there are not enough to run ahead",
    "not-every-micro-batch": "what goes forward comes back, once, on every stage",
    "waits-for-ever": "something comes before what it needs, on its own stage or on another: draw 2 stages",
    "gpipe-mixes": "GPipe runs all forward passes first",
    "holds-all": "this is GPipe: begin a backward pass as soon as one is possible",
    "one-at-a-time": "one micro-batch at a time: while one stage works, all others wait",
    "same-on-all-stages": "the last stage can turn back at once; the first one waits most",
    "runs-too-far-ahead": "the forward pass that comes next counts, too",
    "too-slow": "some stage waits though it has something to do: draw it",
    "beside-the-work": "this is waiting beside work; wanted is its share of all the time",
    "share-of-work": "this is the share of the time in which a stage works",
    "one-slot-too-many": "the last stage begins stages - 1 slots late",
    "in-per-cent": "a share lies from 0 to 1",
    "wrong-bubble": "count slots: all of them, and those in which a stage works",
    "not-whole": "micro-batches are counted: an int",
    "too-few": "the bubble must be `most` or less: round up",
    "too-many": "fewer micro-batches would do",
    "no-padding": "a gathering wants equal lengths: fill up with zeros before you cut",
    "tail-lost": "the numbers that are left over belong to nobody: round up",
    "whole-on-every-rank": "every rank keeps everything: nothing was saved",
    "pads-each-tensor": "each tensor was filled up by itself: one long vector needs less",
    "wrong-piece": "one dimension, ceil(n / ranks) numbers, of the dtype that came in",
    "other-order": "rank 0 has the begin of the long vector, the last rank its end and the zeros",
    "keeps-the-whole": "a slice is a window onto the long vector, all of which stays: clone the piece",
    "not-restored": "one vector again, the padding off, cut by shape",
    "branch-differs": "nothing is dropped here: x plus both layers, one sum, the bias once",
    "nothing-split": "every rank computes the whole block: let `cut_dense` give it its part",
    "ranks-drift": "what all ranks hold must be dropped alike on all of them",
    "twin-masks": "unit 0 of rank 0 and unit 0 of rank 1 are different units, dropped together here",
    "other-masks": "ranks agree, but drop others than whole_branch: first draw for all hidden units",
    "branch-gradient": "x goes in by `enter`, the parts go out by `leave`; x itself is added",
    "guard-blames-the-right": "equal seeds give equal results, up to rounding: torch.allclose",
    "guard-without-dropout": "with dropout 0 no mask can be wrong",
    "guard-compares-ranks": "ranks can agree with each other and all be wrong",
    "guard-looks-at-rank-0": "rank 0 may be right while the others drift",
    "guard-misses": "compare the result of each rank with whole_branch, with dropout on",
}


def refuse(told: str, **mistakes: object) -> None:
    """Fail with the first mistake that was made; underscores in a name stand for hyphens."""
    for name, is_made in mistakes.items():
        code = name.replace("_", "-")
        expect(not is_made, told, code=code, meaning=MEANINGS[code])


def draw(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def draw_layers(rng: np.random.Generator, ranks: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return up (H, D), up_bias (H,), down (D, H), down_bias (D,), and x (B, D)."""
    width, hidden = 2 * ranks, ranks * int(rng.integers(7, 10))
    layers = (draw(rng, hidden, width), draw(rng, hidden), draw(rng, width, hidden), 2 + draw(rng, width))
    return layers, draw(rng, int(rng.integers(3, 6)), width)


def is_near(found: Any, wanted: Tensor) -> bool:
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        return False
    return bool((found.detach().double() - wanted.double()).norm() <= CLOSE * wanted.double().norm())


def expect_near(what: str, found: Any, wanted: Tensor, otherwise: str, **mistakes: Tensor) -> None:
    """Fail unless `found` is `wanted`: with the mistake that it is, or the code `otherwise`."""
    expect_type(found, Tensor, what=what)
    have, want = (f"shape {tuple(each.shape)}, {each.dtype}" for each in (found, wanted))
    refuse(f"{what} has {have}, wanted {want}", other_kind=have != want)
    if not is_near(found, wanted):
        off = float((found.detach().double() - wanted.double()).norm() / wanted.double().norm())
        made = {name: is_near(found, value) for name, value in mistakes.items()}
        refuse(f"{what} is {100 * off:.2g} % off that of the whole", **made, **{otherwise: True})


def need_all_ranks(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    refuse(f"backward broke: {seen['broke']}", backward_broke=seen["broke"])
    refuse(f"the ranks got stuck: {seen['stuck']}", ranks_stuck=seen["stuck"])
    return list(seen["ranks"])


@check(
    "forward", points=4, limit_s=30,
    hints=(
        "Which rows of `up` and which columns of `down` belong to one hidden unit?",
        "Each rank's result is a part of a sum over hidden units. The bias of the sum belongs to no rank.",
        "With n = H // ranks, units rank * n to (rank + 1) * n: rows of up and up_bias, columns of down. "
        "Forward: both layers on the part, all_reduce the result, and add down_bias after it.",
    ))  # fmt: skip
def one_sum_for_two_layers(answers: Answers) -> None:
    """Split two layers by hidden units: the whole's result on every rank, with one all-reduce."""
    rng = answers.rng
    ranks = int(rng.integers(2, 4))
    layers, x = draw_layers(rng, ranks)
    up, up_bias, down, bias = layers
    (hidden, width), share = up.shape, len(up) // ranks
    parts = [answers["cut_dense"](layers, rank, ranks) for rank in range(ranks)]
    for rank, part in enumerate(parts):
        expect_length(part, 3, what=f"what rank {rank} holds")
        for each in part:
            expect_type(each, Tensor, what=f"a part of rank {rank}")
        a, b, c = shapes = [tuple(each.shape) for each in part]
        wanted = [(share, width), (share,), (width, share)]
        refuse(
            f"{hidden} units, {ranks} ranks: rank {rank} has up {a}, up_bias {b}, down {c}; wanted {wanted}",
            keeps_all=a == (hidden, width), cut_inputs=a == (hidden, width // ranks),
            bias_not_cut=b == (hidden,), down_not_cut=c == (width, hidden),
            down_cut_outputs=c == (width // ranks, hidden), wrong_parts=shapes != wanted)  # fmt: skip
    sums = [F.linear(F.gelu(F.linear(x, part[0], part[1])), part[2]) for part in parts]
    total = F.linear(F.gelu(F.linear(x, up, up_bias)), down)
    whole, is_cut = total + bias, torch.equal(torch.cat([part[0] for part in parts]), up)
    refuse(
        f"{hidden} units: the parts of all ranks together are not the whole",
        same_part=all(torch.equal(part[0], parts[0][0]) for part in parts),
        parts_do_not_match=not (is_cut and is_near(sum(sums), total)))  # fmt: skip
    found = need_all_ranks(answers.inside("try_forward", layers=layers, x=x, ranks=ranks))
    is_right = [is_near(each["out"], whole) for each in found]
    refuse("ranks come to different results", ranks_disagree=any(is_right) and not all(is_right))
    for rank, each in enumerate(found):
        expect_near(
            f"the result of rank {rank} of {ranks}", each["out"], whole, "wrong_result", bias_missing=total,
            bias_n_times=total + ranks * bias, mean_not_sum=total / ranks + bias,
            not_summed=sums[rank] + bias)  # fmt: skip
    count = found[0]["exchanges"]
    refuse(f"each rank took part in {count} exchanges, wanted 1", extra_exchange=count != 1)


@check(
    "backward", points=4, limit_s=60,  # the first backward of a process imports sympy
    hints=(
        "The sum y = a + b: what is the gradient of a, if that of y is g?",
        "x goes to all ranks, so its gradient is the sum of what all of them send back; a part of a sum "
        "gets the gradient of the sum as it is.",
        "enter: forward returns x.view_as(x), backward all_reduce(gradient.clone()). leave: forward "
        "all_reduce(partial.clone()), backward returns the gradient. Both return None for the wire.",
    ))  # fmt: skip
def gradients_through_the_doors(answers: Answers) -> None:
    """Bring the right gradient through both doors, with one all-reduce at each."""
    rng = answers.rng
    ranks = int(rng.integers(2, 5))
    x, common = draw(rng, 4, 3), draw(rng, 4, 3)
    gradients, partials = ([draw(rng, 4, 3) for _ in range(ranks)] for _ in range(2))
    found = answers.inside("try_doors", x=x, gradients=gradients, partials=partials, common=common)
    wanted, total = sum(gradients), sum(partials)
    for rank, seen in enumerate(need_all_ranks(found)):
        expect_near("what enter returned", seen["enter"], x, "wrong_door", enter_sums=ranks * x)
        expect_near("what leave returned", seen["leave"], total, "wrong_door",
                    not_summed=partials[rank], mean_not_sum=total / ranks)  # fmt: skip
        for door in ("enter", "leave"):
            refuse(f"no gradient came back through {door}", no_gradient=seen[f"{door}_gradient"] is None)
        expect_near(
            "the gradient of x", seen["enter_gradient"], wanted, "wrong_door",
            x_gradient_partial=gradients[rank], x_gradient_averaged=wanted / ranks)  # fmt: skip
        expect_near(
            "the gradient of a part", seen["leave_gradient"], common, "wrong_door",
            leave_sums_backward=ranks * common, leave_divides_backward=common / ranks)  # fmt: skip
        refuse(
            "leave has overwritten its part", part_overwritten=not torch.equal(seen["kept"], partials[rank])
        )
        is_kept = is_near(seen["enter_beside"], gradients[rank] + wanted)
        refuse("where x is used twice, enter spoils the other gradient", gradient_overwritten=not is_kept)
        counts = [seen[f"{door}_{when}"] for door in ("enter", "leave") for when in ("forward", "exchanges")]
        told = "exchanges of enter: {} forward, {} in all; of leave: {} forward, {} in all".format(*counts)
        refuse(told, wrong_exchanges=counts != [0, 1, 1, 1])


def read_order(order: Any, what: str, count: int) -> list[tuple[str, int]]:
    """Return a stage's order as (kind, micro-batch); fail unless each operation is there once."""
    expect_type(order, (list, tuple), what=what)
    for each in order:
        kind, i = each if isinstance(each, (tuple, list)) and len(each) == 2 else (None, None)
        is_one = kind in ("F", "B") and isinstance(i, (int, np.integer))
        refuse(f"{what} holds {each!r}", no_operation=not is_one)
    found = [(kind, int(i)) for kind, i in order]
    told = f"{what} is {' '.join(f'{kind}{i}' for kind, i in found[:12])}{' ...' * (len(found) > 12)}"
    every = {(kind, i) for kind in "FB" for i in range(count)}
    told += f"; wanted {2 * count} operations, of {count} micro-batches"
    refuse(told, more_than_there_are=set(found) - every, not_every_micro_batch=sorted(found) != sorted(every))
    return found


@check(
    "schedule", points=5,
    hints=(
        "Draw three stages and four micro-batches on paper. When can the last stage begin a backward pass?",
        "Stage s has stages - s - 1 stages behind it. It runs so many forward passes ahead, and never more "
        "than there are micro-batches.",
        "ahead = min(stages - stage - 1, micro_batches): F of those; then F(ahead + i), B(i) in turn until "
        "no F is left; then the other B.",
    ))  # fmt: skip
def orders_of_a_pipeline(answers: Answers) -> None:
    """List what each stage does under GPipe and under 1F1B: valid, fast, and 1F1B with little to keep."""
    rng = answers.rng
    cases = [(4, int(rng.integers(6, 10))), (int(rng.integers(2, 4)), int(rng.integers(4, 7))), (4, 2)]
    for stages, count in cases:
        shortest = play_on_paper([[("F", i) for i in range(count)]] * stages, forward_s=3.0).seconds
        for name in ("gpipe", "one_f_one_b"):
            orders = [
                read_order(answers[name](stage, stages, count), f"{name}({stage}, {stages}, {count})", count)
                for stage in range(stages)
            ]
            case = f"{name}(stage, {stages}, {count})"
            try:
                timeline = play_on_paper(orders, forward_s=1.0, backward_s=2.0)
            except ConfigError as error:
                refuse(f"{case}: {error.message}", waits_for_ever=True)
            held, wanted = list(timeline.held), [min(count, stages - stage) for stage in range(stages)]
            if name == "gpipe":
                is_mixed = any(kind == "B" for order in orders for kind, _ in order[:count])
                refuse(f"{case}: a backward pass before the last forward pass", gpipe_mixes=is_mixed)
            elif held != wanted:
                refuse(
                    f"{case}: stages keep at most {held} micro-batches, wanted {wanted}",
                    holds_all=held == [count] * stages, one_at_a_time=held == [1] * stages,
                    same_on_all_stages=len(set(held)) == 1,
                    runs_too_far_ahead=any(a > b for a, b in zip(held, wanted, strict=True)))  # fmt: skip
            told = f"{case} takes {timeline.seconds:g} units (forward 1, backward 2), wanted {shortest:g}"
            refuse(told, too_slow=timeline.seconds > shortest)


def waiting_share(stages: int, count: int) -> float:
    return play_on_paper([[("F", i) for i in range(count)]] * stages).waiting


@check(
    "bubble", points=3,
    hints=(
        "Draw 3 stages and 4 micro-batches in slots of equal length. When does the last stage begin?",
        "A stage works as many slots as there are micro-batches; the batch takes stages - 1 slots more.",
        "bubble = (stages - 1) / (micro_batches + stages - 1). The fewest: try 1, 2, 3, ... until it is "
        "small enough.",
    ))  # fmt: skip
def waiting_of_equal_stages(answers: Answers) -> None:
    """Say how much of the time stages wait, and how many micro-batches make it small enough."""
    rng = answers.rng
    for stages, m in ((4, int(rng.integers(5, 12))), (int(rng.integers(3, 9)), int(rng.integers(2, 9)))):
        what, wanted, late = f"bubble({stages}, {m})", waiting_share(stages, m), stages - 1
        found = answers["bubble"](stages, m)
        if isinstance(found, (int, float, np.number)) and abs(float(found) - wanted) > 1e-6:
            told = f"{what} is {float(found):.4g}, wanted {wanted:.4g}"
            mistaken = {"beside_the_work": late / m, "share_of_work": 1 - wanted, "in_per_cent": 100 * wanted,
                        "one_slot_too_many": stages / (m + stages)}  # fmt: skip
            refuse(told, **{name: abs(float(found) - value) < 1e-6 for name, value in mistaken.items()})
        expect_close(found, wanted, what=what, code="wrong-bubble", meaning=MEANINGS["wrong-bubble"])
    for most in (float(rng.uniform(0.12, 0.2)), float(rng.uniform(0.25, 0.45))):
        stages = int(rng.integers(3, 6))
        wanted = next(n for n in range(1, 99) if waiting_share(stages, n) <= most)
        what = f"micro_batches_for({stages}, {most:.3f})"
        found = answers["micro_batches_for"](stages, most)
        expect_type(found, (int, np.integer), what=what, code="not-whole", meaning=MEANINGS["not-whole"])
        told = f"{what} is {found}, with a bubble of {waiting_share(stages, max(1, min(99, int(found)))):.3f}"
        refuse(f"{told}; wanted {wanted}", too_few=found < wanted, too_many=found > wanted)


@check(
    "shards", points=4, limit_s=30,
    hints=(
        "25 numbers on 3 ranks: how long must a piece be, and how many zeros are missing at the end?",
        "torch.cat all tensors flattened, F.pad at the end, cut. A slice is a window onto the long vector, "
        "which stays in memory as long as the window does.",
        "size = -(-n // ranks); F.pad(flat, (0, size * ranks - n)); slice, then .clone(). Back: "
        "all_gather(piece), flatten, the first n numbers, split into shapes.",
    ))  # fmt: skip
def pieces_of_one_vector(answers: Answers) -> None:
    """Keep one piece of all tensors on each rank, and gather them again with one exchange."""
    rng = answers.rng
    ranks = int(rng.integers(3, 5))
    n = ranks + 1  # each tensor has one number more than ranks divide: so none of them fits
    shapes = ((n, n), (n,), (1, 2 * ranks + 1), (1, 1, ranks * int(rng.integers(2, 5)) + 1), (n, 1))
    tensors = [draw(rng, *shape) for shape in shapes]
    counts, flat = [each.numel() for each in tensors], torch.cat([each.flatten() for each in tensors])
    n, size = len(flat), -(-len(flat) // ranks)
    pieces = [answers["shard"](tensors, rank, ranks) for rank in range(ranks)]
    for rank, piece in enumerate(pieces):
        expect_type(piece, Tensor, what=f"the piece of rank {rank}")
    sizes = [each.numel() for each in pieces]
    refuse(
        f"{n} numbers on {ranks} ranks: the pieces have {sizes}, wanted {size} each",
        no_padding=len(set(sizes)) > 1, tail_lost=sizes[0] == n // ranks, whole_on_every_rank=sizes[0] >= n,
        pads_each_tensor=sizes[0] == sum(-(-count // ranks) for count in counts) != size,
        wrong_piece=any(each.shape != (size,) or each.dtype != flat.dtype for each in pieces))  # fmt: skip
    is_cut = torch.equal(torch.cat(pieces), F.pad(flat, (0, size * ranks - n)))
    refuse("the pieces of all ranks in order are not the long vector", other_order=not is_cut)
    found = need_all_ranks(answers.inside("try_shards", tensors=tensors, ranks=ranks))
    own, alive = (found[0][kind] for kind in ("own", "alive"))
    refuse(f"a piece of {own} bytes keeps {alive} bytes alive", keeps_the_whole=alive > own)
    for each in found:
        expect_length(each["again"], len(tensors), what="the list that unshard returned")
        for got, tensor in zip(each["again"], tensors, strict=True):
            expect_type(got, Tensor, what="a tensor that unshard returned")
            is_restored = got.shape == tensor.shape and torch.equal(got, tensor)
            refuse("unshard gives other tensors than shard was given", not_restored=not is_restored)
    count = found[0]["exchanges"]
    refuse(f"each rank took part in {count} exchanges, wanted 1", extra_exchange=count != 1)


@check(
    "drill", points=4, limit_s=60,
    hints=(
        "Which of the two masks falls on numbers that all ranks hold, and which on a rank's own numbers?",
        "All ranks must drop the same of the sum. Of the hidden units each rank has a part, and so it needs "
        "that part of the whole's mask.",
        "Seed alike on all ranks; draw the mask of all H hidden units (drop ones of that shape), and use a "
        "part of it. The test: on_ranks with dropout 0.5, each rank's result beside whole_branch.",
    ))  # fmt: skip
def dropout_of_the_whole(answers: Answers) -> None:
    """Mend the block, so that ranks drop what one worker would drop; and write the test that sees it."""
    rng = answers.rng
    ranks = int(rng.integers(2, 4))
    layers, x = draw_layers(rng, ranks)
    gradient, seed = draw(rng, *x.shape), int(rng.integers(1000))
    for share in (0.0, float(rng.uniform(0.3, 0.6))):
        inputs = {"x": x, "layers": layers, "share": share, "seed": seed, "gradient": gradient}
        found = need_all_ranks(answers.inside("try_branch", **inputs, ranks=ranks))
        leaf = x.clone().requires_grad_()
        drop_branch(leaf, layers, share, seed).backward(gradient)
        whole, twins = (drop_branch(x, layers, share, seed, parts) for parts in (1, ranks))
        outs, told = [each["out"] for each in found], f"with dropout {share:.2f}, "
        expect_type(outs[0], Tensor, what="what split_branch returned")
        is_own = all(bool(torch.isfinite(out).all()) for out in outs)  # NaN: other ranks' weights
        refuse("a rank's result needs hidden units of other ranks", nothing_split=not is_own)
        refuse(f"{told}the block is another one", branch_differs=share == 0 and not is_near(outs[0], whole))
        refuse(f"{told}ranks hold other results", ranks_drift=not all(is_near(out, outs[0]) for out in outs))
        expect_near(f"{told}the result", outs[0], whole, "other_masks", twin_masks=twins)
        refuse(f"{told}the gradient of x is another one",
               branch_gradient=not all(is_near(each["x"], leaf.grad) for each in found))  # fmt: skip
    turns = rng.permutation(["whole", "drifts", "first", "twins", "bias"]).tolist()
    said = {how: answers.inside("try_guard", how=how) for how in turns}
    for each in said.values():
        expect_type(each, (bool, np.bool_), what="what keeps_the_whole returned", code="no-yes-or-no",
                    meaning="a test ends in yes or no")  # fmt: skip
    refuse("keeps_the_whole refuses a right block", guard_blames_the_right=not said.pop("whole"))
    faults = {"drifts": "ranks drop their own", "twins": "all drop alike", "bias": "all add the bias",
              "first": "rank 0 drops its own"}  # fmt: skip
    missed = {how for how in said if said[how]}
    refuse(
        f"keeps_the_whole accepts a block in which {', or '.join(faults[how] for how in sorted(missed))}",
        guard_compares_ranks=missed == {"twins", "bias"}, guard_looks_at_rank_0=missed == {"drifts"},
        guard_without_dropout=missed == {"drifts", "first", "twins"}, guard_misses=missed)  # fmt: skip


def drop_branch(x: Tensor, layers: Sequence[Tensor], share: float, seed: int, twins: int = 1) -> Tensor:
    """Return the block of one worker; with `twins`, so many equal parts of the hidden units drop alike."""
    up, up_bias, down, down_bias = layers
    draws = torch.Generator().manual_seed(seed)
    drawn = torch.cat([torch.rand(len(x), len(up) // twins, generator=draws)] * twins, dim=-1)
    hidden = F.gelu(F.linear(x, up, up_bias)) * (drawn >= share) / (1 - share)
    out = F.linear(hidden, down, down_bias)
    return x + out * (torch.rand(out.shape, generator=draws) >= share) / (1 - share)
