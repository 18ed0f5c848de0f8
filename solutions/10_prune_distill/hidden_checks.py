"""Hidden checks of lab 10: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close
from scalelab.models import PinReader
from scalelab.train import IGNORE

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other
HINTS = (
    "Try the smallest inputs.",
    "Try inputs that are all alike.",
    "Try settings that are not the usual ones.",
)


@check("mask-corners", points=1, hints=HINTS, after="mask")
def masks_of_odd_networks(answers: Answers) -> None:
    """Drop the right number where all weights are equal, where nothing goes, and in float64."""
    alike = {
        "a": torch.full((6, 5), 0.5, dtype=torch.float64),
        "b": torch.full((2, 5, 3), -0.5),
    }
    for sparsity, wanted in ((0.0, 0), (0.24, 14), (0.25, 15), (0.26, 16), (0.9, 54)):
        masks = answers["magnitude_masks"](
            {name: w.clone() for name, w in alike.items()}, sparsity
        )
        gone = sum(int((torch.as_tensor(mask) == 0).sum()) for mask in masks.values())
        told = f"60 equal weights at {sparsity}: {gone} are dropped, wanted {wanted}"
        expect(gone == wanted, told, code="equal-weights")
    tiny = {"small": torch.full((4, 4), 1e-3), "large": torch.ones(4, 4)}
    masks = answers["magnitude_masks"](tiny, 0.5)
    left = int((torch.as_tensor(masks["small"]) != 0).sum())
    expect(
        left == 0, f"{left} of 16 tiny weights stay beside 16 large ones", code="whole-layer"
    )


@check("bytes-corners", points=1, hints=HINTS, after="bytes")
def bytes_of_odd_weights(answers: Answers) -> None:
    """Count for all zeros, for one row, and for a weight that lies transposed in memory."""
    rng = answers.rng
    plain = torch.from_numpy(rng.standard_normal((7, 11))).float()
    for name, weight, full in (
        ("all zero", torch.zeros(5, 8), 0),
        ("one row", plain[:1].clone(), 11),
        ("transposed", plain.clone().t(), 77),
    ):
        found = answers["stored_bytes"](weight)
        wanted = [4 * weight.numel(), 8 * full + 4 * (len(weight) + 1)]
        told = f"dense and sparse bytes of a weight, {name}"
        expect_close(
            [found["dense"], found["sparse"]], wanted, what=told, code="odd-weight", rtol=0
        )


@check("channels-corners", points=1, hints=HINTS, limit_s=30, after="channels")
def channels_with_other_settings(answers: Answers) -> None:
    """Keep a bias, a dilation, another eps and float64; and keep one channel alone."""
    rng = answers.rng

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape))

    kernel = {"weight": draw(5, 3, 2, 2), "bias": draw(5)}
    numbers = {name: draw(5) for name in ("weight", "bias", "running_mean")}
    numbers["running_var"] = torch.from_numpy(rng.uniform(0.01, 0.5, 5))
    far, x = {"weight": draw(3, 10), "bias": draw(3)}, draw(2, 3, 3, 4)
    given: dict[str, Any] = {
        "conv": ((3, 5, 2, 1, 0, 2), kernel),
        "norm": ((5, 0.1), numbers),
        "after": ((10, 3), far),
        "x": x,
    }
    moments = [numbers[name] for name in ("running_mean", "running_var", "weight", "bias")]
    seen_by = F.relu(
        F.batch_norm(
            F.conv2d(x, kernel["weight"], kernel["bias"], dilation=2), *moments, eps=0.1
        )
    )
    for keep in ([3], [0, 2, 4]):
        seen = answers.inside("try_channels", keep=keep, **given)
        reaching = torch.zeros(5, dtype=x.dtype).index_fill(0, torch.tensor(keep), 1.0)
        wanted = F.linear(
            (seen_by * reaching[:, None, None]).flatten(1), far["weight"], far["bias"]
        )
        out = seen.get("out")
        is_near = out is not None and out.shape == wanted.shape and torch.allclose(out, wanted)
        told = (
            f"channels {keep} of 5, with a bias, dilation 2, eps 0.1, float64: another output"
        )
        expect(is_near, told, code="other-settings")


@check("loss-corners", points=1, hints=HINTS, limit_s=30, after="loss")
def losses_of_extremes(answers: Answers) -> None:
    """Give a finite loss for very sure logits, 0 for a perfect student, and count one label."""
    rng = answers.rng
    teacher = torch.from_numpy(rng.standard_normal((2, 6, 10))).float()
    labels = torch.full((2, 6), IGNORE)
    recipe = {"labels": labels, "temperature": 1.5}
    seen = answers.inside("try_loss", student=teacher, teacher=teacher, alpha=1.0, **recipe)
    expect_close(
        seen["loss"],
        0.0,
        what="the loss of a student like its teacher",
        code="perfect",
        atol=1e-5,
    )
    sure = {"student": 300 * teacher, "teacher": -300 * teacher}
    seen = answers.inside("try_loss", alpha=1.0, **sure, **recipe)
    own, soft = (
        (sure[name].double() / 1.5).log_softmax(-1) for name in ("student", "teacher")
    )
    wanted = 1.5**2 * float((soft.exp() * (soft - own)).nan_to_num().sum() / 12)
    expect_close(
        seen["loss"], wanted, what="the loss of very sure logits", code="overflow", rtol=1e-3
    )
    labels[1, 4] = 7
    seen = answers.inside("try_loss", student=teacher, teacher=teacher, alpha=0.0, **recipe)
    wanted = -float(teacher[1, 4].double().log_softmax(0)[7])
    expect_close(
        seen["loss"], wanted, what="the loss of one label", code="one-label", rtol=1e-3
    )


@check("front-corners", points=1, hints=HINTS, after="front")
def fronts_of_few(answers: Answers) -> None:
    """Return all of equal rows, one row alone, and nothing of nothing."""
    row, step = (5.0, 2.0, 0.5), float(answers.rng.uniform(1e-6, 1e-5))
    for rows, wanted in (
        ([], []),
        ([row], [0]),
        ([row, row, row], [0, 1, 2]),
        ([row, (5.0, 2.0, 0.5 + step)], [1]),
        ([(9, 9, 0.1), (1, 9, 0.1), (9, 1, 0.1)], [1, 2]),
        ([(1, 9, 0.9), (9, 1, 0.9), (5, 5, 0.9), (5, 5, 0.8)], [0, 1, 2]),
    ):
        found = sorted(int(place) for place in answers["pareto_front"](rows))
        expect(
            found == wanted, f"{rows}: the front is {found}, wanted {wanted}", code="few-rows"
        )


@check("tune-corners", points=1, hints=HINTS, limit_s=60, after="tune")
def zeros_under_another_optimizer(answers: Answers) -> None:
    """Hold the zeros under AdamW's memory and decay, with masks for some layers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(answers.rng.integers(2**31)))
        model = PinReader(width=10, channels=(2, 3, 4))
    weights = dict(model.named_parameters())
    masks = {
        name: torch.from_numpy(answers.rng.random(tuple(weights[name].shape)) < 0.3)
        for name in ("stem.6.weight", "head.1.weight")
    }
    drawn = compose_pins(12, "train", seed=int(answers.rng.integers(2**31)))
    images, labels = torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels).long()
    batches = list(zip(images.split(4), labels.split(4), strict=True))
    state = dict(model.state_dict())
    seen = answers.inside(
        "try_tuning",
        config=model.config,
        weights=state,
        masks=masks,
        batches=batches,
        kind="AdamW",
    )
    alive = sum(int((seen["weights"][name][~mask] != 0).sum()) for name, mask in masks.items())
    expect(
        alive == 0, f"under AdamW {alive} dropped weights are not zero", code="adam-moves-them"
    )
    zeros = int((seen["weights"]["head.4.weight"] == 0).sum())
    expect(
        zeros == 0,
        f"{zeros} weights of a layer without a mask are zero",
        code="unmasked-layer",
    )
    losses = np.asarray([float(loss) for loss in seen["losses"]])
    expect(len(losses) == 3 and np.isfinite(losses).all(), "no three losses", code="losses")
