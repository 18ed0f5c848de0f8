"""Hidden checks of lab 06: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close
from scalelab.models import PinReader
from scalelab.train import IGNORE

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other
HINTS = (
    "Try the smallest inputs.",
    "A micro-batch without any label.",
    "A batch that is one micro-batch.",
)


def _reader() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return PinReader(width=8, channels=(2, 2, 3)).eval()


def _batch(answers: Answers, n: int) -> tuple[Tensor, Tensor]:
    drawn = compose_pins(n, "train", seed=int(answers.rng.integers(2**31)))
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels).long()


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the mean loss over all labelled digits; the model keeps none."""
    logits = model(images).flatten(0, 1)
    loss = F.cross_entropy(logits, labels.flatten(), ignore_index=IGNORE)
    return _flat(torch.autograd.grad(loss, list(model.parameters())))


def _recipe(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    return {"config": model.config, "weights": dict(model.state_dict()), "batches": batches}


def _flat(tensors: Sequence[Tensor | None]) -> Tensor:
    found = [each.detach().flatten() for each in tensors if each is not None]
    return torch.cat([torch.zeros(0), *found])


def _is_near(found: Tensor, wanted: Tensor) -> bool:
    is_alike = found.shape == wanted.shape
    return is_alike and bool((found - wanted).norm() <= 1e-3 * wanted.norm())


@check("weights-without-labels", points=1, after="weights", hints=HINTS)
def an_unlabelled_micro_batch_weighs_nothing(answers: Answers) -> None:
    """Give a micro-batch without labels the weight 0."""
    labels = [torch.zeros(4, 6, dtype=torch.long), torch.full((3, 6), IGNORE)]
    weights = [float(weight) for weight in answers["micro_batch_weights"](labels)]
    expect_close(
        weights, [1.0, 0.0], what="the weights of 24 and 0 labelled digits", code="unlabelled"
    )


@check("accumulate-corners", points=1, after="accumulate", hints=HINTS, limit_s=60)
def any_cut_gives_the_same_gradient(answers: Answers) -> None:
    """Give the gradient of the whole for single photos, and with a micro-batch that has no label."""
    images, labels = _batch(answers, 5)
    labels[2] = IGNORE
    model = _reader()
    wanted = _gradient(model, images, labels)
    pieces = list(zip(images.split(1), labels.split(1), strict=True))
    seen = answers.inside("try_accumulate", **_recipe(model, pieces), stale=0.0)
    told = "single photos give another gradient"
    expect(_is_near(_flat(seen["gradients"]), wanted), told, code="single-photos")


@check("step-short-gradient", points=1, after="step", hints=HINTS, limit_s=60)
def a_short_gradient_is_left_alone(answers: Answers) -> None:
    """Step along the whole gradient of two micro-batches where it is shorter than the limit."""
    images, labels = _batch(answers, 5)
    model = _reader()
    wanted = _gradient(model, images, labels)
    pieces = list(zip(images.split([4, 1]), labels.split([4, 1]), strict=True))
    seen = answers.inside("try_step", **_recipe(model, pieces), max_grad_norm=1e6, rate=1.0)
    moved = _flat(list(model.parameters())) - _flat(seen["weights"])
    told = (
        f"the step is {float(moved.norm()):.4g} long, the gradient {float(wanted.norm()):.4g}"
    )
    expect(_is_near(moved, wanted), told, code="short-gradient")


@check("bytes-proportional", points=1, after="bytes", hints=HINTS)
def bytes_grow_with_the_batch(answers: Answers) -> None:
    """Count for a convolution too, in proportion to the batch."""
    images, _ = _batch(answers, 8)
    two, eight = answers.inside("try_bytes_of_convolution", images=images, counts=[2, 8])
    expect_close(eight, 4 * two, what="bytes of 8 photos", code="not-proportional", rtol=0)
    wanted = (
        8 * (28 * 168 + 2 * 28 * 168) * 4
    )  # the input, and ReLU's output, which Flatten looks at
    expect_close(eight, wanted, what="bytes of 8 photos", code="wrong-for-convolution", rtol=0)


@check("checkpoint-two-blocks", points=1, after="checkpoint", hints=HINTS)
def two_blocks(answers: Answers) -> None:
    """Bring a gradient to the first of two blocks, whose input needs none."""
    draws = [
        answers.rng.standard_normal(shape) for shape in ((3, 3), (3,), (2, 3), (2,), (4, 3))
    ]
    weight, bias, weight_2, bias_2, x = (torch.from_numpy(draw).float() for draw in draws)
    seen = answers.inside("try_two_blocks", layers=[(weight, bias), (weight_2, bias_2)], x=x)
    one = F.linear(x, weight, bias)
    both = F.linear(one, weight_2, bias_2)
    expect_close(seen["out"], both, what="the output of two blocks", code="two-blocks")
    expect(seen["has_gradient"], "the first block got no gradient", code="two-blocks-gradient")
    expect_close(seen["alone"], one, what="the output of one block", code="one-block")


@check("epoch-corners", points=1, after="epoch", hints=HINTS, limit_s=60)
def epochs_of_any_length(answers: Answers) -> None:
    """Take the right number of steps for every length of an epoch."""
    for n, per_step, wanted in ((1, 4, 1), (4, 2, 2), (5, 1, 5), (3, 3, 1)):
        given = _recipe(_reader(), [_batch(answers, 2) for _ in range(n)])
        seen = answers.inside("try_epoch", **given, per_step=per_step, rate=0.1)
        steps, found = seen["steps"], seen["returned"]
        told = f"{n} micro-batches, {per_step} to a step: {steps} steps"
        told += f", {found} returned, wanted {wanted}"
        expect(steps == wanted == found, told, code="steps-for-length")
