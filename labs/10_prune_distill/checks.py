"""Checks of lab 10: counts that must add up, and layers that must give what the masked ones gave."""

from __future__ import annotations

import copy
import zlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close, expect_type
from scalelab.models import PinReader
from scalelab.train import IGNORE

FORMULA = "alpha T^2 KL(teacher || student) + (1 - alpha) CE, each of them a mean over digits"
CLOSE, BOOL = 1e-3, (bool, np.bool_)  # slips differ by per cents, rounding by 1e-6
Named = dict[str, Tensor]
Row = tuple[float, float, float]
torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def refuse(*slips: tuple[object, str, str, str]) -> None:
    """Fail at the first slip (is it so?, what came back, code, meaning) that an answer looks like."""
    for is_slip, told, code, meaning in slips:
        expect(not is_slip, told, code=code, meaning=meaning)


def is_near(found: Tensor, wanted: Tensor, close: float = CLOSE) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() <= close * wanted.norm())


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


@check(
    "mask", points=4,
    hints=("A threshold drops all weights of its size, or none of them. What has an exact place?",
           "Put the sizes of all prunable weights into one long vector; its order says which go.",
           "argsort the vector of abs(); the first round(sparsity * n) places are False; split and reshape."),
)  # fmt: skip
def smallest_of_all_layers(answers: Answers) -> None:
    """Choose exactly the share of weights that goes, the smallest of all layers together."""
    weights, wanted = draw_weights(answers.rng)
    prunable = {name: each for name, each in weights.items() if each.ndim > 1}
    values = torch.cat([weight.flatten() for weight in prunable.values()])
    given, sizes = {name: weight.clone() for name, weight in weights.items()}, values.abs()
    share = (wanted - 0.3) / len(sizes)  # int() drops one too few
    masks = read_masks(answers["magnitude_masks"](given, share), prunable)
    goes = ~torch.cat([mask.flatten() for mask in masks.values()])
    gone, edge = int(goes.sum()), float(sizes.sort().values[wanted - 1])
    told = f"{gone} of {len(sizes)} weights are dropped, wanted {wanted}"
    by_layer = [are_smallest(prunable[name].abs(), ~mask) for name, mask in masks.items()]
    by_layer += [abs(int((~mask).sum()) - share * mask.numel()) <= 1 for mask in masks.values()]
    refuse(
        (gone == len(sizes) - wanted and are_smallest(sizes, ~goes), told, "mask-inverted",
         "True is for what stays, as in weight * mask"),
        (all(by_layer), f"{told}: each layer lost the same share of its own", "per-layer",
         "here all layers are one crowd: a layer of large weights keeps more of them"),
        (gone == int((sizes <= edge).sum()), f"{told}: all of the size {edge:g} went", "ties-dropped",
         "`<=` at a threshold drops all weights of that size: go by order, not by size"),
        (gone == int((sizes < edge).sum()), f"{told}: none of the size {edge:g} went", "ties-kept",
         "`<` at a threshold keeps all weights of that size: go by order, not by size"),
        (gone != wanted, told, "wrong-count", "round(sparsity * n), n being the prunable weights alone"),
        (are_smallest(values, goes), f"{told}, but the most negative ones went", "signed-order",
         "-3 is a large weight: order by abs()"),
        (not are_smallest(sizes, goes), f"{told}; one of them is larger than one that stays",
         "not-the-smallest", "the order is over all layers together, by abs()"),
    )  # fmt: skip


