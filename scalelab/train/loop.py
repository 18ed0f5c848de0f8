"""Training as a notebook would hold it: one plain loop, top to bottom.

Shape suffixes in this file: N = images of a batch, H = rows, W = columns, P = digits, K = classes.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.data import Augmentation, compose_pins
from scalelab.models import Accuracy, PinReader, accuracy

OnStep = Callable[[int, int, float], None]
"""called after each step with its number (from 1), the number of steps, and the loss [nats/digit]"""
HARDER = Augmentation(thicker=0.8, slant=0.4, scale=0.18, shift=2.5)
"""training images are more distorted than those of the tests: 3,500 digits must stand for all handwriting"""
_SEED_STRIDE = 1_000_003
"""distance between the data seeds of two training seeds: more than any number of steps"""


@dataclass(frozen=True)
class TrainConfig:
    """A recipe; the default one is what our published accuracies come from."""

    steps: int = 500
    batch_size: int = 128
    """images of a step, composed anew for each"""
    width: int = 2048
    """units of each dense layer"""
    learning_rate: float = 2e-3
    """the highest one: it rises over the first 15 % of the steps, then falls to zero along a cosine"""
    weight_decay: float = 0.05
    dropout: float = 0.3
    label_smoothing: float = 0.05
    """share of the target that is spread over all ten classes, against overconfidence"""
    val_pins: int = 1000
    """images of the validation split that the final accuracy is taken on"""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "width", "val_pins"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ConfigError(f"a learning rate of {self.learning_rate}", hint="try 2e-3")
        if self.seed < 0:
            raise ConfigError(f"a seed of {self.seed}", hint="give a number from 0 up")


@dataclass(frozen=True)
class TrainReport:
    """What a training cost and reached."""

    steps: int
    seconds: float
    """wall time of the steps, composing the images included"""
    cpu_s: float
    """processor time of the same, over all threads"""
    accuracy: Accuracy
    """on the validation split"""
    losses: tuple[float, ...]
    """mean cross-entropy of each step, label smoothing included [nats/digit]"""
    peak_memory_bytes: int
    """largest resident memory of this process so far"""


def train_reader(config: TrainConfig, on_step: OnStep | None = None) -> tuple[PinReader, TrainReport]:
    """Train a reader from nothing; return it in evaluation mode, and what it cost.

    The same `config` on the same machine and number of threads gives the same weights. The random state of
    the caller is left as it was.

    Raises:
        RunFailed: the loss is no longer a number; the message has the step.
        DataError: a data file is missing or damaged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = PinReader(config.width, dropout=config.dropout).train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        losses: list[float] = []
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        for step in range(1, config.steps + 1):
            batch = compose_pins(
                config.batch_size, "train", seed=config.seed * _SEED_STRIDE + step, augmentation=HARDER
            )
            images_NHW, labels_NP = torch.from_numpy(batch.images), torch.from_numpy(batch.labels).long()

            logits_NPK = model(images_NHW)
            loss = F.cross_entropy(
                logits_NPK.flatten(0, 1), labels_NP.flatten(), label_smoothing=config.label_smoothing
            )
            if not math.isfinite(loss.item()):
                raise RunFailed(
                    f"the loss became {loss.item()} at step {step} of {config.steps}",
                    hint=f"lower the learning rate (it is {config.learning_rate:g}; 2e-3 is known to work)",
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, config)
            optimizer.step()

            losses.append(loss.item())
            if on_step is not None:
                on_step(step, config.steps, losses[-1])
        seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s

    model.eval()
    val = compose_pins(config.val_pins, "val", seed=config.seed)
    score = accuracy(predict(model, val.images), val.labels)
    return model, TrainReport(config.steps, seconds, cpu_s, score, tuple(losses), peak_memory())


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step (from 1): a rise over 15 % of the steps, then half a cosine."""
    warm = max(1, round(0.15 * config.steps))
    if step <= warm:
        return config.learning_rate * step / warm
    progress = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def predict(model: nn.Module, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Return logits ``(N, 6, 10) float32`` of ``(N, 28, 168) uint8`` images, a batch at a time.

    Dropout and batch statistics are off; the mode of `model` is put back afterwards.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [
                model(torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))).numpy()
                for start in range(0, len(images), batch_size)
            ]
    finally:
        model.train(was_training)
    return np.concatenate(parts)


def peak_memory() -> int:
    """Return the largest resident memory that this process had so far [bytes]."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":  # ru_maxrss would begin with what the parent held when it started us
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
