"""Checks of the lab that the grader's tests use: each compares with an oracle on inputs drawn fresh."""

from __future__ import annotations

import numpy as np
import torch

from scalelab.grading import (
    Answers,
    check,
    expect,
    expect_close,
    expect_faster,
    expect_length,
    expect_type,
)

HINTS = ("Read the task once more.", "Try the smallest input.", "Work it out by hand for two numbers.")
torch.set_num_threads(1)


@check("softmax", points=1, hints=HINTS)
def shares_of_one(answers: Answers) -> None:
    """Give the softmax over the last axis."""
    x = answers.rng.normal(size=(5, 9)) * 3
    wanted = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    expect_close(answers["softmax"](x), wanted, what="the softmax", code="wrong-softmax")


@check("accumulate_gradients", points=1, hints=HINTS)
def one_gradient_of_many(answers: Answers) -> None:
    """Give the gradient of the mean loss over all rows."""
    compare_gradients(answers, rows=12, micro=4)


@check("quantize_int8", points=1, hints=HINTS)
def nearest_of_255(answers: Answers) -> None:
    """Return the nearest int8 numbers and their scale."""
    x = torch.from_numpy(answers.rng.normal(size=1000) * 4)
    q, scale = answers["quantize_int8"](x)
    expect_type(q, torch.Tensor, what="q")
    expect(q.dtype == torch.int8, f"q is {q.dtype}, wanted torch.int8", code="not-int8")
    wanted = float(x.abs().max()) / 127
    expect_close(scale, wanted, what="the scale", code="wrong-scale", rtol=1e-4)
    expect_close(q.double() * scale, x, what="q * scale", code="not-nearest", rtol=0, atol=wanted * 0.51)


@check("ring_allreduce", points=1, hints=HINTS)
def everyone_has_the_sum(answers: Answers) -> None:
    """Return the sum for each of four, after six steps."""
    compare_sums(answers, count=4, size=20)


@check("bubble_fraction", points=1, hints=HINTS)
def idle_share(answers: Answers) -> None:
    """Return the idle share of the schedule."""
    for _ in range(5):
        p, m = (int(each) for each in answers.rng.integers(2, 64, 2))
        expect_close(
            answers["bubble_fraction"](p, m),
            (p - 1) / (m + p - 1),
            what=f"of {p} and {m}",
            code="wrong-share",
        )


@check("fast_pairwise", points=2, hints=HINTS, measured=True, limit_s=60)
def faster_than_loops(answers: Answers) -> None:
    """Give all pairwise squared distances, four times as fast as two loops."""
    expect_faster(
        answers["fast_pairwise"],
        slow_pairwise,
        lambda: (answers.rng.normal(size=(80, 16)),),
        at_least=4,
        what="fast_pairwise",
        code="too-slow",
        wrong_code="wrong-distances",
        atol=1e-8,
    )


def slow_pairwise(x: np.ndarray) -> np.ndarray:
    """Return all squared distances, by two loops: the oracle and the clock's reference."""
    return np.array([[((a - b) ** 2).sum() for b in x] for a in x])


def compare_gradients(answers: Answers, *, rows: int, micro: int) -> None:
    """Compare the learner's gradients of a small network with torch's own over all rows at once."""
    draw = answers.rng.normal
    weights = [draw(size=shape) for shape in ((8, 6), (8,), (1, 8), (1,))]
    x, y = draw(size=(rows, 6)), draw(size=(rows, 1))
    found = answers.inside("try_accumulate", weights=weights, x=x, y=y, micro=micro)
    w1, b1, w2, b2 = parameters = [torch.tensor(each, requires_grad=True) for each in weights]
    out = torch.tanh(torch.from_numpy(x) @ w1.T + b1) @ w2.T + b2
    ((out - torch.from_numpy(y)) ** 2).mean().backward()
    expect_length(found, 4, what="the list of gradients")
    for place, (one, parameter) in enumerate(zip(found, parameters, strict=True)):
        expect_close(
            one, parameter.grad, what=f"gradient {place}", code="wrong-gradient", rtol=1e-6, atol=1e-9,
            meaning="a short last micro-batch weighs less",
        )  # fmt: skip


def compare_sums(answers: Answers, *, count: int, size: int) -> None:
    """Compare the learner's ring with the sum."""
    parts = [answers.rng.normal(size=size) for _ in range(count)]
    found, steps = answers["ring_allreduce"]([part.copy() for part in parts])
    expect(steps == 2 * (count - 1), f"{steps} steps, wanted {2 * (count - 1)}", code="wrong-steps")
    expect_length(found, count, what="the list of results")
    for rank, one in enumerate(found):
        expect_close(one, sum(parts), what=f"the sum of rank {rank}", code="wrong-sum", rtol=1e-9, atol=1e-12)
