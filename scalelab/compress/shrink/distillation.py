"""Knowledge distillation: a small reader learns from a large one's probabilities, and from the labels.

Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.

Shape suffixes in this file: N = images, H = rows, W = columns, P = digits, K = classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.compress.export import evaluating
from scalelab.core.errors import ConfigError, DataError, RunFailed
from scalelab.data import Augmentation, compose_pins

OnStep = Callable[[int, int, float], None]
"""called after each step with its number (from 1), the number of steps, and the loss"""
_CHUNK = 256
_CLIP = 1.0


@dataclass(frozen=True)
class Lessons:
    """Images with what they say and what a teacher thinks of them; made once, for any number of students."""

    images: np.ndarray
    """``(N, 28, 168) uint8``"""
    labels: np.ndarray
    """``(N, 6) int64``"""
    logits: np.ndarray
    """``(N, 6, 10) float32``, the teacher's"""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class DistillConfig:
    """A recipe; the default one is what the ladder uses."""

    steps: int = 1200
    batch_size: int = 128
    learning_rate: float = 4e-3
    """the highest one: it rises over the first tenth of the steps, then falls to zero along a cosine"""
    weight_decay: float = 0.01
    temperature: float = 2.0
    """divides both logits: the higher, the more the teacher's small probabilities count"""
    alpha: float = 0.9
    """weight of the teacher; the rest is for the labels. 0: plain training, 1: no labels"""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        for name in ("learning_rate", "temperature"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(f"{name} is {getattr(self, name)}", hint="give a number above zero")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"alpha is {self.alpha}", hint="the teacher's weight is a share of one")
        if self.seed < 0:
            raise ConfigError(f"a seed of {self.seed}", hint="give a number from 0 up")


def distillation_loss(
    student_NPK: Tensor, teacher_NPK: Tensor, labels_NP: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """Return ``alpha T^2 KL(teacher_T || student_T) + (1 - alpha) CE(labels, student)``, a mean over digits.

    The gradients of soft targets shrink as ``1 / T^2``; the factor keeps the two parts in proportion when T
    changes (Hinton et al. 2015, section 2). In nats a digit.
    """
    soft_MK = F.log_softmax(teacher_NPK.flatten(0, 1) / temperature, dim=-1)
    own_MK = F.log_softmax(student_NPK.flatten(0, 1) / temperature, dim=-1)
    soft = F.kl_div(own_MK, soft_MK, reduction="batchmean", log_target=True) * temperature**2
    hard = F.cross_entropy(student_NPK.flatten(0, 1), labels_NP.flatten())
    return alpha * soft + (1 - alpha) * hard


def prepare_lessons(
    teacher: nn.Module, n: int, *, seed: int = 0, augmentation: Augmentation | None = None
) -> Lessons:
    """Compose `n` training images and ask the teacher about each, once.

    Args:
        augmentation: how far the images are distorted; None is the standard of the tests.

    Raises:
        ConfigError: `n` below 1, or a negative seed.
        RunFailed: the teacher's logits are not numbers.
    """
    pins = compose_pins(n, "train", seed=seed, augmentation=augmentation)
    with evaluating(teacher), torch.inference_mode():
        parts = [
            teacher(torch.from_numpy(pins.images[start : start + _CHUNK])).numpy()
            for start in range(0, n, _CHUNK)
        ]
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise RunFailed("the teacher's logits hold NaN or infinity", hint="train the teacher again")
    return Lessons(pins.images, pins.labels.astype(np.int64), logits)


def distill(
    student: nn.Module, lessons: Lessons, config: DistillConfig, on_step: OnStep | None = None
) -> DistillReport:
    """Train `student` in place on the lessons; it is left in evaluation mode.

    Every pass sees the images in a new order, drawn by the seed; the random state of the caller is left as it
    was.

    Raises:
        DataError: no lessons, or fewer than a batch.
        RunFailed: the loss is no longer a number; the message has the step.
    """
    if len(lessons) < config.batch_size:
        raise DataError(
            f"{len(lessons)} lessons are less than a batch of {config.batch_size}",
            hint="prepare some thousand, or take a smaller batch",
        )
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    images_NHW, labels_NP, logits_NPK = map(
        torch.from_numpy, (lessons.images, lessons.labels, lessons.logits)
    )
    draws = np.random.default_rng(config.seed)
    order: list[int] = []
    losses: list[float] = []
    started_s = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student.train()
        for step in range(1, config.steps + 1):
            if len(order) < config.batch_size:
                order = draws.permutation(len(lessons)).tolist()
            batch, order = torch.tensor(order[: config.batch_size]), order[config.batch_size :]
            loss = distillation_loss(
                student(images_NHW[batch]),
                logits_NPK[batch],
                labels_NP[batch],
                temperature=config.temperature,
                alpha=config.alpha,
            )
            if not math.isfinite(loss.item()):
                raise RunFailed(
                    f"the loss became {loss.item()} at step {step} of {config.steps}",
                    hint=f"lower the learning rate (it is {config.learning_rate:g})",
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), _CLIP)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _rate(step, config.steps)
            optimizer.step()
            losses.append(loss.item())
            if on_step is not None:
                on_step(step, config.steps, losses[-1])
    student.eval()
    return DistillReport(config.steps, time.perf_counter() - started_s, tuple(losses))


@dataclass(frozen=True)
class DistillReport:
    """What a distillation cost."""

    steps: int
    seconds: float
    losses: tuple[float, ...]
    """of each step [nats/digit]"""


def _rate(step: int, steps: int) -> float:
    """Return the share of the highest learning rate: a rise over a tenth of the steps, then half a cosine."""
    warm = max(1, round(0.1 * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