def draw_weights(rng: np.random.Generator) -> tuple[Named, int]:
    """Return parameters of many equal sizes, and a number to drop that ends amid equals."""
    drawn = {}
    for name, shape, scale in (("stem.0.weight", (4, 1, 3, 3), 12), ("stem.1.weight", (4,), 4),
                               ("head.1.weight", (9, 8), 4), ("head.1.bias", (9,), 4),
                               ("head.4.weight", (5, 9), 8)):  # fmt: skip
        drawn[name] = torch.from_numpy(np.round(scale * rng.standard_normal(shape)) / 8).float()
    sizes = torch.cat([weight.abs().flatten() for weight in drawn.values() if weight.ndim > 1]).sort().values
    amid = [k for k in range(len(sizes) // 3, 4 * len(sizes) // 5) if sizes[k - 2] == sizes[k] > 0]
    return drawn, int(rng.choice(amid))


def read_masks(masks: Any, prunable: Named) -> Named:
    """Return the masks as bool tensors, or fail with a sentence about what they are."""
    expect_type(masks, dict, what="what was returned", code="no-dict", meaning="wanted: name -> mask")
    extra, missing = sorted(set(masks) - set(prunable)), sorted(set(prunable) - set(masks))
    refuse((extra, f"there is a mask for {extra[:1]}", "prunes-biases",
            "biases and batch norms have one axis and few numbers, each of which matters: no mask"),
           (missing, f"no mask for {missing[:1]}", "mask-missing", "it can be pruned"))  # fmt: skip
    for name, weight in prunable.items():
        mask = masks[name] if isinstance(masks[name], Tensor | np.ndarray) else np.zeros(0)
        refuse((mask.shape != weight.shape, f"the mask of {name} has shape {tuple(mask.shape)}, wanted "
                f"{tuple(weight.shape)}", "mask-shape", "a mask has the shape of its weight"),
               (((mask != 0) & (mask != 1)).any(), f"the mask of {name} holds more than 0 and 1", "no-mask",
                "a mask says which stay, not what they weigh"))  # fmt: skip
    return {name: torch.as_tensor(masks[name]).bool() for name in prunable}


def are_smallest(values: Tensor, chosen: Tensor) -> bool:
    return not chosen.any() or bool(chosen.all()) or bool(values[chosen].max() <= values[~chosen].min())


@check(
    "bytes", points=3,
    hints=("A dense file does not know what a zero is. What must a sparse one write beside a number?",
           "CSR: each number that is not zero, and its column; and for the rows, where each of them begins.",
           "numel() * element_size(); len(gzip.compress(...)); full * (element_size() + 4) + 4 * rows + 4."),
)  # fmt: skip
def bytes_of_zeros(answers: Answers) -> None:
    """Count what a weight takes: dense, after gzip, and as compressed sparse rows."""
    rng = answers.rng
    for dtype, zeros in ((np.float32, 0.9), (np.float64, 0.3)):
        rows, columns = int(rng.integers(30, 60)), int(rng.integers(61, 90))
        drawn = (rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) >= zeros)).astype(dtype)
        size, full, n = drawn.itemsize, int(np.count_nonzero(drawn)), drawn.size
        found = answers["stored_bytes"](torch.from_numpy(drawn.copy()))
        expect_type(found, dict, what="what was returned", code="no-counts", meaning="wanted: three counts")
        lost = {"dense", "gzip", "sparse"} - set(found)
        refuse((lost, f"there is no {sorted(lost)[:1]}", "key-missing", 'wanted: "dense", "gzip", "sparse"'))
        of, csr = f"bytes of {rows} x {columns} numbers of {size} bytes, {full} not zero", full * (size + 4)
        wanted = {"dense": drawn.nbytes, "sparse": csr + 4 * (rows + 1)}
        for code, key, slip, meaning in (
            ("counts-numbers", "dense", n, "numbers are not bytes: element_size() says how many"),
            ("assumes-float32", "dense", 4 * n, "element_size() says how many bytes a number has"),
            ("zeros-are-free", "dense", full * size, "a dense file writes down its zeros like any number"),
            ("values-alone", "sparse", full * size, "without their places the numbers are no matrix"),
            ("rows-forgotten", "sparse", csr, "a reader must know where each row begins"),
            ("last-row-open", "sparse", csr + 4 * rows, "rows + 1: one more for where the last row ends"),
            ("two-indices", "sparse", full * (size + 8), "(row, column, value): CSR has one index each"),
            ("wide-indices", "sparse", full * (size + 8) + 8 * (rows + 1), "an int32 has 4 bytes"),
            ("index-for-zeros", "sparse", n * (size + 4) + 4 * (rows + 1), "zeros are not stored at all"),
        ):  # fmt: skip
            is_slip = is_number(found[key]) and found[key] == slip != wanted[key]
            refuse((is_slip, f"{key} {of}: {found[key]!s:.20}, wanted {wanted[key]}", code, meaning))
        for key, number in wanted.items():
            meaning = "count again: which numbers does the file hold, and how wide is each?"
            expect_close(found[key], number, what=f"{key} {of}", code=f"wrong-{key}", rtol=0, meaning=meaning)
        packed, told = [len(zlib.compress(drawn.tobytes(), level)) for level in range(1, 10)], found["gzip"]
        is_packed = is_number(told) and 0.97 * min(packed) <= told <= 1.03 * max(packed) + 40
        refuse((not is_packed, f"gzip {of}: {told!s:.20}, wanted about {packed[-1]}", "wrong-gzip",
                "the length of the compressed bytes of all numbers, zeros too"))  # fmt: skip


