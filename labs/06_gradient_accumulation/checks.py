"""Checks of lab 06: whatever is accumulated must equal what torch gives for the whole batch.

Models and optimizers live beside the learner's code (``inside.py``); weights, photos and gradients travel.

Shape suffixes in this file: N, B = images, H = rows (28), W = columns (168), P = digits of a PIN (6).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close, expect_length, expect_type
from scalelab.models import PinReader
from scalelab.train import IGNORE

MicroBatches = list[tuple[Tensor, Tensor]]
CLOSE = 1e-3  # rules differ by per cents, rounding by 1e-6
torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def small_reader(rng: np.random.Generator) -> nn.Module:
    """Return a PIN reader of a few thousand weights, whose batch norm does not look at its neighbours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        return PinReader(width=16, channels=(2, 3, 4)).eval()


def recipe(model: nn.Module, batches: MicroBatches) -> dict[str, Any]:
    """Return what builds the same model beside the learner's code, and the micro-batches for it."""
    return {"config": model.config, "weights": dict(model.state_dict()), "batches": batches}


def draw_batches(rng: np.random.Generator, sizes: Sequence[int]) -> MicroBatches:
    """Return micro-batches of PIN photos; every second photo has only its first digit labelled."""
    drawn = compose_pins(sum(sizes), "train", seed=int(rng.integers(2**31)))
    labels_NP = torch.from_numpy(drawn.labels).long()
    labels_NP[::2, 1:] = IGNORE
    labels_NP[-sizes[-1] :, 2:] = IGNORE
    images = torch.from_numpy(drawn.images).split(list(sizes))
    return list(zip(images, labels_NP.split(list(sizes)), strict=True))


def sum_loss(model: nn.Module, images_BHW: Tensor, labels_BP: Tensor) -> Tensor:
    """Return the summed cross-entropy over all labelled digits [nats]."""
    logits = model(images_BHW).flatten(0, 1)
    return F.cross_entropy(logits, labels_BP.flatten(), ignore_index=IGNORE, reduction="sum")


def gradients(model: nn.Module, batches: MicroBatches, scales: Sequence[float]) -> list[Tensor]:
    """Return each parameter's gradient of ``sum(scale * summed loss)``; the model is left untouched."""
    twin = copy.deepcopy(model)
    twin.zero_grad()
    sum(scale * sum_loss(twin, *batch) for scale, batch in zip(scales, batches, strict=True)).backward()
    return [parameter.grad for parameter in twin.parameters()]


def flat(tensors: Sequence[Tensor | None]) -> Tensor:
    """Return all tensors as one vector, without those that are None."""
    found = [each.detach().flatten().double() for each in tensors if each is not None]
    return torch.cat([torch.zeros(0), *found])


def is_near(found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() <= CLOSE * wanted.norm())


def distance(found: Tensor, wanted: Tensor) -> str:
    if found.shape != wanted.shape:
        return "far"
    return f"{100 * float((found - wanted).norm() / wanted.norm()):.0f} %"


def targets(batches: MicroBatches) -> list[int]:
    return [int((labels_BP != IGNORE).sum()) for _, labels_BP in batches]


@check(
    "weights", points=2,
    hints=(
        "What does the mean over the whole batch divide by?",
        "Count the labels that are not IGNORE in each micro-batch; photos without labels teach nothing.",
        "counts = [(labels != IGNORE).sum() ...]; each weight is count / sum(counts).",
    ),
)  # fmt: skip
def weights_follow_targets(answers: Answers) -> None:
    """Weigh every micro-batch by its share of the labelled digits."""
    rng = answers.rng
    sizes = rng.permutation([int(rng.integers(low, low + 4)) for low in (3, 8, 13)]).tolist()
    labels = [torch.from_numpy(rng.integers(0, 10, (size, 6))) for size in sizes]
    for place, each in enumerate(labels):
        each[:, place + 1 :] = IGNORE  # 1, 2 and 3 labelled digits a photo
    counts = [int((each != IGNORE).sum()) for each in labels]
    weights = answers["micro_batch_weights"](labels)
    what = f"the weights of {counts} labelled digits"
    expect_length(weights, 3, what=what, code="wrong-number", meaning="one weight a micro-batch")
    shares = np.array([float(weight) for weight in weights])
    wanted = np.array(counts) / sum(counts)
    mistaken = {
        "equal-shares": (np.full(3, 1 / 3), "every micro-batch weighs the same here, full or not"),
        "counts-images": (np.array(sizes) / sum(sizes), "photos were counted; only labelled digits teach"),
        "inverse-shares": ((1 / wanted) / (1 / wanted).sum(), "the smaller ones weigh more here, not less"),
    }
    told = f"{what} are {shares.round(3).tolist()}, wanted {wanted.round(3).tolist()}"
    for code, (numbers, meaning) in mistaken.items():
        expect(not np.allclose(shares, numbers, rtol=1e-4), told, code=code, meaning=meaning)
    expect_close(
        shares.sum(), 1.0, what=f"the sum of {what}", code="not-shares",
        meaning="shares of one whole add up to 1: divide by the count of all micro-batches together",
    )  # fmt: skip
    meaning = "count labels that are not IGNORE"
    expect(np.allclose(shares, wanted), told, code="wrong-weights", meaning=meaning)


