"""How many tasks run together, and what happens when one is bad. Pure functions: time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import ConfigError


@dataclass(frozen=True)
class BatchPolicy:
    """When a worker stops collecting and starts to compute."""

    max_batch: int = 16
    """tasks in one run of the model; past 16 the cache overflows and throughput falls again"""
    window_s: float = 0.0
    """how long a batch that is not full may wait for more, while there is load; 0 takes what is there"""

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch <= 1024:
            raise ConfigError(f"a batch of {self.max_batch} cannot be run", hint="give 1 to 1024")
        if not 0 <= self.window_s <= 1:
            raise ConfigError(f"a batch window of {self.window_s} s", hint="give 0 to 1 second")


def wait_more_s(
    policy: BatchPolicy, *, taken: int, last_batch: int, first_taken_s: float, now_s: float
) -> float:
    """Return how much longer to collect; 0 means run now.

    An idle service never waits: only where the last batch held more than one task is there load, and only
    under load do more tasks come within the window.

    Args:
        taken: tasks in hand.
        last_batch: tasks in the batch before.
        first_taken_s: when the first task in hand was taken, on the clock of `now_s`.
    """
    if taken == 0 or taken >= policy.max_batch or last_batch <= 1:
        return 0.0
    return max(0.0, first_taken_s + policy.window_s - now_s)


def predict_apart(
    predict: Callable[[Sequence[bytes]], Sequence[Any]], images: Sequence[bytes]
) -> list[Any | Exception]:
    """Run a batch; where it raises, halve it until the bad inputs stand alone.

    Each input gets its own answer or its own exception, so a poisoned one fails alone. Costs one call for a
    good batch of n, and about ``2 k log2(n)`` calls for k bad inputs in it.
    """
    if not images:
        return []
    try:
        answers = list(predict(images))
        if len(answers) != len(images):
            raise RuntimeError(f"the model gave {len(answers)} answers for {len(images)} images")
    except Exception as error:
        if len(images) == 1:
            return [error]
        middle = len(images) // 2
        return predict_apart(predict, images[:middle]) + predict_apart(predict, images[middle:])
    return answers