@check(
    "channels", points=5, limit_s=30,
    hints=("Which numbers of the three layers speak of channel c? There are seven kinds.",
           "Rows of conv, four vectors of norm, inputs of the next layer: many a channel behind Flatten.",
           "copy.deepcopy all; conv.weight[keep]; norm's weight, bias, running_mean, running_var [keep]; "
           "after.weight[:, keep], or [:, [c * positions + p for c in keep for p in range(positions)]]."),
)  # fmt: skip
def removed_for_real(answers: Answers) -> None:
    """Remove channels from a convolution, its batch norm and the next layer: smaller, the same output."""
    rng = answers.rng
    for is_dense in (False, True):
        channels = int(rng.integers(5, 8))
        given = draw_layers(rng, channels=channels, is_dense=is_dense)
        some = rng.choice(np.arange(1, channels), int(rng.integers(2, 4)), replace=False)
        judge_channels(answers, given, sorted(some.tolist()))


def draw_layers(rng: np.random.Generator, *, channels: int, is_dense: bool) -> dict[str, Any]:
    """Return settings and numbers of conv, norm and the layer after it, and an input of six positions."""
    draw = [torch.from_numpy(rng.standard_normal(shape)).float() for shape in [(channels,)] * 3 + [(4,)]]
    numbers = dict(zip(("weight", "bias", "running_mean"), draw, strict=False))
    numbers["running_var"] = torch.from_numpy(rng.uniform(0.3, 3, channels)).float()
    shapes = (channels, 2, 3, 3), (4, channels * 6) if is_dense else (4, channels, 3, 3), (3, 2, 4, 6)
    kernel, far, x = (torch.from_numpy(rng.standard_normal(shape)).float() for shape in shapes)
    after = (channels * 6, 4) if is_dense else (channels, 4, 3, 1, 1)
    return {"conv": ((2, channels, 3, 2, 1), {"weight": kernel}), "norm": ((channels,), numbers),
            "after": (after, {"weight": far, "bias": draw[3]}), "x": x}  # fmt: skip


