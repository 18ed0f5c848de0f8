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
    model, images = _reader(12), _photos(answers, 12)
    given = {**_recipe(model), "images": images, "tolerance": 1e-3}
    for batches, kind, wanted in (
        ((1, 5), "rolled at 32", True),
        ((12,), "rolled at 32", False),
        ((2, 9), "not a number", True),
        ((3, 4), "mixed", False),
        ((3, 11), "right", True),
        ((1,), "refuses", True),
        *(((1, 7), kind, False) for kind in ("shifted", "below", "not a number", "refuses")),
    ):
        seen = answers.inside("try_parity", **given, kind=kind, batches=batches, training=True)
        worst, passes = (*seen.get("said", ()), None, None)[:2]
        told = f"batches {batches} of a candidate that is {kind!r}: {worst}, {passes}"
        expect(
            isinstance(passes, bool | np.bool_) and passes == wanted,
            told,
            code="other-batches",
        )
        expect(
            seen["is_in_mode"] and not seen["has_moved"],
            "the model has changed",
            code="model-changed",
        )
        if kind in {"shifted", "below", "right"}:
            far = 1e-6 if kind == "right" else 0.05
            expect_close(worst, far, what=told, code="other-worst", rtol=0.02, atol=5e-6)
        elif not passes and kind != "mixed" and "rolled" not in kind:
            expect(worst == float("inf"), told, code="finite-worst")
        asked_for = set(seen["sizes"]) == set(batches) or kind in {"refuses", "not a number"}
        expect(asked_for, f"asked for {seen['sizes']}, wanted {batches}", code="other-sizes")


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
    seen = answers.inside(
        "try_diff", before=drawn, after={**fewer, "main": {"Add": 3, "Sub": 1}}
    )
    got = {op: tuple(pair) for op, pair in seen["diff"].items()}
    told = f"4 Mul became 2, and one Sub came: {seen['diff']}"
    expect(got == {"Mul": (4, 2), "Sub": (0, 1)}, told, code="inner-difference")


@check("providers-shares", points=1, hints=HINTS)
def shares_of_the_nodes(answers: Answers) -> None:
    """Hold to the share that was asked for, also where it is 0, and where nothing ran."""
    first, cpu = "OpenVINOExecutionProvider", "CPUExecutionProvider"
    for least, ran, name in (
        (0.9, [(first, 8), (cpu, 2)], cpu),
        (0.8, [(first, 8), (cpu, 2)], first),
        (0.5, [(first, 1), (cpu, 9)], cpu),
        (0.0, [(cpu, 10)], cpu),
        (0.0, [], cpu),
        (0.5, None, cpu),
    ):
        ran_by = {first: ran, cpu: [(cpu, 10)]}
        asked = {"wanted": [first, cpu], "listed": [cpu, first], "ran": ran_by, "least": least}
        seen = answers.inside("try_pick", **asked)
        said = seen.get("said", "nothing")
        reason = {} if name == first else {first: "fails" if ran is None else "not used"}
        told = f"at least {least:.0%}, and it ran {ran}: {said}, wanted {name} and {reason}"
        expect(tuple(said) == (name, reason), told, code="share-of-nodes")
    seen = answers.inside("try_pick", **{**asked, "listed": [first], "wanted": [cpu, first]})
    told = "two providers, one not listed and one that fails"
    expect("refused" in seen and seen["tried"] == [first], told, code="none-of-two")


@check("drill-corners", points=1, hints=HINTS, limit_s=60)
def blank_and_single_photos(answers: Answers) -> None:
    """Read a single photo and a blank one, in a batch of any size."""
    model, images = _reader(13), _photos(answers, 13)
    images[4] = 0
    images[5] //= 3
    images[6] = np.maximum(images[6], 20)  # on grey paper
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
    kept = answers.inside("try_read", **_recipe(model), images=images)
    expect(kept["passes"] == 1, f"{kept['passes']} passes for 13 photos", code="many-passes")
    light = np.linspace(0.3, 0.9, 9)[:, None, None]
    pool = (_photos(answers, 9) * light).astype(np.uint8)
    broken = ("mixed", "brightest", "first right", "one number", "refuses", "rolled at 32")
    tries = [(kind, [2, 7, 9], kind == "rounded") for kind in ("rounded", *broken)]
    tries += [("rolled at 32", [2, 7], True), ("not a number", [7], False)]
    for kind, batches, free in tries:
        given = {"images": pool, "batches": batches, "kind": kind}
        said = answers.inside("try_guard", **_recipe(model), **given).get("said")
        told = f"is_batch_free says {said} of batches {batches} and what is {kind!r}"
        expect(
            isinstance(said, bool | np.bool_) and said == free, told, code="guard-own-batches"
        )
    given = {"images": pool, "batches": [2, 7], "kind": "one number", "tolerance": 0.2}
    said = answers.inside("try_guard", **_recipe(model), **given).get("said")
    told = f"is_batch_free says {said} of a logit that is 0.05 off, at a tolerance of 0.2"
    expect(said, told, code="guard-own-tolerance")