@check(
    "accumulate", points=4, limit_s=60,
    hints=(
        ".grad adds up over calls of backward(). What must each loss be divided by so that the sum is right?",
        "Clear the gradients once, first; divide each summed loss by the targets of ALL micro-batches.",
        "First count all labels that are not IGNORE. In the loop: (nats / that count).backward(). Return the "
        "sum of these quotients, as plain numbers.",
    ),
)  # fmt: skip
def gradient_of_the_whole(answers: Answers) -> None:
    """Leave in .grad what one backward pass over all photos at once would leave."""
    rng = answers.rng
    batches = draw_batches(rng, (8, 7, 3))
    model, counts = small_reader(rng), targets(batches)
    total, steps, sizes = sum(counts), len(batches), [len(labels) for _, labels in batches]
    seen = answers.inside("try_accumulate", **recipe(model, batches), stale=0.05)
    expect(
        not seen["is_training"], "the model was in training mode in a forward pass", code="mode-changed",
        meaning="model.train() makes batch norm look at the neighbours: leave the mode as it is")  # fmt: skip
    expect(
        seen["steps"] == 0, "an optimizer took a step", code="steps-already",
        meaning="this function only leaves a gradient; the step comes later, and is not its business",
    )  # fmt: skip
    expect(
        torch.equal(flat(seen["weights"]), flat(list(model.parameters()))), "the weights have changed",
        code="moves-weights", meaning="this function only leaves a gradient: an optimizer moves the weights",
    )  # fmt: skip
    expect(
        seen["photos"] <= max(sizes), f"{seen['photos']} photos went through the model at once",
        code="one-big-batch", meaning="then the memory of the whole batch is needed, and nothing was gained",
    )  # fmt: skip
    expect(
        seen["graphs"] <= 1, f"{seen['graphs']} micro-batches were alive at once",
        code="graphs-pile-up", meaning="call backward() on each loss before the next forward pass",
    )  # fmt: skip
    found = flat(seen["gradients"])
    whole = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    wanted = flat(gradients(model, [whole], [1 / total]))
    mean_of = [1 / count for count in counts]
    mistaken = {
        "divides-by-steps": ([mean / steps for mean in mean_of],
                             "each micro-batch counts the same, the short one too"),
        "weighs-photos": ([mean * size / sum(sizes) for mean, size in zip(mean_of, sizes, strict=True)],
                          "weights by photos: the loss is a mean over labelled digits"),
        "sum-of-means": (mean_of, "a sum of means is as many times too large as there are micro-batches"),
        "sum-not-mean": ([1.0] * steps, "the sum over all digits was not divided by their number"),
        "only-the-last": ([0.0] * (steps - 1) + [1 / total],
                          "zero_grad in the loop wipes out what came before"),
    }  # fmt: skip
    told = f"the gradient is {distance(found, wanted)} off that of the whole batch"
    expect(
        not is_near(found, wanted + 0.05), f"{told}: the old gradient is still in it",
        code="old-gradient-stays", meaning=".grad adds up until somebody clears it: zero_grad first",
    )  # fmt: skip
    for code, (scales, meaning) in mistaken.items():
        expect(not is_near(found, flat(gradients(model, batches, scales))), told, code=code, meaning=meaning)
    meaning = "divide each summed loss by the number of targets of all micro-batches together"
    expect(is_near(found, wanted), told, code="wrong-gradient", meaning=meaning)
    expect_close(
        seen["loss"], sum_loss(model, *whole).item() / total, what="the returned loss", code="wrong-loss",
        rtol=1e-3, meaning="wanted: the mean over all labelled digits of all micro-batches [nats]",
    )  # fmt: skip


