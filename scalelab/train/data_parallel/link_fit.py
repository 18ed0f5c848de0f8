"""Does the injected link do what it was told? Its latency and bandwidth, found again from all-reduces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from scalelab.train.data_parallel.link import InjectedWire, Link, fit_link
from scalelab.train.data_parallel.ring import ring_all_reduce
from scalelab.train.launch import run_ranks
from scalelab.train.rank import Rank

SIZES_BYTES = (4_000, 400_000, 2_000_000)
RING, LIBRARY = "ring", "all_reduce"
"""by our own point-to-point messages, and by gloo's collective"""


def fit_injected_link(
    link: Link,
    *,
    world_size: int = 2,
    sizes_bytes: Sequence[int] = SIZES_BYTES,
    repeats: int = 6,
    timeout_s: float = 180.0,
    on_poll: Callable[[], None] | None = None,
) -> dict[str, Link]:
    """Time all-reduces of several sizes over an injected link; return the link that each kind saw.

    Law: latency and bandwidth come back within 15 %, where the link is slower than this machine. Of each size
    the smallest time counts: what disturbs a timing only ever makes it longer.

    Raises:
        ConfigError: the times do not grow with the size.
        RunFailed: a rank died or hung.
    """
    arguments = {
        "alpha_s": link.alpha_s,
        "bytes_per_s": link.bytes_per_s,
        "sizes_bytes": list(sizes_bytes),
        "repeats": repeats,
    }
    report = run_ranks(
        "scalelab.train.data_parallel.link_fit:time_all_reduces",
        arguments,
        world_size=world_size,
        timeout_s=timeout_s,
        on_poll=on_poll,
    )
    best = report.results[0]
    return {kind: fit_link(sizes_bytes, best[kind], world_size) for kind in (RING, LIBRARY)}


def time_all_reduces(
    rank: Rank, alpha_s: float, bytes_per_s: float, sizes_bytes: Sequence[int], repeats: int
) -> dict[str, list[float]]:
    """Return the smallest time of an all-reduce on this rank [s], for each kind and size."""
    wire = InjectedWire(Link(alpha_s, bytes_per_s))
    kinds: dict[str, Callable[[torch.Tensor], Any]] = {
        RING: lambda tensor: ring_all_reduce(tensor, wire),
        LIBRARY: lambda tensor: wire.all_reduce(tensor).wait(),
    }
    best = {kind: [float("inf")] * len(sizes_bytes) for kind in kinds}
    for _ in range(repeats):
        for kind, act in kinds.items():
            for i, size_bytes in enumerate(sizes_bytes):
                tensor = torch.ones(size_bytes // 4)
                rank.barrier()
                started_s = time.perf_counter()
                act(tensor)
                best[kind][i] = min(best[kind][i], time.perf_counter() - started_s)
    return best
