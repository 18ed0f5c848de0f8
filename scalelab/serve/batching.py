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
    """how long a batch that is not full may wait for more, at most: what a run costs whatever its size is the
    other limit, and a service that is not near its limit never waits; 0 takes what is there"""

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch <= 1024:
            raise ConfigError(f"a batch of {self.max_batch} cannot be run", hint="give 1 to 1024")
        if not 0 <= self.window_s <= 1:
            raise ConfigError(f"a batch window of {self.window_s} s", hint="give 0 to 1 second")


def fixed_cost_s(runs: Sequence[tuple[int, float]]) -> float:
    """Return what a run costs whatever its size: ``a`` of the line ``seconds = a + b * tasks`` [s].

    The least-squares line through (tasks, seconds) of the last runs, kept between 0 and their mean time.
    Runs of one size only cannot tell the two parts apart: 0.
    """
    n = len(runs)
    if n < 2:
        return 0.0
    mean_tasks = sum(tasks for tasks, _ in runs) / n
    mean_s = sum(seconds for _, seconds in runs) / n
    spread = sum((tasks - mean_tasks) ** 2 for tasks, _ in runs)
    if spread == 0:
        return 0.0
    slope = sum((tasks - mean_tasks) * (seconds - mean_s) for tasks, seconds in runs) / spread
    return min(mean_s, max(0.0, mean_s - slope * mean_tasks))


def wait_more_s(
    policy: BatchPolicy, *, taken: int, last_batch: int, first_taken_s: float, now_s: float, fixed_s: float
) -> float:
    """Return how much longer to collect; 0 means run now.

    Tasks that come while the model runs are the next batch: batches grow with the load by themselves, and
    waiting costs latency at every load that leaves the worker idle now and then. Only where the last batch
    was half full does the worker hardly rest. A task that still joins then saves one fixed cost, so waiting
    longer than that cannot pay: a model whose runs cost nothing but their tasks is never waited for.

    Args:
        taken: tasks in hand.
        last_batch: tasks in the batch before.
        first_taken_s: when the first task in hand was taken, on the clock of `now_s`.
        fixed_s: what a run costs whatever its size.
    """
    if taken == 0 or taken >= policy.max_batch or 2 * last_batch < policy.max_batch:
        return 0.0
    return max(0.0, first_taken_s + min(policy.window_s, fixed_s) - now_s)


def predict_apart(
    predict: Callable[[Sequence[bytes]], Sequence[Any]], payloads: Sequence[bytes]
) -> list[Any | Exception]:
    """Run a batch; where it raises, halve it until the bad inputs stand alone.

    Each input gets its own answer or its own exception, so a poisoned one fails alone, and a batch that is
    too large for the memory runs in smaller ones. Costs one call for a good batch of n, and about
    ``2 k log2(n)`` calls for k bad inputs in it.
    """
    if not payloads:
        return []
    try:
        answers = list(predict(payloads))
        if len(answers) != len(payloads):
            raise RuntimeError(f"the model gave {len(answers)} answers for {len(payloads)} inputs")
    except Exception as error:
        if len(payloads) == 1:
            return [error]
        middle = len(payloads) // 2
        return predict_apart(predict, payloads[:middle]) + predict_apart(predict, payloads[middle:])
    return answers