@check(
    "step", points=3, limit_s=60,
    hints=(
        "Clipping looks at the length of a gradient. Of which one?",
        "First the whole gradient, then clip once, then step once.",
        "Call accumulate; then nn.utils.clip_grad_norm_, which returns the norm; then optimizer.step().",
    ),
)  # fmt: skip
def clip_then_step_once(answers: Answers) -> None:
    """Take one step on the accumulated gradient, clipped once."""
    rng = answers.rng
    batches, model = draw_batches(rng, (6, 5, 2)), small_reader(rng)
    gradient = flat(gradients(model, batches, [1 / sum(targets(batches))] * 3))
    limit = float(gradient.abs().max()) * float(rng.uniform(0.3, 0.7))  # clipping by value shows, too
    seen = answers.inside("try_step", **recipe(model, batches), max_grad_norm=limit, rate=0.5)
    expect(
        seen["steps"] == 1, f"the optimizer stepped {seen['steps']} times for 3 micro-batches",
        code="steps-each", meaning="one batch is one step, however it was cut")  # fmt: skip
    start, left = flat(list(model.parameters())), flat(seen["gradients"])
    moved, wanted = (start - flat(seen["weights"])) / 0.5, gradient * (limit / gradient.norm())
    was_clipped = left.shape == gradient.shape and abs(float(left.norm()) / limit - 1) < CLOSE
    told = f"the step is {float(moved.norm()):.3g} long, wanted {limit:.3g} (max_grad_norm)"
    expect(
        moved.any(), told, code="cleared-before-step",
        meaning="zero_grad() before step() leaves nothing to step along: clear before you accumulate",
    )  # fmt: skip
    alone = seen["accumulated"]
    builds_on_sand = alone is not None and not (
        is_near(flat(alone["gradients"]), gradient) and torch.equal(flat(alone["weights"]), start)
    )
    first = {"code": "accumulate-first", "meaning": "`accumulate` does not leave the right gradient: mend it"}
    expect(is_near(moved, wanted) or not builds_on_sand, f"{told}, in another direction", **first)
    is_whole = is_near(moved, gradient)
    expect(
        not (is_whole and was_clipped), told, code="clips-after-step",
        meaning="the gradient is clipped, but after the optimizer has used it")  # fmt: skip
    expect(not is_whole, told, code="not-clipped", meaning="the whole gradient was used, of whatever length")
    expect(
        not is_near(moved, gradient.clamp(-limit, limit)), f"{told}, in another direction",
        code="clips-values",
        meaning="clip_grad_value_ cuts number by number, which turns the direction: clip_grad_norm_",
    )  # fmt: skip
    expect(
        is_near(moved, wanted), f"{told}, in another direction", code="clips-each",
        meaning="clipping part by part turns the direction: clip once, at the end",
    )  # fmt: skip
    meaning = "wanted: the length before clipping, which clip_grad_norm_ returns"
    why = first if builds_on_sand else {"code": "wrong-norm", "meaning": meaning}
    expect_close(seen["norm"], float(gradient.norm()), what="the returned norm", rtol=1e-3, **why)


