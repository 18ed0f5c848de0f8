"""Several ways to train take turns on all ranks, so that a busy moment of the machine meets each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from scalelab.train.rank import Rank


def take_turns(
    rank: Rank, ways: Mapping[str, Callable[[int], None]], turns: int, *, alone: Collection[str] = ()
) -> dict[str, list[float]]:
    """Let each way take its turn, `turns` times, forward and back (A B, B A, ...); return the seconds.

    One turn before the first warms up and is not counted. All ranks begin and end a turn together.

    Args:
        ways: called with the number of the turn, from 0 for the warm-up.
        alone: ways that rank 0 takes while the others wait; their seconds on other ranks mean nothing.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name in ways if turn % 2 else reversed(ways):
            rank.barrier()
            started_s = time.perf_counter()
            if rank.number == 0 or name not in alone:
                ways[name](turn)
                rank.synchronize()
            took_s = time.perf_counter() - started_s
            rank.barrier()
            if turn > 0:
                seconds[name].append(took_s)
    return seconds
