"""What lab 10 does beside the learner's code: it builds layers, models and optimizers, and reports.

Nothing here knows what is right; the checks work that out, from the same numbers.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.models import PinReader
from scalelab.train import IGNORE

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def try_channels(answers, *, conv, norm, after, keep, x):
    """Report the kinds of the layers that came back, their numbers, and what they give for x.

    `conv`, `norm` and `after` are pairs: the settings, as nn.Conv2d (in, out, kernel, stride, padding, ...),
    nn.BatchNorm2d (channels, eps) and nn.Linear (in, out) take them, and the numbers.
    """
    given = _conv(*conv), _filled(nn.BatchNorm2d(*norm[0]), norm[1]), _after(*after)
    before = copy.deepcopy(given)
    back = answers["keep_channels"](*given, keep)
    layers = list(back) if isinstance(back, tuple | list | nn.ModuleList | nn.Sequential) else [back]
    seen = {
        "kinds": [type(each).__name__ for each in layers],
        "is_changed": any(_differs(old, new) for old, new in zip(before, given, strict=True)),
        "is_shared": any(mine is theirs for mine in layers for theirs in given),
    }
    if seen["kinds"] != [type(each).__name__ for each in given]:
        return seen
    with torch.no_grad():
        try:
            out = _chain(layers, x)
        except (RuntimeError, ValueError, IndexError):  # layers that do not fit on each other
            out = None
    numbers = [dict(layer.state_dict()) for layer in layers]
    return {**seen, "numbers": numbers, "out": out}


def try_loss(answers, *, student, teacher, labels, temperature, alpha):
    """Report the loss, and the gradients that reach the student's and the teacher's logits."""
    student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
    loss = answers["distillation_loss"](student, teacher, labels, temperature, alpha)
    is_tensor = isinstance(loss, Tensor)
    if is_tensor and loss.requires_grad and loss.numel() == 1:
        loss.backward()
    taught = teacher.grad is not None and bool(teacher.grad.any())
    return {"loss": loss, "is_tensor": is_tensor, "gradient": student.grad, "is_teacher_taught": taught}


def try_tuning(answers, *, config, weights, masks, batches, kind="SGD"):
    """Report losses, steps and weights; before it, the optimizer took a dense step and has momentum."""
    model = PinReader(**config)
    model.load_state_dict(weights)
    model.train()
    optimizer, steps = _warm_optimizer(model, batches[0], kind), []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    losses = answers["tune_pruned"](model, optimizer, masks, batches)
    after = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return {"losses": losses, "steps": len(steps), "weights": after}


def try_guard(answers, *, fault):
    """Report what the learner's test says of a tuning with that fault, or with none ("")."""

    def tuning(model, optimizer, masks, batches):
        held = dict(masks)
        if fault == "elsewhere":  # as many zeros, in other places
            held = {name: mask.flatten().roll(1).reshape(mask.shape) for name, mask in masks.items()}
        if fault == "one layer":
            held = dict(list(masks.items())[:1])
        losses = []
        _blank(model, masks)
        for images, labels in batches:
            loss = F.cross_entropy(model(images).flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            if fault != "idle":
                optimizer.step()
            if fault != "once":
                _blank(model, held)
            losses += [loss.item()]
        return losses

    return answers["keeps_the_zeros"](tuning)


def _warm_optimizer(model: nn.Module, batch, kind: str) -> torch.optim.Optimizer:
    """Return an optimizer that has taken one step of the dense model."""
    if kind == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    images, labels = batch
    F.cross_entropy(model(images).flatten(0, 1), labels.flatten(), ignore_index=IGNORE).backward()
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


@torch.no_grad()
def _blank(model: nn.Module, places) -> None:
    weights = dict(model.named_parameters())
    for name, stays in places.items():
        weights[name].copy_(torch.where(stays, weights[name], 0.0))


def _conv(settings, numbers) -> nn.Conv2d:
    return _filled(nn.Conv2d(*settings, bias="bias" in numbers), numbers)


def _after(settings, numbers) -> nn.Module:
    return _filled(nn.Linear(*settings), numbers) if len(settings) == 2 else _conv(settings, numbers)


def _filled(layer, numbers):
    layer = layer.to(numbers["weight"].dtype)
    layer.load_state_dict(numbers, strict=False)  # batch norm's count of batches is not among them
    return layer.eval()


def _chain(layers, x: Tensor) -> Tensor:
    conv, norm, after = (layer.eval() for layer in layers)
    x = F.relu(norm(conv(x)))
    return after(x.flatten(1) if isinstance(after, nn.Linear) else x)


def _differs(old: nn.Module, new: nn.Module) -> bool:
    mine, theirs = old.state_dict(), new.state_dict()
    return any(
        mine[name].shape != theirs[name].shape or bool((mine[name] != theirs[name]).any()) for name in mine
    )