def judge_channels(answers: Answers, given: dict[str, Any], keep: list[int]) -> None:
    """Compare the layers that come back with the old ones, the other channels set to zero."""
    seen = answers.inside("try_channels", keep=keep, **given)
    is_dense, (_, channels, *_), count = len(given["after"][0]) == 2, given["conv"][0], len(keep)
    kinds = ["Conv2d", "BatchNorm2d", "Linear" if is_dense else "Conv2d"]
    refuse((seen["kinds"] != kinds, f"it returned {', '.join(seen['kinds'][:5])}", "no-three-layers",
            f"wanted: {', '.join(kinds)}, in this order"),
           (seen["is_changed"], "the old layers were changed", "changes-the-old",
            "the large reader is still needed: work on a copy (copy.deepcopy)"))  # fmt: skip
    (conv, norm, after), told = seen["numbers"], f"{count} of {channels} channels stay: "
    old, statistics, far = given["conv"][1], given["norm"][1], given["after"][1]
    width, positions = after["weight"].shape[1], 6 if is_dense else 1
    inputs = f"{told}the next layer takes {width} inputs, wanted {count * positions}"
    refuse(
        (len(conv["weight"]) != count, f"{told}the convolution makes {len(conv['weight'])}", "rows-left",
         "zeros are computed like any number; a channel is gone when its row is"),
        (any(len(norm[name]) != count for name in statistics), f"{told}the batch norm has more", "norm-left",
         "batch norm keeps four numbers a channel: weight, bias, running_mean, running_var"),
        (width == channels * positions, inputs, "columns-left", "who read the channel still waits for it"),
        (width == count != count * positions, inputs, "one-column-a-channel",
         f"behind Flatten each channel is {positions} numbers, one a position"),
    )  # fmt: skip
    moments = (statistics[name] for name in ("running_mean", "running_var", "weight", "bias"))
    reaching = torch.zeros(channels).index_fill(0, torch.tensor(keep), 1.0)
    x = F.batch_norm(F.conv2d(given["x"], old["weight"], stride=2, padding=1), *moments)
    x = F.relu(x) * reaching[:, None, None]
    wanted = F.linear(x.flatten(1), *far.values()) if is_dense else F.conv2d(x, *far.values(), padding=1)
    if seen["out"] is not None and is_near(seen["out"], wanted, 1e-5):
        return
    wide = far["weight"]
    columns = wide[:, [c * positions + p for c in keep for p in range(positions)]]
    apart = wide[:, [c + channels * p for p in range(positions) for c in keep]]
    others = {name for name in statistics if not torch.equal(norm[name], statistics[name][keep])}
    told += "the output is not that of the old layers with the other channels at 0"
    refuse(
        (not torch.equal(conv["weight"], old["weight"][keep]), told, "rows-of-others", "take rows `keep`"),
        (others & {"running_mean", "running_var"}, told, "statistics-forgotten",
         "running_mean and running_var are buffers, not parameters: a new layer begins with 0 and 1"),
        (others, told, "norm-of-others", "weight and bias of the batch norm go by `keep`, too"),
        (positions > 1 and torch.equal(after["weight"], apart), told, "columns-interleaved",
         "Flatten puts all positions of one channel side by side: columns c * positions + p"),
        (not torch.equal(after["weight"], columns), told, "columns-of-others", "take columns of `keep`"),
        (not torch.equal(after.get("bias", columns), far["bias"]), told, "bias-lost",
         "the next layer's outputs all stay, and its bias with them"),
        (True, told, "settings-lost", "stride, padding and eps are settings, not weights: keep them, too"),
    )  # fmt: skip


@check(
    "loss", points=4, limit_s=30,
    hints=("Write the formula for one digit first. What is the mean over?",
           "F.kl_div takes the student's logs first; its `batchmean` divides by B: flatten(0, 1) first.",
           "log_softmax of both over T; F.kl_div(own, soft, reduction='batchmean', log_target=True) * T**2. "
           "F.cross_entropy with ignore_index=IGNORE, or 0 where no digit has a label. teacher.detach()."),
)  # fmt: skip
def teacher_and_labels(answers: Answers) -> None:
    """Weigh the teacher's soft answers and the labels: the value, and the gradient for the student."""
    rng = answers.rng
    student, teacher = (torch.from_numpy(2 * rng.standard_normal((4, 6, 10))).float() for _ in range(2))
    labels = torch.from_numpy(rng.integers(0, 10, (4, 6)))
    labels.view(-1)[torch.from_numpy(rng.permutation(24)[:8])] = IGNORE
    given = {"student": student, "teacher": teacher, "labels": labels}
    judge_loss(answers, given, float(rng.uniform(2, 4)), float(rng.uniform(0.55, 0.8)))
    judge_loss(answers, given | {"labels": torch.full_like(labels, IGNORE)}, 2.0, 1.0)


