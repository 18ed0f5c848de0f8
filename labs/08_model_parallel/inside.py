"""What lab 08 does beside the learner's code: it lets ranks meet in memory, and reports what it saw.

Nothing here knows what is right; the checks work that out, from the same weights and inputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scalelab.train.data_parallel.memory import RanksStuck, run_in_memory

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


_OF_BACKWARD = ("Backward returned", "expected Variable or None")
"""what autograd says of what a learner's backward returned"""


def _on_ranks(count, function):
    """Report what each rank returned, and, where they could not go on, the sentence that says why."""
    told = {"ranks": [], "stuck": "", "broke": ""}
    try:
        return {**told, "ranks": run_in_memory(function, count)}
    except RanksStuck as error:
        return {**told, "stuck": error.message}
    except (RuntimeError, TypeError) as error:
        if not any(text in str(error) for text in _OF_BACKWARD):
            raise
        return {**told, "broke": str(error)}


def _traffic(wire):
    return {"exchanges": wire.traffic.launches, "bytes": wire.traffic.handed_bytes}


def try_forward(answers, *, layers, x, ranks):
    """Report each rank's output and what it exchanged."""

    def act(wire):
        part = answers["cut_dense"](layers, wire.rank, ranks)
        return {"out": answers["split_forward"](x.clone(), part, layers[3].clone(), wire), **_traffic(wire)}

    return _on_ranks(ranks, act)


def try_doors(answers, *, x, gradients, partials, common):
    """Report enter and leave by themselves, on a rank for each of `gradients` and `partials`.

    At both doors a second path runs beside: what is done in place to a shared tensor shows in its gradient.
    """

    def act(wire):
        inner, g = x.clone().requires_grad_(), gradients[wire.rank]
        seen = answers["enter"](inner, wire)
        told = {"enter": seen, "enter_forward": _traffic(wire)["exchanges"]}
        told["enter_gradient"] = _gradient(seen, inner, g)
        told["enter_exchanges"] = _traffic(wire)["exchanges"]
        beside = x.clone().requires_grad_()
        told["enter_beside"] = _gradient(beside + answers["enter"](beside, wire), beside, g)
        before = _traffic(wire)["exchanges"]
        part = partials[wire.rank].clone().requires_grad_()
        kept = part * 1.0
        out = answers["leave"](kept, wire)
        told |= {"leave": out, "leave_forward": _traffic(wire)["exchanges"] - before}
        told["leave_gradient"] = _gradient(out, part, common)
        told["leave_exchanges"] = _traffic(wire)["exchanges"] - before
        return {**told, "kept": kept}

    return _on_ranks(len(partials), act)


def try_layer(answers, *, x, layers, gradient, ranks, needs_x=True):
    """Report output and gradients of two layers between the learner's doors; each rank holds its share."""

    def act(wire):
        up, up_bias, down, down_bias = layers
        each = len(up) // ranks
        mine = slice(wire.rank * each, (wire.rank + 1) * each)
        own = [part.clone().requires_grad_() for part in (up[mine], up_bias[mine], down[:, mine], down_bias)]
        inner = x.clone().requires_grad_(needs_x)
        hidden = F.gelu(F.linear(answers["enter"](inner, wire), own[0], own[1]))
        out = answers["leave"](F.linear(hidden, own[2]), wire) + own[3]
        if out.requires_grad:
            out.backward(gradient)
        return {"out": out, "x": inner.grad, "parts": [part.grad for part in own]}

    return _on_ranks(ranks, act)


def try_heads(answers, *, x, matrices, gradient, heads, ranks):
    """Report output and gradient of x of attention, each rank with its share of the heads."""

    def act(wire):
        inner = x.clone().requires_grad_()
        entered = answers["enter"](inner, wire)
        width = len(matrices[0]) // ranks
        mine = slice(wire.rank * width, (wire.rank + 1) * width)
        q, k, v = (
            F.linear(entered, each[mine]).unflatten(-1, (heads // ranks, -1)).transpose(-2, -3)
            for each in matrices[:3]
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(-2, -3).flatten(-2)
        out = answers["leave"](F.linear(mixed, matrices[3][:, mine]), wire)
        out.backward(gradient)
        return {"out": out, "x": inner.grad}

    return _on_ranks(ranks, act)


def try_shards(answers, *, tensors, ranks):
    """Report each rank's piece, the bytes that it keeps alive, what comes of all pieces, and exchanges."""

    def act(wire):
        piece = answers["shard"]([each.clone() for each in tensors], wire.rank, ranks)
        told = {"piece": piece}
        if isinstance(piece, Tensor):
            told |= {"alive": piece.untyped_storage().nbytes(), "own": piece.numel() * piece.element_size()}
        shapes = [tuple(each.shape) for each in tensors]
        again = answers["unshard"](2 * piece, shapes, wire)  # as if a step had changed the pieces
        if isinstance(again, list | tuple):
            again = [each / 2 if isinstance(each, Tensor) else each for each in again]
        return {**told, "again": again, **_traffic(wire)}

    return _on_ranks(ranks, act)


def try_branch(answers, *, x, layers, share, seed, ranks, gradient):
    """Report output and gradient of x; on each rank the weights of other ranks' hidden units are NaN."""

    def act(wire):
        inner = x.clone().requires_grad_()
        units = torch.arange(len(layers[0])) * ranks // len(layers[0]) != wire.rank  # of others
        up, up_bias, down = (each.clone() for each in layers[:3])
        up[units], up_bias[units], down[:, units] = (float("nan"),) * 3
        given = tuple(each.requires_grad_() for each in (up, up_bias, down, layers[3].clone()))
        out = answers["split_branch"](inner, given, share, seed, wire)
        return {"out": out, "x": _gradient(out, inner, gradient)}

    return _on_ranks(ranks, act)


def try_guard(answers, *, how):
    """Report what the learner's test says of a block that is "whole", or broken in one of several ways."""

    def branch(x, layers, share, seed, wire):
        up, up_bias, down, down_bias = (each.double() for each in layers)  # rounds as a split does
        draws = torch.Generator().manual_seed(seed)
        hidden = F.gelu(F.linear(x.double(), up, up_bias))
        parts = wire.world_size if how == "twins" else 1  # that drop the same units
        drawn = torch.rand(*hidden.shape[:-1], len(up) // parts, generator=draws)
        hidden = _dropped(hidden, torch.cat([drawn] * parts, dim=-1), share)
        out = F.linear(hidden, down, down_bias * (wire.world_size if how == "bias" else 1))
        if how == ("drifts" if wire.rank else "first"):
            draws = torch.Generator().manual_seed(seed + 1 + wire.rank)  # for what all ranks hold
        wire.all_reduce(torch.zeros(1)).wait()
        return (x + _dropped(out, torch.rand(out.shape, generator=draws), share)).to(x.dtype)

    said = answers["keeps_the_whole"](branch)
    return said.item() if isinstance(said, Tensor) and said.numel() == 1 else said


def _dropped(x, drawn, share):
    return x * (drawn >= share) / (1 - share)


def _gradient(out, leaf, gradient):
    """Return the gradient of `leaf`; None where `out` does not know of it."""
    if not (isinstance(out, Tensor) and out.requires_grad) or out.shape != gradient.shape:
        return None
    out.backward(gradient.clone())  # all_reduce in place would reach the others' copy
    return leaf.grad
