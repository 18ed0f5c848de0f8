"""Hidden checks of lab 08: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.grading import Answers, check, expect
from scalelab.train.parallel.schedule import play_on_paper

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other
HINTS = (
    "Try the smallest inputs.",
    "Try other shapes and other dtypes.",
    "One rank is a group, too.",
)


def _draw(answers: Answers, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(answers.rng.standard_normal(shape)).to(dtype)


def _layers(
    answers: Answers, width: int, hidden: int, dtype: torch.dtype = torch.float32
) -> Any:
    shapes = ((hidden, width), (hidden,), (width, hidden), (width,))
    return tuple(_draw(answers, *shape, dtype=dtype) for shape in shapes)


def _whole(x: Tensor, layers: Any) -> Tensor:
    up, up_bias, down, down_bias = layers
    return F.linear(F.gelu(F.linear(x, up, up_bias)), down, down_bias)


def _is_near(found: Any, wanted: Tensor) -> bool:
    if (
        not isinstance(found, Tensor)
        or found.shape != wanted.shape
        or found.dtype != wanted.dtype
    ):
        return False
    return bool((found.detach() - wanted).norm() <= 2e-5 * wanted.norm())


def _need(seen: Any) -> list[dict[str, Any]]:
    expect(not seen["stuck"], f"the ranks got stuck: {seen['stuck']}", code="hidden-stuck")
    return list(seen["ranks"])


@check("forward-corners", points=1, hints=HINTS, after="forward", limit_s=60)
def any_ranks_and_shapes(answers: Answers) -> None:
    """Split for one rank, for one unit a rank, in float64, and for x with more dimensions."""
    for ranks, hidden, shape, kind in (
        (1, 6, (3, 4), torch.float32),
        (5, 5, (3, 4), torch.float32),
        (2, 8, (2, 3, 4), torch.float64),
    ):
        layers, x = _layers(answers, 4, hidden, kind), _draw(answers, *shape, dtype=kind)
        seen = answers.inside("try_forward", layers=layers, x=x, ranks=ranks)
        told = f"{hidden} units on {ranks} ranks, x {shape} {kind}"
        is_right = all(_is_near(each["out"], _whole(x, layers)) for each in _need(seen))
        expect(is_right, f"{told}: another result", code="forward-corner")


@check("backward-corners", points=1, hints=HINTS, after="backward", limit_s=60)
def doors_of_a_transformer(answers: Answers) -> None:
    """Bring gradients through whole layers, an x that needs none, and the heads of attention."""
    layers, x, gradient = _layers(answers, 4, 12), _draw(answers, 5, 4), _draw(answers, 5, 4)
    leaves = [each.clone().requires_grad_() for each in (x, *layers)]
    _whole(leaves[0], leaves[1:]).backward(gradient)
    inputs = {"x": x, "layers": layers, "gradient": gradient, "ranks": 3}
    for needs_x in (True, False):
        found = _need(answers.inside("try_layer", **inputs, needs_x=needs_x))
        for rank, each in enumerate(found):
            mine = slice(4 * rank, 4 * rank + 4)
            up, up_bias, down, bias = (leaf.grad for leaf in leaves[1:])
            wanted = [up[mine], up_bias[mine], down[:, mine], bias]
            is_right = all(
                _is_near(got, own) for got, own in zip(each["parts"], wanted, strict=True)
            )
            expect(is_right, "a weight's gradient is another one", code="weight-gradient")
            is_right = not needs_x or _is_near(each["x"], leaves[0].grad)
            expect(is_right, "x has another gradient", code="layer-x-gradient")
    x, gradient = _draw(answers, 2, 3, 8), _draw(answers, 2, 3, 8)
    matrices = [_draw(answers, 8, 8) for _ in range(4)]
    leaf = x.clone().requires_grad_()
    heads = [
        F.linear(leaf, each).unflatten(-1, (4, 2)).transpose(-2, -3) for each in matrices[:3]
    ]
    mixed = (
        F.scaled_dot_product_attention(*heads, is_causal=True).transpose(-2, -3).flatten(-2)
    )
    F.linear(mixed, matrices[3]).backward(gradient)
    inputs = {"x": x, "matrices": matrices, "gradient": gradient, "heads": 4, "ranks": 2}
    found = _need(answers.inside("try_heads", **inputs))
    is_right = all(_is_near(each["x"], leaf.grad) for each in found)
    expect(is_right, "through split heads x gets another gradient", code="heads")


@check("schedule-corners", points=1, hints=HINTS, after="schedule")
def pipelines_of_any_size(answers: Answers) -> None:
    """List valid orders for one stage, one micro-batch, and many of both."""
    for stages, count in ((1, 3), (5, 1), (1, 1), (7, 20), (6, 5)):
        for name in ("gpipe", "one_f_one_b"):
            orders = [
                [tuple(each) for each in answers[name](stage, stages, count)]
                for stage in range(stages)
            ]
            told = f"{name}(stage, {stages}, {count})"
            every = sorted((kind, i) for kind in "FB" for i in range(count))
            expect(
                all(sorted(order) == every for order in orders),
                told,
                code="schedule-incomplete",
            )
            timeline = play_on_paper(orders)
            wanted = [
                min(count, stages - stage) if name != "gpipe" else count
                for stage in range(stages)
            ]
            expect(
                list(timeline.held) == wanted,
                f"{told} keeps {timeline.held}",
                code="schedule-keeps",
            )
            expect(
                timeline.seconds == 2 * (count + stages - 1),
                f"{told} takes {timeline.seconds}",
                code="schedule-slow",
            )


@check("bubble-corners", points=1, hints=HINTS, after="bubble")
def shares_on_the_edge(answers: Answers) -> None:
    """Say 0 for one stage, and take a share that is met exactly."""
    expect(answers["bubble"](1, 5) == 0, "one stage waits for nobody", code="bubble-one-stage")
    for stages, most, wanted in (
        (1, 0.1, 1),
        (4, 0.1, 27),
        (4, 0.75, 1),
        (2, 0.999, 1),
        (3, 0.2, 8),
    ):
        found = answers["micro_batches_for"](stages, most)
        told = f"micro_batches_for({stages}, {most}) is {found}, wanted {wanted}"
        expect(found == wanted, told, code="bubble-edge")


@check("shards-corners", points=1, hints=HINTS, after="shards", limit_s=60)
def shards_of_anything(answers: Answers) -> None:
    """Shard other dtypes, single numbers, fewer numbers than ranks, and what needs no padding."""
    cases = (
        ([_draw(answers, 3, dtype=torch.float64)], 5),
        ([_draw(answers, 2, 2, 2), _draw(answers)], 3),
        ([_draw(answers, 4, 3, dtype=torch.float16)], 4),
        ([_draw(answers, 5)], 1),
    )
    for tensors, ranks in cases:
        told = f"tensors {[tuple(each.shape) for each in tensors]} {tensors[0].dtype} on {ranks} ranks"
        found = _need(answers.inside("try_shards", tensors=tensors, ranks=ranks))
        size = -(-sum(each.numel() for each in tensors) // ranks)
        for each in found:
            is_right = (
                each["piece"].shape == (size,) and each["piece"].dtype == tensors[0].dtype
            )
            expect(is_right, f"{told}: pieces of another size or dtype", code="shard-corner")
            is_right = all(
                torch.equal(a, b) for a, b in zip(each["again"], tensors, strict=True)
            )
            expect(is_right, f"{told}: not restored", code="unshard-corner")


@check("drill-corners", points=1, hints=HINTS, after="drill", limit_s=60)
def dropout_on_any_ranks(answers: Answers) -> None:
    """Keep the whole's dropout on one rank, on four, and for x with more dimensions."""
    for ranks, shape in ((1, (3, 4)), (4, (3, 4)), (2, (2, 3, 4))):
        layers, x, gradient = (
            _layers(answers, 4, 8),
            _draw(answers, *shape),
            _draw(answers, *shape),
        )
        inputs = {"x": x, "layers": layers, "share": 0.25, "seed": 9, "gradient": gradient}
        found = _need(answers.inside("try_branch", **inputs, ranks=ranks))
        draws = torch.Generator().manual_seed(9)
        hidden = F.gelu(F.linear(x, layers[0], layers[1]))
        hidden = hidden * (torch.rand(hidden.shape, generator=draws) >= 0.25) / 0.75
        out = F.linear(hidden, layers[2], layers[3])
        wanted = x + out * (torch.rand(out.shape, generator=draws) >= 0.25) / 0.75
        told = f"x {shape} on {ranks} ranks"
        is_right = all(_is_near(each["out"], wanted) for each in found)
        expect(is_right, f"{told}: another result", code="drill-corner")