def judge_loss(answers: Answers, given: Named, temperature: float, alpha: float) -> None:
    """Compare value and gradient with the formula in float64, and call the usual slips by their names."""
    seen = answers.inside("try_loss", **given, temperature=temperature, alpha=alpha)
    s, t, y = (given[name].flatten(0, 1) for name in ("student", "teacher", "labels"))
    log_s, log_t, hot_s, hot_t = ((x.double() / T).log_softmax(1) for T in (temperature, 1) for x in (s, t))
    has, rest, own, soft, n = y != IGNORE, 1 - alpha, log_s.exp(), log_t.exp(), len(y)
    labelled, square = max(1, int(has.sum())), temperature**2
    ce, cool = (-float(logs[has, y[has]].sum()) / labelled for logs in (hot_s, log_s))
    kl, turned, hard_t, hard_s, cross = (float(each.sum()) / n for each in (
        soft * (log_t - log_s), own * (log_s - log_t), hot_t.exp() * (hot_t - log_s), soft * (log_t - hot_s),
        -soft * log_s))  # fmt: skip
    wanted, value, weight = alpha * square * kl + rest * ce, seen["loss"], alpha * square
    if isinstance(value, Tensor) and value.numel() == 1:
        told = f"the loss is {float(value):.5g}, wanted {wanted:.5g}"
        code = "not-finite" if has.any() else "nan-without-labels"
        refuse((not torch.isfinite(value), f"{told}; {int(has.sum())} of {n} digits have a label", code,
                "it comes from 0/0 (no label) or log(0), and 0 * NaN is NaN"))  # fmt: skip
        for code, slip, meaning in (
            ("no-square", alpha * kl + rest * ce, "soft gradients shrink as 1/T^2: the labels win"),
            ("square-once", alpha * temperature * kl + rest * ce, "the factor is T squared, not T"),
            ("batchmean-of-photos", 6 * weight * kl + rest * ce, "`batchmean` divides by photos here"),
            ("mean-of-classes", weight * kl / 10 + rest * ce, "a divergence is a sum over the ten classes"),
            ("kl-turned", weight * turned + rest * ce, "F.kl_div takes the student's logs first"),
            ("soft-cross-entropy", weight * cross + rest * ce, "that is never 0, even for a perfect student"),
            ("teacher-not-softened", weight * hard_t + rest * ce, "T divides the teacher's logits, too"),
            ("student-not-softened", weight * hard_s + rest * ce, "T divides the student's logits, too"),
            ("labels-softened", weight * kl + rest * cool, "labels are compared at T = 1"),
            ("divides-by-all", weight * kl + rest * ce * labelled / n, "CE is a mean over labelled digits"),
            ("labels-forgotten", weight * kl, "some digits have labels: they count with 1 - alpha"),
            ("alpha-swapped", rest * square * kl + alpha * ce, "alpha is the teacher's weight"),
        ):  # fmt: skip
            is_slip = abs(float(value) - slip) <= 1e-4 * abs(slip) and abs(slip - wanted) > CLOSE * wanted
            refuse((is_slip, told, code, meaning))
    expect_close(value, wanted, what="the loss", code="wrong-loss", rtol=CLOSE, meaning=FORMULA)
    refuse((seen["gradient"] is None, "no gradient reaches the student", "student-detached",
            "the student's logits stay in the graph: no detach(), no float(), no no_grad()"))  # fmt: skip
    slope = alpha * temperature * (own - soft) / n
    slope[has] += rest * (hot_s[has].exp() - F.one_hot(y[has], 10)) / labelled
    is_cut = not is_near(seen["gradient"].double().flatten(0, 1), slope)
    refuse((is_cut, "the loss is right, its gradient is not", "wrong-gradient", "a part was cut off"),
           (seen["is_teacher_taught"], "a gradient reaches the teacher's logits", "teacher-taught",
            "then the teacher comes to meet the student: teacher.detach()"))  # fmt: skip


