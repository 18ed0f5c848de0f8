"""Hidden checks of the same lab: corners."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from scalelab.grading import Answers, check, expect, expect_close

HINTS = ("Try the smallest inputs.", "Then the largest ones.", "Then a size that does not divide.")


def _visible():
    spec = importlib.util.spec_from_file_location("tiny_lab_checks", Path(__file__).with_name("checks.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


visible = _visible()


@check("softmax-large", points=1, hints=HINTS)
def large_numbers(answers: Answers) -> None:
    """Stand numbers whose exponential is too large."""
    x = answers.rng.normal(size=4) + np.array([1000.0, 999.0, 0.0, -1000.0])
    e = np.exp(x - x.max())
    expect_close(
        answers["softmax"](x), e / e.sum(), what="softmax of 1000 and 0", code="overflow", atol=1e-12
    )


@check("accumulate-uneven", points=1, hints=HINTS)
def last_one_short(answers: Answers) -> None:
    """Weigh a short last micro-batch by its rows."""
    visible.compare_gradients(answers, rows=10, micro=3)


@check("quantize-float32", points=1, hints=HINTS)
def other_shapes(answers: Answers) -> None:
    """Keep the shape, and the largest number at 127."""
    x = torch.from_numpy(answers.rng.normal(size=(3, 7)).astype("float32"))
    q, scale = answers["quantize_int8"](x)
    expect(tuple(q.shape) == (3, 7), f"q has shape {tuple(q.shape)}, wanted (3, 7)", code="lost-shape")
    expect(int(q.abs().max()) == 127, f"the largest q is {int(q.abs().max())}", code="range-not-used")
    half = float(x.abs().max()) / 127 * 0.51
    expect_close(q.double() * scale, x, what="q * scale", code="not-nearest", rtol=0, atol=half)


@check("ring-uneven", points=1, hints=HINTS)
def uneven_chunks(answers: Answers) -> None:
    """Sum arrays whose length the number of ranks does not divide."""
    visible.compare_sums(answers, count=3, size=11)


@check("bubble-corners", points=1, hints=HINTS)
def corners(answers: Answers) -> None:
    """Idle nothing with one stage, nearly all with one micro-batch."""
    p = int(answers.rng.integers(3, 99))
    expect_close(answers["bubble_fraction"](1, p), 0.0, what="of one stage", code="one-stage", atol=1e-12)
    expect_close(answers["bubble_fraction"](p, 1), (p - 1) / p, what="of one micro-batch", code="one-micro")
