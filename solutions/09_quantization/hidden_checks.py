"""Hidden checks of lab 09: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

import numpy as np
import torch

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close
from scalelab.models import PinReader

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other
HINTS = (
    "Try the smallest inputs.",
    "And the largest.",
    "A range of one value; a single row; no loss at all.",
)


@check("affine-corners", points=1, hints=HINTS)
def zero_stays_zero(answers: Answers) -> None:
    """Keep 0.0 exact and every other value within half a step, for any range and number of bits."""
    rng = answers.rng
    draws = [(-rng.exponential(2), rng.exponential(20)) for _ in range(4)]
    for low, high in [*draws, (0.0, 3.0), (-2.0, 0.0), (4.0, 4.0), (-5.0, -1.0), (-1e-3, 1e3)]:
        for bits in (8, 2):
            low, high = float(low), float(high)
            scale, zero = answers["scale_and_zero"](low, high, bits)
            told = f"[{low:.4g}, {high:.4g}] in {bits} bits"
            expect(0 <= zero <= 2**bits - 1, f"{told}: zero point {zero}", code="zero-beyond")
            low, high = min(low, 0.0), max(high, 0.0)
            values = np.append(rng.uniform(low, high, 50), [0.0, low, high]).astype(np.float32)
            integers = answers["quantize"](values, scale, zero, bits)
            kept = np.asarray(answers["dequantize"](integers, scale, zero), dtype=float)
            expect(kept[50] == 0, f"{told}: 0.0 came back as {kept[50]:g}", code="zero-moved")
            most = float(np.abs(kept - values).max()) / float(scale)
            told = f"{told}: a value came back {most:.2f} steps off"
            expect(
                most <= 1.01, told, code="more-than-a-step"
            )  # at the ends the zero point rounds
            most = float(np.abs(kept - values)[:50].mean()) / float(scale)
            expect(
                most <= 0.45, f"{told}, {most:.2f} on average", code="more-than-half-a-step"
            )


@check("weights-corners", points=1, hints=HINTS)
def rows_of_any_number(answers: Answers) -> None:
    """Quantize a single row, a single column, and a transposed matrix."""
    wide = answers.rng.normal(0, 1, (30, 5)).astype(np.float32)
    for weights in (wide[:1], wide[:, :1], wide.T, -np.abs(wide), 1e-6 * wide):
        integers, scales = answers["quantize_weights"](weights)
        integers, scales = np.asarray(integers).astype(int), np.asarray(scales, dtype=float)
        told = f"weights {weights.shape}"
        expect(
            integers.shape == weights.shape, f"{told}: {integers.shape}", code="corner-shape"
        )
        expect(scales.shape == (len(weights),), f"{told}: {scales.shape}", code="corner-shape")
        peaks = np.abs(integers).max(axis=1)
        expect((peaks == 127).all(), f"{told}: rows end at {peaks[:3]}", code="ends-unused")
        off = np.abs(integers - weights / scales[:, None]).max()
        expect(off <= 0.501, f"{told}: {off:.2f} steps off", code="corner-rounding")


@check("calibrate-corners", points=1, hints=HINTS, limit_s=30)
def batches_of_any_size(answers: Answers) -> None:
    """Weigh every value alike, in batches of other sizes; a single batch too; leave no hook."""
    rng = answers.rng
    weights = [rng.normal(0, 1, shape).astype(np.float32) for shape in ((6, 4), (3, 6))]
    many = [
        rng.normal(0, size, (n, 4)).astype(np.float32)
        for n, size in ((90, 1), (30, 5), (150, 2))
    ]
    for batches, keep in ((many, 0.96), (many[:1], 1.0)):
        seen = answers.inside("try_ranges", weights=weights, batches=batches, keep=keep)
        is_tidy = seen["passes"] <= len(batches) and not (seen["hooks"] or seen["grad"])
        expect(
            is_tidy, "more passes than batches, hooks left, or gradients on", code="not-tidy"
        )
        first = np.concatenate(batches).astype(float)
        second = np.maximum(first @ weights[0].T.astype(float), 0)
        ends = [(1 - keep) / 2, (1 + keep) / 2]
        low, high = (
            np.array([np.quantile(each, ends, method=method) for each in (second, first)])
            for method in ("lower", "higher")
        )
        found = np.array([[float(end) for end in pair] for pair in seen["ranges"]])
        told = (
            f"keep={keep:g}: {found.round(3).tolist()}, wanted about {low.round(3).tolist()}"
        )
        is_right = (found >= low - 1e-3).all() and (found <= high + 1e-3).all()
        expect(is_right, told, code="corner-ranges")
    left = answers.inside("try_ranges", weights=weights, batches=[], keep=1.0)["hooks"]
    told = f"no batches, a ValueError, and {left} hooks are still on the model"
    expect(left == 0, told, code="corner-hooks")


@check("product-corners", points=1, hints=HINTS)
def the_longest_sums(answers: Answers) -> None:
    """Add up the largest products there are, and a single row."""
    rng = answers.rng
    longest = np.full((1, 10_000), 255, np.uint8), np.full((2, 10_000), -127, np.int8)
    drawn = (
        rng.integers(0, 256, (3, 50)).astype(np.uint8),
        rng.integers(-127, 128, (7, 50)).astype(np.int8),
    )
    for q_x, q_w in (longest, drawn):
        for zero in (0, 255):
            found = np.asarray(answers["integer_product"](q_x, zero, q_w))
            wanted = (q_x.astype(np.int64) - zero) @ q_w.astype(np.int64).T
            told = f"{q_x.shape[1]} products with zero point {zero}: {found.ravel()[:2]}"
            is_equal = found.shape == wanted.shape and (found.astype(np.int64) == wanted).all()
            expect(is_equal, told, code="longest-sums")
    steps = drawn[0].astype(int) - 9
    w_scales, bias = rng.uniform(0.1, 1, 7).astype(np.float32), np.zeros(7, np.float32)
    found = answers["int8_linear"](
        (steps * 0.5).astype(np.float32), 0.5, 9, drawn[1], w_scales, bias + 2
    )
    wanted = (steps @ drawn[1].T.astype(int)) * 0.5 * w_scales + 2
    what = "a layer of 7 outputs for 3 photos"
    expect_close(found, wanted, what=what, code="corner-layer", rtol=1e-3, atol=1e-2)


@check("guard-corners", points=1, hints=HINTS, limit_s=30)
def nothing_lost_and_everything(answers: Answers) -> None:
    """Accept an equal and a better reader, where nothing may be lost; reject a blind one."""
    rng = answers.rng
    right = rng.random((80, 6)) < 0.9
    none, all_right = np.zeros_like(right), np.ones_like(right)
    cases = {
        "equal": (right, right, 0.0, 0.0, "accept"),
        "better": (right, all_right, right.mean() - 1, 0.0, "accept"),
        "blind": (all_right, none, 1.0, 0.5, "reject"),
        "exactly as much": (all_right, none, 1.0, 1.0, "accept"),
    }
    for name, (before, after, wanted, at_most, verdict) in cases.items():
        lost, low, high, said = answers["judge_loss"](before, after, at_most)
        expect_close(
            lost, wanted, what=f"lost by an {name} reader", code="corner-share", atol=1e-9
        )
        told = f"{name}: [{float(low):.3f}, {float(high):.3f}] with at most {at_most:g} is {said!r}"
        expect(said == verdict, f"{told}, wanted {verdict!r}", code="corner-verdict")


@check("drill-corners", points=1, hints=HINTS, limit_s=60)
def another_reader(answers: Answers) -> None:
    """Quantize a reader of another width on a single batch, and read a single photo."""
    seed = int(answers.rng.integers(2**31))
    images = torch.from_numpy(compose_pins(1, "val", seed=seed).images)
    batch = torch.from_numpy(compose_pins(16, "train", seed=seed).images)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        reader = PinReader(width=24, channels=(2, 3, 8)).eval()
        wanted = reader(images).numpy()
    given = {"config": reader.config, "weights": dict(reader.state_dict())}
    seen = answers.inside("try_quantize", images=images, batches=[batch], **given)
    expect(not seen["raised"], f"it stopped: {seen['raised']}", code="one-batch-stops")
    found = np.asarray(seen["logits"], dtype=float)
    expect(found.shape == wanted.shape, f"one photo gave {found.shape}", code="one-photo")
    off = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    expect(
        1e-6 < off < 0.15, f"the logits of one photo are {off:.0%} off", code="one-photo-off"
    )