@check(
    "front", points=3,
    hints=("When would nobody choose row b, because row a is there?",
           "a is at least as good in all three, and better in one. Equal rows do not beat each other.",
           "a beats b if a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2] and a != b. Keep what no row beats."),
)  # fmt: skip
def nobody_better(answers: Answers) -> None:
    """Return the positions of all rows that no other row beats."""
    found, wanted = answers["pareto_front"](rows := draw_rows(answers.rng)), front(rows)
    kinds = (list, tuple, set, np.ndarray, Tensor)
    expect_type(found, kinds, what="the front", code="no-list", meaning="wanted: a list of positions")
    places = sorted(int(each) for each in found if is_number(each) or getattr(each, "shape", None) == ())
    told = f"{len(rows)} rows: the front is {places}, wanted {wanted}"
    refuse((any(isinstance(each, tuple | list) for each in found), "the front holds rows", "returns-rows",
            "positions are asked for: two rows may be equal"),
           (len(places) != len(found), "it holds no positions", "no-positions", "wanted: whole numbers"),
           *((places == front(rows, **slip), told, code, meaning) for code, slip, meaning in MISTAKEN_FRONTS),
           (places == sorted(set(range(len(rows))) - set(wanted)), told, "the-beaten", "these are beaten"),
           (places != wanted, told, "wrong-front", "at least as good in all, better in one; equal rows do "
            "not beat each other"))  # fmt: skip


MISTAKEN_FRONTS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("better-in-all", {"is_strict": True}, "better in one is enough: with equal bytes, too"),
    ("accuracy-turned", {"signs": (1, 1, 1)}, "more accuracy is better; of bytes and work less is"),
    ("work-forgotten", {"signs": (1, 0, -1)}, "the second number is missing"),
    ("bytes-forgotten", {"signs": (0, 1, -1)}, "the first number is missing"),
    ("accuracy-alone", {"signs": (0, 0, -1)}, "who is smaller may stay, with less accuracy"),
)


def front(rows: list[Row], signs: Row = (1, 1, -1), *, is_strict: bool = False) -> list[int]:
    costs = (np.array(rows) * signs)[:, None] - np.array(rows) * signs  # (who, whom, number)
    beats = (costs < 0).all(2) if is_strict else (costs <= 0).all(2) & (costs < 0).any(2)
    return np.flatnonzero(~beats.any(0)).tolist()


def draw_rows(rng: np.random.Generator) -> list[Row]:
    """Return rows with ties and two equal ones on the front, on which every slip shows."""
    while True:
        rows = [(1000 * int(a), 10 * int(b), 0.9 + int(c) / 100) for a, b, c in rng.integers(1, 6, (12, 3))]
        rows.append(rows[int(rng.choice(front(rows)))])
        fronts = [front(rows), *(front(rows, **slip) for _, slip, _ in MISTAKEN_FRONTS)]
        fronts += [[place for place in fronts[0] if rows.count(rows[place]) == 1]]
        if len({str(each) for each in fronts}) == len(fronts):
            return [rows[place] for place in rng.permutation(len(rows))]