@check(
    "bytes", points=4,
    hints=(
        "In pack you meet every tensor that backward will need. Which of them cost no extra memory?",
        "Weights are in memory anyway: skip what shares storage with a parameter. And a tensor may be saved "
        "twice, by the layer that made it and by its reader.",
        "In pack: if tensor.untyped_storage().data_ptr() is no parameter's, put the tensor into a dict under "
        "its own data_ptr(). At the end add up numel() times element_size().",
    ),
)  # fmt: skip
def bytes_for_backward(answers: Answers) -> None:
    """Count the bytes of activations that autograd keeps for the backward pass."""
    rng = answers.rng
    n, wide, narrow, out = (int(rng.integers(low, 2 * low)) for low in (4, 40, 20, 10))
    for dtype, size in (("float32", 4), ("float64", 8)):
        wanted = n * (wide + narrow + out) * size  # the input and what each ReLU gives, each of them once
        found = answers.inside("try_bytes", widths=[wide, narrow, out], n=n, dtype=dtype)
        told = f"{n} x ({wide} + {narrow} + {out}) numbers of {size} bytes gave {found}, wanted {wanted}"
        weights, repeated = [(wide * narrow + narrow * out) * size, narrow * out * size], n * narrow * size
        mistaken = {
            "counts-numbers": ([wanted // size], "these are numbers; a float32 has 4 bytes, a float64 has 8"),
            "assumes-float32": ([wanted // size * 4], "element_size() says how many bytes a number has"),
            "counts-weights": (
                [wanted + weight + more for weight in weights for more in (0, repeated)],
                "weights are in memory whether backward needs them or not",
            ),
            "counts-twice": ([wanted + repeated], "what one layer gives and the next reads is one tensor"),
            "whole-storage": ([wanted + 4 * n * wide * size], "a slice counts with its own bytes alone"),
            "every-output": ([n * (3 * narrow + 2 * out) * size], "not all outputs are kept; the input is"),
        }  # fmt: skip
        for code, (numbers, meaning) in mistaken.items():
            expect(found == wanted or found not in numbers, told, code=code, meaning=meaning)
        expect(found == wanted, told, code="wrong-bytes", meaning="kept: the input, and each output of ReLU")


@check(
    "checkpoint", points=3,
    hints=(
        "checkpoint(function, x) forgets what happens inside, and runs it again for backward.",
        "Send x through one block at a time; each block in a checkpoint of its own.",
        "In a loop over the blocks: the new x is checkpoint of block and x, with use_reentrant=False.",
    ),
)  # fmt: skip
def keep_only_inputs_of_blocks(answers: Answers) -> None:
    """Keep only the input of each block, and compute the rest again: same output, same gradient."""
    rng = answers.rng
    number, width, seed = int(rng.integers(3, 6)), 12, int(rng.integers(2**31))
    sides = [rng.uniform(-0.3, 0.3, (width, width + 1)).astype(np.float32) for _ in range(number)]
    layers = [(torch.from_numpy(side[:, 1:].copy()), torch.from_numpy(side[:, 0].copy())) for side in sides]
    x = torch.from_numpy(rng.standard_normal((5, width)).astype(np.float32))
    wanted_out, wanted = run_plainly(layers, x, seed)
    seen = answers.inside("try_checkpoint", layers=layers, x=x, seed=seed)
    expect_type(seen["out"], Tensor, what="what run_checkpointed returned")
    found, order = flat(seen["gradients"]), seen["order"]
    every = "every block once, in order"
    expect_close(seen["out"], wanted_out, what="the output", code="other-output", meaning=every)
    expect(
        not seen["is_reentrant"], "the blocks got no gradient", code="reentrant-form",
        meaning="checkpoint(block, x) takes an older form, which learns nothing here: use_reentrant=False",
    )  # fmt: skip
    expect(
        found.shape == wanted.shape, "some blocks got no gradient", code="no-gradient",
        meaning="no_grad and detach save memory by giving up learning")  # fmt: skip
    again, meaning = order[number:], "nothing was forgotten, so nothing was saved"
    expect(again, f"every block ran once: {order}", code="nothing-recomputed", meaning=meaning)
    expect(
        set(again) == set(range(number)), f"only blocks {sorted(set(again))} of {number} ran again",
        code="some-blocks-kept", meaning="the others still keep all that happens inside")  # fmt: skip
    expect(
        again != sorted(again), f"for backward the blocks ran in the order {again}", code="one-segment",
        meaning="one checkpoint around all blocks brings all activations back at once when backward begins",
    )  # fmt: skip
    expect(
        is_near(found, wanted), f"the gradient is {distance(found, wanted)} off", code="other-dropout",
        meaning="the second run must drop the same units: the random state is part of what is kept",
    )  # fmt: skip


def run_plainly(layers: list[tuple[Tensor, Tensor]], x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return output and gradients of dense blocks, each with tanh and dropout, that keep everything."""
    leaves = [part.clone().requires_grad_() for layer in layers for part in layer]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for weight, bias in zip(leaves[::2], leaves[1::2], strict=True):
            x = F.dropout(torch.tanh(F.linear(x, weight, bias)), 0.5)
    x.square().sum().backward()
    return x.detach(), flat([leaf.grad for leaf in leaves])


@check(
    "epoch", points=4, limit_s=60,
    hints=(
        "Seven micro-batches, three to a step. What becomes of the seventh?",
        "Cut the list into groups; the last may be shorter. Each group is one batch, so it takes one step.",
        "accumulated_step on each slice of per_step micro-batches (limit: float('inf')). The test: give one "
        "micro-batch with per_step=2; that must be one step, and it must move the weights.",
    ),
)  # fmt: skip
def no_leftovers(answers: Answers) -> None:
    """Mend the epoch, so that its last micro-batches count; and write the test that sees it."""
    rng = answers.rng
    per_step, rest = 3, int(rng.integers(1, 3))
    batches = draw_batches(rng, [int(size) for size in rng.integers(2, 6, 2 * per_step + rest)])
    start, groups, trained = small_reader(rng), -(-len(batches) // per_step), {}
    for name in SCALES:
        twin = copy.deepcopy(start)
        epoch_by(name)(twin, torch.optim.SGD(twin.parameters(), lr=0.2), batches, per_step)
        trained[name] = flat(list(twin.parameters())) - flat(list(start.parameters()))
    seen = answers.inside("try_epoch", **recipe(start, batches), per_step=per_step, rate=0.2)
    steps = seen["steps"]
    told = f"{len(batches)} micro-batches, {per_step} to a step: {steps} steps, wanted {groups}"
    expect(
        steps != groups - 1, told, code="leftover-dropped",
        meaning="the last group is not full, so its step never came; its photos were read for nothing",
    )  # fmt: skip
    expect(steps == groups, told, code="wrong-steps", meaning="one step a group, the last too")
    moved = flat(seen["weights"]) - flat(list(start.parameters()))
    is_right = is_near(moved, trained["targets"])
    told = f"after the epoch the weights are {distance(moved, trained['targets'])} off the reference"
    expect(
        is_right or not is_near(moved, trained["full groups"]), told, code="leftover-diluted",
        meaning="the last group was divided by per_step, but it has fewer micro-batches")  # fmt: skip
    by_steps = is_near(moved, trained["steps"])
    expect(is_right or not by_steps, told, code="epoch-by-steps", meaning="micro-batches weigh by targets")
    expect(is_right, told, code="wrong-epoch", meaning="each group is one batch with one step of its own")
    expect_close(
        seen["returned"], groups, what="the steps", code="wrong-count", meaning="count the last one too"
    )
    fair, broken, idle = (answers.inside("try_guard", last=last) for last in ("learns", "drops", "idles"))
    for said in (fair, broken, idle):
        expect_type(said, (bool, np.bool_), what="what counts_every_photo returned", code="no-yes-or-no",
                    meaning="a test ends in yes or no")  # fmt: skip
    expect(
        fair, "counts_every_photo refuses a right epoch", code="guard-blames-the-right",
        meaning="with 1 micro-batch and per_step=2 a right epoch takes 1 step")  # fmt: skip
    expect(
        not broken, "counts_every_photo accepts the broken epoch", code="guard-misses",
        meaning="the fault shows only where the number of micro-batches is no multiple of per_step",
    )  # fmt: skip
    expect(
        not idle, "counts_every_photo accepts an epoch whose last step moves nothing",
        code="guard-counts-steps", meaning="a step can be counted and teach nothing: look at the weights",
    )  # fmt: skip


SCALES: dict[str, Callable[[list[int], int], list[float]]] = {
    "targets": lambda counts, per_step: [1 / sum(counts)] * len(counts),
    "steps": lambda counts, per_step: [1 / count / len(counts) for count in counts],
    "full groups": lambda counts, per_step: [1 / count / per_step for count in counts],
}


def epoch_by(name: str) -> Callable[..., None]:
    """Return an epoch that weighs micro-batches in a way of `SCALES`."""

    def epoch(model, optimizer, micro_batches, per_step):
        for first in range(0, len(micro_batches), per_step):
            group = micro_batches[first : first + per_step]
            scaled = gradients(model, group, SCALES[name](targets(group), per_step))
            for parameter, gradient in zip(model.parameters(), scaled, strict=True):
                parameter.grad = gradient
            optimizer.step()

    return epoch
