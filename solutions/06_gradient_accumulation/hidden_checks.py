"""Hidden checks of lab 06: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

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


def _batch(answers: Answers, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = compose_pins(n, "train", seed=int(answers.rng.integers(2**31)))
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels).long()


@check("weights-without-labels", points=1, hints=HINTS)
def an_unlabelled_micro_batch_weighs_nothing(answers: Answers) -> None:
    """Give a micro-batch without labels the weight 0."""
    labels = [torch.zeros(4, 6, dtype=torch.long), torch.full((3, 6), IGNORE)]
    weights = [float(weight) for weight in answers["micro_batch_weights"](labels)]
    expect_close(
        weights, [1.0, 0.0], what="the weights of 24 and 0 labelled digits", code="unlabelled"
    )


@check("accumulate-corners", points=1, hints=HINTS, limit_s=60)
def any_cut_gives_the_same_gradient(answers: Answers) -> None:
    """Give the gradient of the whole for single photos, and with a micro-batch that has no label."""
    images, labels = _batch(answers, 5)
    labels[2] = IGNORE
    model = _reader()
    F.cross_entropy(
        model(images).flatten(0, 1), labels.flatten(), ignore_index=IGNORE
    ).backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    answers["accumulate"](model, list(zip(images.split(1), labels.split(1), strict=True)))
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    expect(
        (found - wanted).norm() <= 1e-3 * wanted.norm(),
        "single photos give another gradient",
        code="single-photos",
    )


@check("step-short-gradient", points=1, hints=HINTS, limit_s=60)
def a_short_gradient_is_left_alone(answers: Answers) -> None:
    """Step along the whole gradient of two micro-batches where it is shorter than the limit."""
    images, labels = _batch(answers, 5)
    model = _reader()
    F.cross_entropy(model(images).flatten(0, 1), labels.flatten()).backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    pieces = list(zip(images.split([4, 1]), labels.split([4, 1]), strict=True))
    answers["accumulated_step"](
        model, torch.optim.SGD(model.parameters(), lr=1.0), pieces, 1e6
    )
    moved = before - nn.utils.parameters_to_vector(model.parameters()).detach()
    told = (
        f"the step is {float(moved.norm()):.4g} long, the gradient {float(wanted.norm()):.4g}"
    )
    expect((moved - wanted).norm() <= 1e-3 * wanted.norm(), told, code="short-gradient")


@check("bytes-proportional", points=1, hints=HINTS)
def bytes_grow_with_the_batch(answers: Answers) -> None:
    """Count for a convolution too, in proportion to the batch."""
    images, _ = _batch(answers, 8)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 168, 4)
    )
    inked = images.unsqueeze(1).float()
    found = [answers["saved_bytes"](model, inked[:n]) for n in (2, 8)]
    expect_close(
        found[1], 4 * found[0], what="bytes of 8 photos", code="not-proportional", rtol=0
    )
    wanted = (
        8 * (28 * 168 + 2 * 28 * 168) * 4
    )  # the input, and ReLU's output, which Flatten only looks at
    expect_close(
        found[1], wanted, what="bytes of 8 photos", code="wrong-for-convolution", rtol=0
    )


@check("checkpoint-two-blocks", points=1, hints=HINTS)
def two_blocks(answers: Answers) -> None:
    """Bring a gradient to the first of two blocks, whose input needs none."""
    blocks = [nn.Linear(3, 3), nn.Linear(3, 2)]
    x = torch.from_numpy(answers.rng.standard_normal((4, 3))).float()
    out = answers["run_checkpointed"](blocks, x)
    expect_close(
        out, blocks[1](blocks[0](x)), what="the output of two blocks", code="two-blocks"
    )
    out.sum().backward()
    expect(
        blocks[0].weight.grad is not None,
        "the first block got no gradient",
        code="two-blocks-gradient",
    )
    alone = answers["run_checkpointed"](blocks[:1], x)
    expect_close(alone, blocks[0](x), what="the output of one block", code="one-block")


@check("epoch-corners", points=1, hints=HINTS, limit_s=60)
def epochs_of_any_length(answers: Answers) -> None:
    """Take the right number of steps for every length of an epoch."""
    for n, per_step, wanted in ((1, 4, 1), (4, 2, 2), (5, 1, 5), (3, 3, 1)):
        model = _reader()
        steps: list[int] = []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_, steps=steps: steps.append(1))
        found = answers["train_epoch"](
            model, optimizer, [_batch(answers, 2) for _ in range(n)], per_step
        )
        told = f"{n} micro-batches, {per_step} to a step: {len(steps)} steps"
        told += f", {found} returned, wanted {wanted}"
        expect(len(steps) == wanted == found, told, code="steps-for-length")