@check(
    "tune", points=5, limit_s=60,
    hints=("Print the share of zeros after each step. Who moved them?",
           "An optimizer knows nothing of masks: gradient, momentum and decay move every weight.",
           "Multiply the weights by their masks (torch.no_grad()) before the first step and after each. The "
           "test: tune a tiny reader; what was dropped is 0 then, and something has moved."),
)  # fmt: skip
def zeros_stay(answers: Answers) -> None:
    """Mend the tuning, so that what was dropped stays dropped; and write the test that sees it."""
    judge_tuning(answers, answers.rng)
    turns = answers.rng.permutation(["", "once", "elsewhere", "one layer", "idle"]).tolist()
    says = {fault: answers.inside("try_guard", fault=fault) for fault in turns}
    for fault, told, code, meaning in (
        ("", "refuses a right tuning", "guard-blames-the-right", "what was dropped is 0, the rest moved"),
        ("once", "accepts the broken tuning", "guard-misses", "look at the weights after the last step"),
        ("elsewhere", "accepts zeros in other places than the masks say", "guard-counts-zeros",
         "their number is right, their places are not: look where the masks are False"),
        ("one layer", "accepts one layer's zeros for all", "guard-one-layer", "look at each weight"),
        ("idle", "accepts a tuning that takes no step", "guard-lets-idle", "some that stay must have moved"),
    ):  # fmt: skip
        expect_type(said := says[fault], BOOL, what="it", code="no-yes-or-no", meaning="wanted: yes or no")
        refuse((bool(said) != (fault == ""), f"keeps_the_zeros {told}", code, meaning))


def judge_tuning(answers: Answers, rng: np.random.Generator) -> None:
    """Compare losses and weights of a small reader with those of a reference that takes the same steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        model = PinReader(width=12, channels=(2, 3, 4)).train()
    heavy = [(name, tuple(weight.shape)) for name, weight in model.named_parameters() if weight.ndim > 1]
    masks = {name: torch.from_numpy(rng.random(shape) < 0.5) for name, shape in heavy}
    drawn = compose_pins(24, "train", seed=int(rng.integers(2**31)))
    images, labels = torch.from_numpy(drawn.images).split(8), torch.from_numpy(drawn.labels).long().split(8)
    batches = list(zip(images, labels, strict=True))
    recipe = {"config": model.config, "weights": dict(model.state_dict()), "masks": masks}
    seen = answers.inside("try_tuning", **recipe, batches=batches)
    alive = sum(int((seen["weights"][name][~mask] != 0).sum()) for name, mask in masks.items())
    (losses, wanted), (_, late) = (tuned(model, masks, batches, is_late=is_late) for is_late in (False, True))
    is_right, is_late = (all(is_near(seen["weights"][n], each[n]) for n in each) for each in (wanted, late))
    told = "the weights are not those of the reference"
    refuse(
        (seen["steps"] != 3, f"3 batches, {seen['steps']} steps", "wrong-steps", "each batch is one step"),
        (alive, f"{alive} dropped weights are not zero after the tuning", "zeros-grow-back",
         "the optimizer moves every weight: by its gradient, or by what momentum remembers"),
        (is_late and not is_right, told, "dense-at-first", "drop before the first step, too"),
        (not is_right, told, "wrong-weights", "forward, zero_grad, backward, step, masks; nothing else"),
    )  # fmt: skip
    told = "one a step: the mean over the labelled digits of its batch"
    expect_close(seen["losses"], losses, what="losses", code="wrong-losses", rtol=CLOSE, meaning=told)


def tuned(model: PinReader, masks: Named, batches: list[Any], *, is_late: bool) -> tuple[list[float], Named]:
    """Return losses and weights of the reference; before it one dense step gives the optimizer momentum."""
    twin, losses = copy.deepcopy(model).train(), []
    weights = dict(twin.named_parameters())
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    for number, (images, labels) in enumerate([batches[0], *batches]):
        loss = F.cross_entropy(twin(images).flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, mask in masks.items() if number or not is_late else ():
            weights[name].data.masked_fill_(~mask, 0)
        losses += [loss.item()]
    return losses[1:], {name: weight.detach() for name, weight in weights.items()}
