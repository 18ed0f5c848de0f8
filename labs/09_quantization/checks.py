"""Checks of lab 09: integers are exact, or those of the package (which its tests hold to ONNX Runtime's).

Shapes in this file: N = photos, K = inputs of a dense layer, M = its outputs; weights are (M, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from scalelab.compress.numbers.affine import Affine, affine_from_range
from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect_type
from scalelab.grading.meanings import Meanings
from scalelab.train import trained_reader

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds
MEANINGS = Meanings(__file__)
fail_if, tell, close = MEANINGS.fail_if, MEANINGS.tell, MEANINGS.close
parts, whole_numbers = MEANINGS.parts, MEANINGS.whole_numbers


@check(
    "affine", points=4,
    hints=(
        "How many steps lie between 256 marks? And which numbers must the ruler reach besides low and high?",
        "Widen the range to hold 0; the scale is its width over the steps; zero lies -low / scale steps up.",
        "quantize: divide by the scale, np.rint, add the zero point, clip, and only then make it uint8. "
        "dequantize: leave uint8 before you subtract.",
    ),
)  # fmt: skip
def ruler_with_a_zero(answers: Answers) -> None:
    """Lay a ruler of whole numbers over a range, zero on a mark; put numbers on it, and read them off."""
    rng = answers.rng
    small, large = float(rng.uniform(0.5, 3)), float(rng.uniform(5, 9))
    width, mark = small + large, int(rng.integers(3, 7))
    some, more = width * (10 * mark + 0.3) / 255, width * (mark + 0.7) / 15  # zero between two marks
    ends = ((-some, width - some, 8), (small, large, 8), (-large, -small, 8), (-more, width - more, 4))
    for low, high, bits in ends:
        given = (low, high) if bits == 8 else (low, high, bits)
        check_ruler(answers["scale_and_zero"](*given), low, high, bits)
    scale, zero = parts(answers["scale_and_zero"](0.0, 0.0), 2, "scale_and_zero", "not-two-values")
    is_usable = 0 < scale < np.inf and zero == 0
    fail_if(not is_usable, f"the range [0, 0] gave scale {scale:g} and zero point {zero:g}", "flat-range")
    check_integers(answers, bits=8, zero=2 * int(rng.integers(10, 60)) + 1)
    check_integers(answers, bits=5, zero=2 * int(rng.integers(3, 8)) + 1)
    step, zero = float(rng.uniform(0.01, 0.2)), int(rng.integers(90, 160))
    integers = rng.permutation(256).astype(np.uint8).reshape(16, 16)
    found = answers["dequantize"](integers, step, zero)
    wanted, q = Affine(np.float32(step), np.int32(zero)).dequantize(integers), integers.astype(float)
    slips = {
        "unsigned-wraps": (q - zero) % 256 * step,
        "zero-point-unscaled": q * step - zero,
        "zero-point-kept": q * step,
    }
    told = f"with scale {step:.3g} and zero point {zero}, {integers[0, 0]} should give {wanted[0, 0]:.4g}"
    tell(found, wanted, slips, told)
    close(found, wanted, "dequantize", "wrong-numbers", atol=1e-6)


def check_ruler(found: Any, low: float, high: float, bits: int) -> None:
    marks, where = 2**bits - 1, f"[{low:.2f}, {high:.2f}] in {bits} bits"
    scale, zero = parts(found, 2, f"what scale_and_zero gave for {where}", "not-two-values")
    width, wanted = max(high, 0) - min(low, 0), float(affine_from_range(low, high).scale) * 255 / marks
    is_swapped = np.isclose(float(zero), wanted) and not np.isclose(float(scale), wanted)
    fail_if(is_swapped, f"{where}: first {scale}, second {zero}", "values-swapped")
    slips = {
        "range-without-zero": (high - low) / marks,
        "steps-not-marks": width / (marks + 1),
        "ignores-bits": width / 255,
        "symmetric-ruler": 2 * max(-low, high) / marks,
    }
    tell(scale, wanted, slips, f"the scale of {where} is {scale}, wanted {wanted:.5g}")
    close(scale, wanted, f"the scale of {where}", "wrong-scale")
    exact, told = -min(low, 0) / wanted, f"the zero point of {where} is {zero}"
    fail_if(not float(zero).is_integer(), told, "zero-not-whole")
    fail_if(zero < 0 and abs(zero + exact) <= 1, told, "zero-sign")
    fail_if(abs(zero - exact) > 0.51, f"{told}; -low / scale is {exact:.2f}", "wrong-zero")


def check_integers(answers: Answers, *, bits: int, zero: int) -> None:
    """Check rounding and saturation; the step is a power of two, so halves are exact in any type."""
    rng, step, top = answers.rng, 2.0**-4, 2**bits - 1
    inside = rng.permutation(top - 1) + 1 - zero + rng.choice([-0.5, -0.3, 0.0, 0.3, 0.5], top - 1)
    beyond = [-zero - 0.7, -zero - 40, -3 * top, top - zero + 0.7, top - zero + 90, 4 * top]
    steps = np.concatenate([beyond, inside]).reshape(-1, 2)
    values = (steps * step).astype(np.float32)
    given = (values, step, zero) if bits == 8 else (values, step, zero, bits)
    found = whole_numbers(answers["quantize"](*given), values.shape, "uint8", "what quantize returned")
    wanted = np.minimum(Affine(np.float32(step), np.int32(zero)).quantize(values), top).astype(np.int64)
    is_off, told = found != wanted, f"with zero point {zero} and {bits} bits"
    if is_off.any():
        at = tuple(np.argwhere(is_off)[0])
        told += f" {steps[at]:.4g} steps gave {found[at]}, wanted {wanted[at]}"
    is_inside = (np.rint(steps) + zero >= 0) & (np.rint(steps) + zero <= top)
    fail_if(is_off.any() and not is_off[is_inside].any(), told, "no-saturation")
    slips = {
        "zero-point-left-out": np.rint(steps),
        "zero-point-subtracted": np.rint(steps) - zero,
        "truncates": np.trunc(steps) + zero,
        "floors": np.floor(steps) + zero,
        "rounds-after-adding": np.rint(steps + zero),
    }
    tell(found, wanted, {code: np.clip(each, 0, top) for code, each in slips.items()}, told, rtol=0)
    fail_if(is_off.any() and (steps[is_off] % 1 == 0.5).all(), told, "halves-up")
    fail_if(is_off.any(), told, "wrong-integers")


@check(
    "weights", points=3,
    hints=(
        "The largest weight of a row, of whichever sign, goes to 127. What is a step then?",
        "np.abs(weights).max(axis=1) is one number a row; a row of zeros needs a scale above 0.",
        "Divide that by 2**(bits - 1) - 1, with 1 where it is 0: the scales. The integers: weights over "
        "scales[:, None], np.rint, int8.",
    ),
)  # fmt: skip
def ruler_for_each_output(answers: Answers) -> None:
    """Quantize a dense layer's weights to int8, with a scale for each output unit."""
    n, rng = int(answers.rng.integers(10, 16)), answers.rng
    for rows, columns, bits in ((n, n, 8), (n - 3, n + 4, 8), (n, n, 4)):
        weights = rng.normal(0, 1, (rows, columns)) * rng.uniform(0.02, 0.2, (rows, 1))
        weights *= rng.uniform(0.5, 2, columns)
        weights[int(rng.integers(rows // 2))] *= 40  # the outlier
        weights[1, 0] = -1.5 * np.abs(weights[1]).max()
        weights[rows - 1] = 0  # a unit that was pruned
        weights = weights.astype(np.float32)
        given = (weights,) if bits == 8 else (weights, bits)
        found = parts(answers["quantize_weights"](*given), 2, "quantize_weights", "not-two-values")
        check_rows(weights, *found, bits)


def check_rows(weights: np.ndarray, integers: Any, scales: Any, bits: int) -> None:
    """Check integers and scales of weights (M, K), whose last row is zero."""
    (rows, columns), most, size = weights.shape, 2 ** (bits - 1) - 1, np.shape(scales)
    told = f"the scales of weights {weights.shape} have shape {size}"
    fail_if(isinstance(scales, float | np.floating | np.ndarray) and size in ((), (1,)), told, "one-scale")
    expect_type(scales, np.ndarray, what="what you gave as scales")
    fail_if(size == (columns,) != (rows,), told, "scales-of-inputs")
    fail_if(size != (rows,), told, "scales-shape")
    scales = np.asarray(scales, dtype=float)
    fail_if(not 0 < scales[-1] < np.inf, f"the scale of a row of zeros is {scales[-1]:g}", "dead-row")
    live = weights[:-1].astype(float)
    wanted = (largest := np.abs(live).max(1)) / most
    slips = {
        "one-scale": np.full(rows - 1, largest.max() / most),
        "scales-of-inputs": np.abs(weights).max(0)[: rows - 1] / most,
        "uses-128": largest / (most + 1),
        "no-abs": live.max(1) / most,
        "not-symmetric": (live.max(1) - live.min(1)) / (2 * most + 1),
        "ignores-bits": largest / 127,
    }
    told = f"{bits} bits: the scales begin with {scales[:2].round(5)}, wanted {wanted[:2].round(5)}"
    tell(scales[:-1], wanted, slips, told)
    close(scales[:-1], wanted, "the scales", "wrong-scales")
    found = whole_numbers(integers, weights.shape, "int8", "the array of integers")
    exact = weights / scales[:, None]
    off = np.abs(found - exact)
    at = np.unravel_index(off.argmax(), off.shape)
    told = f"a weight of {exact[at]:.2f} steps became {found[at]}"
    is_cut = (np.abs(found) <= np.abs(exact) + 1e-3).all()
    fail_if(0.501 < off.max() <= 1.001 and is_cut, told, "weights-truncated")
    fail_if(off.max() > 0.501, told, "wrong-weights")


@check(
    "calibrate", points=4, limit_s=30,
    hints=(
        "Who sees what goes into a layer? And what should the range of nothing be?",
        "One hook for each layer, all at once; each collects given[0]. Then one pass over the batches.",
        "A list for each layer, to which its hook appends. After the passes remove all hooks, raise "
        "ValueError if nothing came, and take np.quantile of all values of a layer together.",
    ),
)  # fmt: skip
def ranges_of_all_batches(answers: Answers) -> None:
    """Find the range of what goes into each layer, over a stream of batches; refuse an empty one."""
    rng = answers.rng
    k, hidden = int(rng.integers(5, 9)), int(rng.integers(10, 14))
    weights = [rng.normal(0, 1, shape).astype(np.float32) for shape in ((hidden, k), (4, hidden))]
    batches = [rng.normal(0.3, size, (40, k)).astype(np.float32) for size in (1.0, 4.0, 1.5)]
    first = [batch.astype(float) for batch in batches]
    second = [np.maximum(batch @ weights[0].T.astype(float), 0) for batch in first]
    outputs = np.stack([each @ weights[1].T.astype(float) for each in second])
    for keep in (1.0, 0.9):
        seen = answers.inside("try_ranges", weights=weights, batches=batches, keep=keep)
        passes = f"{seen['passes']} passes for {len(batches)} batches"
        fail_if(seen["passes"] > len(batches), passes, "passes-repeated")
        check_ranges(seen["ranges"], (np.stack(second), np.stack(first)), outputs, keep)
        fail_if(seen["hooks"], f"{seen['hooks']} hooks are still on the model", "hooks-stay")
        fail_if(seen["grad"], "the model ran with gradients on", "gradients-on")
        fail_if(seen["training"], "the model ran in training mode", "mode-changed")
    raised = answers.inside("try_ranges", weights=weights, batches=[], keep=1.0)["raised"] or "no error"
    fail_if(raised != "ValueError", f"no batches, and it ended with {raised}", "empty-goes-on")


def check_ranges(found: Any, inputs: Sequence[np.ndarray], outputs: np.ndarray, keep: float) -> None:
    """Check the ranges of two layers, given what went into them (batches, N, K)."""
    rows = [parts(pair, 2, "a range", "not-pairs") for pair in parts(found, 2, "the ranges", "not-pairs")]
    ranges, tail = np.array([[float(end) for end in row] for row in rows]), (1 - keep) / 2

    def spans(low: float, high: float, layers: Any = inputs, **how: Any) -> np.ndarray:
        return np.array([np.quantile(values, [low, high], **how) for values in layers])

    wanted = spans(tail, 1 - tail)
    each = np.array([spans(tail, 1 - tail, layer) for layer in inputs])
    slips = {
        "other-order": wanted[::-1],
        "last-batch-only": each[:, -1],
        "first-batch-only": each[:, 0],
        "mean-of-batches": each.mean(1),
        "ignores-keep": spans(0, 1),
        "one-sided": spans(0, keep),
        "quantiles-of-batches": np.stack([each[..., 0].min(1), each[..., 1].max(1)], 1),
    }
    low, high = (spans(tail, 1 - tail, method=method) for method in ("lower", "higher"))
    slack = 1e-3 * np.abs(wanted)
    if ((ranges >= low - slack) & (ranges <= high + slack)).all():
        return
    told = f"keep={keep:g}: the ranges are {ranges.round(2).tolist()}, wanted {wanted.round(2).tolist()}"
    tell(ranges, wanted, slips, told, rtol=1e-3)
    fail_if(np.allclose(ranges, wanted.T, rtol=1e-3), told, "not-pairs")
    fail_if(np.allclose(ranges, spans(1 - keep, keep), rtol=1e-3) and keep < 1, told, "one-sided")
    fail_if(np.allclose(ranges[0], spans(tail, 1 - tail, [outputs])[0]), told, "outputs-not-inputs")
    union = [wanted[:, 0].min(), wanted[:, 1].max()]
    fail_if(any(np.allclose(row, union, rtol=1e-3) for row in ranges), told, "late-binding")
    fail_if(np.allclose(ranges[:, 0], -ranges[:, 1]), told, "symmetric-ranges")
    fail_if(True, told, "wrong-ranges")


@check(
    "product", points=4,
    hints=(
        "What type has uint8 times int8 in NumPy? How large can the sum of 2,500 such products be?",
        "Make both wide before you multiply. The zero point can be subtracted before or afterwards: it costs "
        "zero_point times the sum of each output's weights.",
        "The sums: q_x less zero_point, and q_w, both as int32 or float64, and then the product. The layer: "
        "sums times scale times w_scales, plus bias.",
    ),
)  # fmt: skip
def sums_of_integers(answers: Answers) -> None:
    """Multiply integers exactly, and make a dense layer of it."""
    rng = answers.rng
    n, k, zero = int(rng.integers(5, 9)), int(rng.integers(2300, 2600)), int(rng.integers(20, 50))
    q_x = rng.integers(0, 256, (n, k)).astype(np.uint8)
    q_w = rng.integers(-127, 128, (8, n, k)).max(0).astype(np.int8)  # mostly positive: sums over 2**24
    x, w = q_x.astype(np.int64), q_w.astype(np.int64)
    exact, raw = (x - zero) @ w.T, x @ w.T
    sums = answers["integer_product"](q_x, zero, q_w)
    fail_if(getattr(sums, "dtype", None) == "int16", "the sums are int16", "int16-overflow")
    found = whole_numbers(sums, exact.shape, "int32", "what integer_product returned")
    slips = {
        "zero-point-forgotten": raw,
        "zero-point-once": raw - zero,
        "zero-point-added": (x + zero) @ w.T,
        "unsigned-sums": (q_x - np.uint8(zero)).astype(np.int64) @ w.T,
        "int8-overflow": (q_x.view(np.int8).astype(np.int64) - zero) @ w.T,
    }
    told = f"the first sum of {k} products is {found[0, 0]:,}, wanted {exact[0, 0]:,}"
    tell(found, exact, slips, told, rtol=0)
    off = found - exact
    raw_16, correction = raw.astype(np.int16), zero * w.sum(1)
    is_narrow = any(np.array_equal(found, each) for each in (raw_16, raw_16 - correction))
    fail_if(off.any() and (is_narrow or not (off % 2**16).any()), told, "int16-overflow")
    fail_if(0 < np.abs(off).max() < 1000, told, "float32-sums")
    fail_if(off.any(), told, "wrong-sums")
    check_layer(answers)


def check_layer(answers: Answers) -> None:
    """Check a dense layer whose inputs lie near marks, so that no rounding is in doubt."""
    rng = answers.rng
    n, k, zero, scale = int(rng.integers(5, 9)), 64, int(rng.integers(80, 150)), float(rng.uniform(0.02, 0.1))
    steps = rng.integers(0, 256, (n, k)) - zero
    x = ((steps + rng.uniform(-0.3, 0.3, (n, k))) * scale).astype(np.float32)
    q_w = rng.integers(-127, 128, (n, k)).astype(np.int8)  # as many outputs as photos: no axis is safe
    w_scales, bias = (each.astype(np.float32) for each in (rng.uniform(0.001, 0.02, n), rng.normal(0, 30, n)))
    sums = (steps @ q_w.T.astype(np.int64)).astype(float)
    wanted = sums * scale * w_scales + bias
    found = answers["int8_linear"](x, scale, zero, q_w, w_scales, bias)
    slips = {
        "bias-missing": wanted - bias,
        "bias-scaled": (sums + bias) * scale * w_scales,
        "scales-along-photos": sums * scale * w_scales[:, None] + bias,
        "input-scale-missing": sums * w_scales + bias,
        "weight-scales-missing": sums * scale + bias,
        "float-product": (x / scale).astype(float) @ q_w.T.astype(float) * scale * w_scales + bias,
    }
    tell(found, wanted, slips, "the layer gives other numbers than the integers stand for")
    close(found, wanted, "the layer's output", "wrong-output", atol=1e-3)


@check(
    "guard", points=4, limit_s=30,
    hints=(
        "Both read the same photos. What is the difference of the two readers on one photo?",
        "One number a photo: the share of its digits lost. You need the interval of the mean of these.",
        "d: right_before.mean(1) less right_after.mean(1). Its mean, and 1.96 times d.std() / sqrt(N) to "
        "both sides. Then compare both ends with at_most.",
    ),
)  # fmt: skip
def judged_on_the_same_photos(answers: Answers) -> None:
    """Accept, reject or leave open a compressed reader, by the paired interval of what it lost."""
    before, after = draw_readers(answers.rng, 6 * int(answers.rng.integers(50, 67)))
    per_photo = before.mean(1) - after.mean(1)
    lost, half = per_photo.mean(), 1.96 * per_photo.std() / np.sqrt(len(per_photo))
    found = judged(answers, before, after, lost + 2.5 * half)
    slips = {
        "gained-not-lost": -lost,
        "per-cent": 100 * lost,
        "whole-pins": before.all(1).mean() - after.all(1).mean(),
        "count-not-share": lost * before.size,
        "losses-only": (before & ~after).mean(),
    }
    tell(found[0], lost, slips, f"{lost:.4f} of the digits were lost, judge_loss said {found[0]:.4f}")
    close(found[0], lost, "the share lost", "wrong-share", rtol=1e-6, atol=1e-9)
    check_interval(found, before, after, half)
    cases = (("accept", 2.5), ("reject", -2.5), ("inconclusive", 0.4), ("inconclusive", -0.4))
    limits = [lost + widths * half for _, widths in cases]
    verdicts = [judged(answers, before, after, at_most)[-1] for at_most in limits]
    fail_if(len(set(verdicts)) == 1, f"{verdicts[0]!r}, whatever at_most is", "limit-ignored")
    for (wanted, widths), at_most, said in zip(cases, limits, verdicts, strict=True):
        told = f"[{found[1]:.4f}, {found[2]:.4f}], at most {at_most:.4f}: {said!r}, wanted {wanted!r}"
        is_middle = wanted == "inconclusive" and said == ("accept" if widths > 0 else "reject")
        fail_if(is_middle, told, "middle-only")
        fail_if({said, wanted} == {"accept", "reject"}, told, "upside-down")
        fail_if(said != wanted, told, "wrong-verdict")


def draw_readers(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which digits two readers get right: both fail at hard photos, the second loses whole photos."""
    before, order = np.ones((n, 6), bool), rng.permutation(n)
    hard, lost, gained = order[: n // 2], order[-n // 8 :], order[: n // 20]
    before[hard] = rng.random((len(hard), 6)) < 0.3
    after = before.copy()
    after[lost] = rng.random((len(lost), 6)) < 0.1
    after[gained] |= rng.random((len(gained), 6)) < 0.5
    return before, after


def judged(answers: Answers, before: np.ndarray, after: np.ndarray, at_most: float) -> tuple[Any, ...]:
    found = answers["judge_loss"](before, after, float(at_most))
    *numbers, said = parts(found, 4, "what judge_loss returned", "not-four-values")
    verdicts = ("accept", "reject", "inconclusive")
    fail_if(str(said) not in verdicts, f"the verdict is {said!r}", "unknown-verdict")
    return *(float(number) for number in numbers), str(said)


def check_interval(found: Any, before: np.ndarray, after: np.ndarray, half: float) -> None:
    lost, low, high, _ = found
    n, has, digits = len(before), (high - low) / 2, before.astype(float) - after
    slips = {
        "unpaired": 1.96 * np.sqrt((before.mean(1).var() + after.mean(1).var()) / n),
        "digits-not-photos": 1.96 * digits.std() / np.sqrt(digits.size),
        "one-standard-error": half / 1.96,
        "spread-of-photos": 1.96 * digits.mean(1).std(),
        "wrong-level": half * (1.645 if has < half else 2.576) / 1.96,
    }
    is_right = abs(has / half - 1) < 0.13 and abs((low + high) / 2 - lost) < 0.5 * half
    told = f"the interval is [{low:.4f}, {high:.4f}], wanted about [{lost - half:.4f}, {lost + half:.4f}]"
    for code, size in slips.items():
        fail_if(not is_right and abs(has / size - 1) < 0.1, told, code)
    fail_if(not is_right, told, "wrong-interval")


@check(
    "drill", points=4, limit_s=90,
    hints=(
        "Print the three ranges that the broken one finds. Which of them did it measure?",
        "A stream can be read once. The first layer reads it to its end, the others get nothing.",
        "Ask input_ranges for all dense layers at once. The test: hand over calibration_stream(), let both "
        "read photos of 'val', and judge_loss say if they agree.",
    ),
)  # fmt: skip
def reads_again(answers: Answers) -> None:
    """Mend the quantization of the reader, and write the test that would have caught it."""
    rng = answers.rng
    images = torch.from_numpy(compose_pins(40, "val", seed=int(rng.integers(2**31))).images)
    batches = torch.from_numpy(compose_pins(64, "train", seed=int(rng.integers(2**31))).images)
    with torch.no_grad():
        wanted = trained_reader()(images).numpy()
    seen = answers.inside("try_quantize", images=images, batches=list(batches.split(16)))
    fail_if(seen["raised"], f"quantize_reader stopped: {seen['raised']}", "stream-ends")
    expect_type(found := seen["logits"], np.ndarray, what="what the twin returned")
    told = f"the twin gave shape {np.shape(found)} for 40 photos, wanted {wanted.shape}"
    fail_if(np.shape(found) != wanted.shape, told, "twin-shape")
    off = float(np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted))
    fail_if(off < 1e-3, f"the twin's logits are only {100 * off:.2g} % off the reader's", "not-quantized")
    fail_if(not off < 0.1, f"the twin's logits are {off:.0%} off those of the reader", "still-collapsed")
    names = rng.permutation(["right", "list", "stream", "wraps"]).tolist()
    said = answers.inside("try_tests", names=names)
    is_plain = all(isinstance(verdict, bool | np.bool_) for verdict in said)
    fail_if(not is_plain, f"keeps_reading returned {said}", "no-yes-or-no")
    accepts = dict(zip(names, said, strict=True))
    both = accepts["right"] and accepts["list"]
    fail_if(not both, "keeps_reading refuses a twin that reads as well", "test-blames")
    fail_if(accepts["stream"], "keeps_reading accepts the broken one", "test-hands-a-list")
    fail_if(accepts["wraps"], "keeps_reading accepts a twin that cannot read", "test-looks-elsewhere")
