"""Hidden checks of lab 11: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close
from scalelab.models import PinReader

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other
HINTS = (
    "Try the smallest inputs.",
    "Batches other than those of the visible check.",
    "A photo of blank paper.",
)


def _reader(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PinReader(width=8, channels=(2, 2, 3)).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.02, 0.2)
        with torch.no_grad():
            model.head[-1].weight *= 10
    return model


def _recipe(model: nn.Module) -> dict[str, Any]:
    return {"config": model.config, "weights": dict(model.state_dict())}


def _photos(answers: Answers, n: int) -> np.ndarray:
    return compose_pins(n, "train", seed=int(answers.rng.integers(2**31))).images


@check("parity-own-batches", points=1, hints=HINTS, limit_s=60)
def parity_on_other_batches(answers: Answers) -> None:
    """Compare on the batches that were asked for, and on no others."""
    model, images = _reader(12), _photos(answers, 20)
    for batches, kind, wanted in (
        ((1, 5), "rolled at 32", True),
        ((12,), "rolled at 32", False),
        ((2, 20), "not a number", True),
        ((3, 4), "mixed", False),
        ((1,), "refuses", True),
    ):
        seen = answers.inside(
            "try_parity",
            **_recipe(model),
            images=images,
            kind=kind,
            batches=batches,
            tolerance=1e-4,
            training=True,
        )
        passes = seen.get("said", (0, None))[1]
        told = f"batches {batches} of a candidate that is {kind!r}: passes is {passes}"
        expect(passes is not None and bool(passes) == wanted, told, code="other-batches")
        expect(
            seen["is_in_mode"] and not seen["has_moved"],
            "the model has changed",
            code="model-changed",
        )


@check("diff-nothing", points=1, hints=HINTS)
def graphs_that_are_the_same(answers: Answers) -> None:
    """Find no difference between a graph and itself, and no weights where there are none."""
    rng = answers.rng
    weights = [
        (rng.integers(0, 9, n).astype(kind), False)
        for n, kind in ((7, np.int64), (11, np.float16))
    ]
    drawn = {"main": {"Add": 3}, "branch": {"Mul": 2}, "weights": weights}
    seen = answers.inside("try_diff", before=drawn, after=drawn)
    expect(
        seen["diff"] == {},
        f"a graph differs from itself: {seen['diff']}",
        code="differs-from-itself",
    )
    expect_close(
        seen["bytes"],
        7 * 8 + 11 * 2,
        what="the bytes of 7 int64 and 11 float16",
        code="other-types",
    )
    fewer = {**drawn, "branch": {"Mul": 1}}
    seen = answers.inside("try_diff", before=drawn, after=fewer)
    got = {op: tuple(pair) for op, pair in seen["diff"].items()}
    expect(got == {"Mul": (4, 2)}, f"4 Mul became 2: {seen['diff']}", code="inner-difference")


@check("providers-shares", points=1, hints=HINTS)
def shares_of_the_nodes(answers: Answers) -> None:
    """Hold to the share that was asked for, also where it is 0, and where nothing ran."""
    first, cpu = "OpenVINOExecutionProvider", "CPUExecutionProvider"
    for least, ran, name in (
        (0.9, [(first, 8), (cpu, 2)], cpu),
        (0.8, [(first, 8), (cpu, 2)], first),
        (0.0, [(cpu, 10)], cpu),
        (0.0, [], cpu),
    ):
        seen = answers.inside(
            "try_pick",
            wanted=[first, cpu],
            listed=[first, cpu],
            ran={first: ran, cpu: [(cpu, 10)]},
            least=least,
        )
        got = seen.get("said", ("nothing",))[0]
        told = f"at least {least:.0%}, and it ran {ran}: picked {got}, wanted {name}"
        expect(got == name, told, code="share-of-nodes")


@check("drill-corners", points=1, hints=HINTS, limit_s=60)
def blank_and_single_photos(answers: Answers) -> None:
    """Read a single photo and a blank one, in a batch of any size."""
    model, images = _reader(13), _photos(answers, 13)
    images[4] = 0
    images[5] //= 3
    peaks = np.maximum(images.max(axis=(1, 2), keepdims=True), 1).astype(np.float32)
    with torch.no_grad():
        ink = torch.from_numpy(images / peaks).unsqueeze(1)
        wanted = model.head(model.stem(ink)).reshape(-1, 6, 10)
    for cut in (slice(None), slice(4, 5), slice(5, 7)):
        seen = answers.inside("try_read", **_recipe(model), images=images[cut])
        told = f"the logits of {len(images[cut])} photos, a blank or a faint one among them"
        expect_close(
            seen["logits"], wanted[cut], what=told, code="blank-or-faint", rtol=1e-3, atol=1e-3
        )
    pool = _photos(answers, 20)
    for kind, batches, free in (
        ("rolled at 32", [2, 7], True),
        ("rolled at 32", [2, 19], False),
    ):
        seen = answers.inside(
            "try_guard", **_recipe(model), images=pool, batches=batches, kind=kind
        )
        told = f"is_batch_free says {seen.get('said')} of batches {batches}"
        expect(bool(seen.get("said")) == free, told, code="guard-own-batches")
