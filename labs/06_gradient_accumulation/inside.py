"""What lab 06 does beside the learner's code: it builds models and optimizers, and reports what it saw.

Nothing here knows what is right; the checks work that out, from the same weights and photos.
"""

from __future__ import annotations

import contextlib
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from scalelab.models import PinReader
from scalelab.train import IGNORE

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def try_accumulate(answers, *, config, weights, batches, stale):
    """Report what was left (loss, gradients, weights) and what was done on the way.

    That is: the most photos in one pass, the most graphs alive at once, the steps of any optimizer, and if a
    forward pass was one in training mode.
    """
    model, alive, steps = _reader(config, weights), [], []
    seen = {"photos": 0, "graphs": 0, "is_training": False}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, stale)  # left over from an earlier step

    def look(_, given, out):
        seen["photos"] = max(seen["photos"], len(given[0]))
        seen["is_training"] |= model.training
        if out.requires_grad:
            alive.append(out.register_hook(lambda _: alive.pop() and None))  # gone when its backward comes
            seen["graphs"] = max(seen["graphs"], len(alive))

    with model.register_forward_hook(look), register_optimizer_step_post_hook(lambda *_: steps.append(1)):
        loss = answers["accumulate"](model, batches)
    left = {"loss": loss, "gradients": _gradients(model), "weights": _weights(model)}
    return {**left, **seen, "steps": len(steps)}


def try_step(answers, *, config, weights, batches, max_grad_norm, rate):
    """Report the returned norm, the steps of the optimizer, and the weights and gradients after them.

    And the gradient that `accumulate` leaves by itself, with the weights then; nothing where it does not end.
    """
    alone, model = _reader(config, weights), _reader(config, weights)
    optimizer, steps = _watched_sgd(model, rate)
    accumulated = None
    with contextlib.suppress(Exception):  # its own check tells of that
        answers["accumulate"](alone, batches)
        accumulated = {"gradients": _gradients(alone), "weights": _weights(alone)}
    norm = answers["accumulated_step"](model, optimizer, batches, max_grad_norm)
    seen = {"norm": norm, "steps": len(steps), "weights": _weights(model), "gradients": _gradients(model)}
    return {**seen, "accumulated": accumulated}


def try_bytes(answers, *, widths, n, dtype):
    """Report the bytes counted for n rows, a slice of five times as many, through two dense layers."""
    wide, narrow, out = widths
    split = nn.Unflatten(1, (1, narrow))  # the same bytes in a tensor of another shape
    plain = nn.Sequential(nn.Linear(wide, narrow), nn.ReLU(), split, nn.Linear(narrow, out), nn.ReLU())
    kind = getattr(torch, dtype)
    return answers["saved_bytes"](plain.to(kind), torch.ones(5 * n, wide, dtype=kind)[:n])


def try_bytes_of_convolution(answers, *, images, counts):
    """Report the bytes counted for the first photos, as many as each of `counts` says."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 168, 4))
    inked = images.unsqueeze(1).float()
    return [answers["saved_bytes"](model, inked[:count]) for count in counts]


def try_checkpoint(answers, *, layers, x, seed):
    """Report output and gradients, the blocks in the order in which they ran, and the form of checkpoint.

    The reentrant form gives no gradient where x needs none; where that happens, x is made to need one, and
    the form tells its name.
    """
    runs: list[int] = []
    blocks = nn.ModuleList(_Watched(number, *layer, runs) for number, layer in enumerate(layers))
    is_reentrant = False
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of that form
        torch.manual_seed(seed)
        out = answers["run_checkpointed"](blocks, x)
        if isinstance(out, Tensor) and out.requires_grad:
            out.square().sum().backward()
        order = list(runs)
        if isinstance(out, Tensor) and not out.requires_grad:
            again = answers["run_checkpointed"](blocks, x.clone().requires_grad_())
            is_reentrant = "CheckpointFunction" in type(getattr(again, "grad_fn", None)).__name__
    return {"out": out, "gradients": _gradients(blocks), "order": order, "is_reentrant": is_reentrant}


def try_two_blocks(answers, *, layers, x):
    """Report the output of two dense blocks, whether the first got a gradient, and its output alone."""
    blocks = [_linear(*layer) for layer in layers]
    out = answers["run_checkpointed"](blocks, x)
    if isinstance(out, Tensor) and out.requires_grad:
        out.sum().backward()
    has_gradient = blocks[0].weight.grad is not None
    return {"out": out, "has_gradient": has_gradient, "alone": answers["run_checkpointed"](blocks[:1], x)}


def try_epoch(answers, *, config, weights, batches, per_step, rate):
    """Report what the epoch returned, the steps of its optimizer, and the weights after it."""
    model = _reader(config, weights)
    optimizer, steps = _watched_sgd(model, rate)
    returned = answers["train_epoch"](model, optimizer, batches, per_step)
    return {"returned": returned, "steps": len(steps), "weights": _weights(model)}


def try_guard(answers, *, last):
    """Report what the learner's test says of an epoch that "learns" from its leftovers, or does not.

    One that "drops" them takes no step for them; one that "idles" takes it without a gradient.
    """

    def epoch(model, optimizer, micro_batches, per_step):
        full = len(micro_batches) // per_step * per_step
        end = full if last == "drops" else len(micro_batches)
        for first in range(0, end, per_step):
            group = micro_batches[first : min(first + per_step, end)]
            images, labels = (torch.cat(parts) for parts in zip(*group, strict=True))
            optimizer.zero_grad()  # to None: a step moves nothing then, whatever the optimizer
            if first < full or last == "learns":
                logits = model(images).flatten(0, 1)
                F.cross_entropy(logits, labels.flatten(), ignore_index=IGNORE).backward()
            optimizer.step()
        return -(-end // per_step)

    return answers["counts_every_photo"](epoch)


class _Watched(nn.Module):
    """A block with dropout that writes down when it runs."""

    def __init__(self, number: int, weight: Tensor, bias: Tensor, runs: list[int]):
        super().__init__()
        self.layer, self.number, self.runs = _linear(weight, bias), number, runs

    def forward(self, x: Tensor) -> Tensor:
        self.runs.append(self.number)
        return F.dropout(torch.tanh(self.layer(x)), 0.5)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _reader(config, weights) -> nn.Module:
    """Return a PIN reader with these weights, whose batch norm does not look at its neighbours."""
    model = PinReader(**config)
    model.load_state_dict(weights)
    return model.eval()


def _watched_sgd(model: nn.Module, rate: float):
    optimizer, steps = torch.optim.SGD(model.parameters(), lr=rate), []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    return optimizer, steps


def _weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


def _gradients(model: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in model.parameters()]
